"""From the command to the first training step, and to the prompt: ``python -m benchmarks.startup``.

Each repeat runs ``sweep run`` as a user does, once through Ray and once with ``--in-process``, in a new folder. A stage
ends with the line of progress that follows it, training begins with the first attempt of the ledger. A curve needs two
epochs; an epoch ends with the training and evaluation of the pack that is the first to end it. CPU seconds are
those of the command and of every process below it, Ray's included, up to the end of the stage; they depend less on
what else the machine does. The first repeat of a new installation also compiles Python's files: ``--warm-up`` runs
the command once before. A short sweep has no probe; ``--probe`` measures with one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from results.ledger.ledger import Ledger

ROOT = Path(__file__).parent.parent
WAYS = {"Ray": (), "in process": ("--in-process",)}
PROBE = ("--pack", "probe")
ENDS = {
    "command line": (": starting Ray", ": loading PyTorch"),
    "Ray": (": loading PyTorch",),
    "imports": ("reading the data",),
    "data": ("sweep startup: ",),
    "opening": ("choosing the pack size",),
    "probe": (" at a time",),
    "training": ("writing tables, figures and the report",),
    "results": (" done of ",),
}
"""A stage → what the line that ends it contains, one of these; the lines come in this order."""
FIRST_LINE, FIRST_STEP, FIRST_EPOCH, FIRST_CURVE, PROMPT = "line", "workers", "epoch", "curve", "prompt"
STAGES = {
    FIRST_LINE: "first line",
    "command line": "command line read",
    "Ray": "Ray's start",
    "imports": "imports",
    "data": "data, plan",
    "opening": "Ray, or this process, ready",
    "probe": "packs chosen (probe)",
    FIRST_STEP: "workers: the first training step begins",
    FIRST_EPOCH: "first epoch",
    FIRST_CURVE: "first curve: second epoch",
    "training": "training",
    "results": "tables, figures, report",
    PROMPT: "prompt",
}
SAMPLE_SECONDS = 0.2
ENDS_OF_EPOCHS = """
    SELECT epoch, MIN(ended) FROM (
        SELECT epoch, started + SUM(epoch_seconds + eval_seconds) OVER (PARTITION BY run_id ORDER BY epoch) AS ended
        FROM epochs JOIN attempts USING (attempt_id)
    ) GROUP BY epoch
"""


class CpuOfTree:
    """Samples the CPU seconds of a process and of every process below it, also of those that have ended."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._seconds: dict[psutil.Process, float] = {}
        self.names: dict[psutil.Process, str] = {}
        self._times: list[float] = []
        self._totals: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._ended.is_set():
            with suppress(psutil.Error):
                for process in [self._root, *self._root.children(recursive=True), *self._orphans()]:
                    with suppress(psutil.Error):
                        used = process.cpu_times()
                        self.names.setdefault(process, "")  # its command line cannot be read when it has just ended
                        self._seconds[process] = used.user + used.system
                        self.names[process] = kind(process.cmdline()) or self.names[process]
            self._times.append(time.time())
            self._totals.append(sum(self._seconds.values()))
            self._ended.wait(SAMPLE_SECONDS)

    def _orphans(self) -> list[psutil.Process]:
        """Ray's processes whose parent has ended before them."""
        return [process for process in self._seconds if process.is_running()]

    def stop(self) -> None:
        """End the sampling."""
        self._ended.set()
        self._thread.join()

    def at(self, moment: float) -> float:
        """Return the CPU seconds that were used up to ``moment``."""
        return self._totals[min(bisect_left(self._times, moment), len(self._totals) - 1)]

    def by_kind(self) -> dict[str, tuple[int, float]]:
        """Return the number of processes and their CPU seconds, by the kind of process."""
        counts = Counter(self.names[process] for process in self._seconds)
        return {
            name: (count, sum(used for process, used in self._seconds.items() if self.names[process] == name))
            for name, count in counts.items()
        }


def kind(words: Sequence[str]) -> str:
    """Return the kind of a process by its command line, or by the title that Ray gives it."""
    line = " ".join(words)
    if line.startswith("ray::"):
        return line.split()[0].removeprefix("ray::").partition(".")[0] or "worker"
    for part, name in (
        ("gcs_server", "gcs_server"), ("raylet/raylet", "raylet"), ("default_worker.py", "worker"),
        ("dashboard/agent.py", "dashboard agent"), ("runtime_env/agent", "runtime_env agent"),
        ("log_monitor", "log monitor"), ("_private/monitor.py", "autoscaler monitor"),
        ("dashboard/dashboard.py", "dashboard"), ("sweep", "command"),
    ):  # fmt: skip
        if part in line:
            return name
    return Path(words[0]).name if words else ""


def ends_of_stages(lines: Sequence[tuple[float, str]]) -> dict[str, float]:
    """Return the moment at which each stage ended, by the lines of progress and their moments."""
    ends: dict[str, float] = {}
    waiting = list(ENDS.items())
    for moment, line in lines:
        while waiting and any(part in line for part in waiting[0][1]):
            ends[waiting.pop(0)[0]] = moment
    if waiting:
        raise SystemExit(f"the stage {waiting[0][0]!r} did not end; the command printed: {[line for _, line in lines]}")
    return ends


def measure(source: str, flags: Sequence[str]) -> dict[str, Any]:
    """Run one sweep to its end; return seconds and CPU seconds up to the end of every stage, and its processes."""
    with tempfile.TemporaryDirectory(prefix="st-", ignore_cleanup_errors=True) as place:
        began, lines = time.time(), []
        command = subprocess.Popen(
            [sys.executable, "-u", "-m", "sweep", "run", source, "--name", "startup", "--runs-dir", place, *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        cpu = CpuOfTree(command.pid)
        assert command.stdout is not None
        for line in command.stdout:
            lines.append((time.time(), line.rstrip()))
        code = command.wait()
        ended = time.time()
        cpu.stop()
        if code:
            raise SystemExit(f"{' '.join(map(str, command.args))} ended with {code}: {lines}")  # type: ignore[arg-type]
        with Ledger.open_read_only(Path(place) / "startup" / "ledger.sqlite") as ledger:
            (starts,) = ledger.read("SELECT MIN(started) FROM attempts")
            epochs = dict(ledger.rows(ENDS_OF_EPOCHS, {}))
        ends = ends_of_stages(lines)
        ends |= {FIRST_LINE: lines[0][0], FIRST_STEP: starts.rows[0][0], PROMPT: ended}
        ends |= {FIRST_EPOCH: epochs[1], FIRST_CURVE: epochs.get(2, ends["training"])}
    return {
        "seconds": {stage: ends[stage] - began for stage in STAGES},
        "cpu_seconds": {stage: cpu.at(ends[stage]) for stage in STAGES},
        "processes": {name: list(found) for name, found in sorted(cpu.by_kind().items())},
    }


def medians(repeats: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the medians over the repeats."""
    return {
        what: {stage: statistics.median(one[what][stage] for one in repeats) for stage in STAGES}
        for what in ("seconds", "cpu_seconds")
    }


def table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return the medians as the lines of a Markdown table."""
    middle = {way: medians(repeats) for way, repeats in found.items()}
    lines = [
        "| up to the end of | " + " | ".join(f"{way}: seconds | CPU seconds" for way in middle) + " |",
        "| :--- |" + " ---: | ---: |" * len(middle),
    ]
    for stage, text in STAGES.items():
        numbers = [f"{one['seconds'][stage]:.1f} | {one['cpu_seconds'][stage]:.1f}" for one in middle.values()]
        lines.append(f"| {text} | {' | '.join(numbers)} |")
    return lines


def summary(way: str, repeats: Sequence[Mapping[str, Any]]) -> str:
    """Return the medians that a user waits for, with the shortest and the longest time."""
    found = []
    for stage, text in (
        (FIRST_LINE, "first line"), (FIRST_STEP, "first training step"), (FIRST_EPOCH, "first epoch"),
        (FIRST_CURVE, "first curve"), (PROMPT, "prompt"),
    ):  # fmt: skip
        seconds = sorted(one["seconds"][stage] for one in repeats)
        found.append(f"{text} after {statistics.median(seconds):.1f} s ({seconds[0]:.1f} to {seconds[-1]:.1f})")
    return f"{way}, {len(repeats)} repeats: {', '.join(found)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="quickstart", help="what is run, as in `sweep run SOURCE`")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--warm-up", action="store_true", help="run the command once before, in each way")
    parser.add_argument("--probe", action="store_true", help="measure step times, with `--pack probe`")
    parser.add_argument("--json", action="store_true", help="all repeats as one JSON object, in place of the table")
    arguments = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in arguments.ways}
    for repeat in range(-arguments.warm_up, arguments.repeats):
        for way, repeats in found.items():  # in turn, so that what else the machine does affects them equally
            one = measure(arguments.source, [*WAYS[way], *(PROBE if arguments.probe else ())])
            if repeat >= 0:
                repeats.append(one)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print("\n".join(table(found)))
    for way, repeats in found.items():
        census = repeats[-1]["processes"].items()
        print(f"\n{summary(way, repeats)}")
        print(f"{way}, processes and CPU seconds: {'; '.join(f'{n} × {name} {s:.1f}' for name, (n, s) in census)}")


if __name__ == "__main__":
    main()
