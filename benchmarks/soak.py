"""A sweep that is killed many times, compared with one that is not: ``python -m benchmarks.soak --kills 50``.

Half of the kills are of sweeps that train through Ray, half of sweeps that train ``--in-process``.

First the sweep runs without a kill. Then it runs in other folders as a separate process. SIGKILL ends this process and
all its descendants (driver, raylet, GCS, workers) at a random moment, uniform over the time of the first sweep, so that
start-up, training and the writing of the report are all hit. ``sweep resume`` continues and is killed too, until it
finishes; then another folder begins. Each ledger is compared with that of the first sweep through Ray: its rows after
each kill, and all rows at the end. The exit code is 1 if a row is lost, changed or duplicated, or if a recorded row is
trained again.

Linux only: this process becomes the parent of all orphaned descendants, so that it can end every process.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from results.ledger.ledger import Ledger
from sweep.folder.paths import SweepFolder

ROOT = Path(__file__).parent.parent
DATA = "synthetic:n_train=5000,n_test=500,seed=0"
PATIENCE_SECONDS = 600.0
PR_SET_CHILD_SUBREAPER = 36

SPEC = """
data = "{data}"
epochs = {epochs}
seeds = 1
test_epochs = "all"
[resources]
pack = 2
cpus_per_trial = 1
checkpoint_seconds = 0.3
[[configurations]]
optimizer = [
    {{name = "SGD", lr = 0.02, momentum = 0.9, nesterov = true}}, {{name = "Adam", lr = 0.002}},
    {{name = "NAdam", lr = 0.002}}, {{name = "RMSprop", lr = 0.001, momentum = 0.5}},
]
scheduler = [{{name = "OneCycleLR"}}, {{name = "ReduceLROnPlateau", patience = 0}}]
warmup = 0.5
"""
"""Eight runs in four packs, two at a time on two cores: optimizers and schedulers that keep much state."""

TIMES = ("epoch_seconds", "eval_seconds")
PHASES = ("before the ledger", "start-up", "training", "tables, figures, report")

EXECUTORS = {"Ray": (), "in-process": ("--in-process",)}
"""What trains → the flags of ``sweep run`` and ``sweep resume``."""

Key = tuple[str, int]  # run id and epoch


@dataclass(frozen=True)
class Rows:
    """What a ledger has: by run and epoch the measured numbers, and the attempt that trained them."""

    numbers: dict[Key, tuple[Any, ...]]
    attempts: dict[Key, str]
    duplicates: int
    finished: bool

    @classmethod
    def of(cls, ledger_path: Path) -> Rows:
        """Read them all, planned or not; check the file by the way."""
        with Ledger.open_read_only(ledger_path) as ledger:
            epochs, statuses, sound = ledger.read(
                "SELECT * FROM epochs", "SELECT status FROM run_statuses", "PRAGMA integrity_check"
            )
        if sound.rows != [("ok",)]:
            raise SystemExit(f"{ledger_path}: SQLite finds it damaged: {sound.rows[:3]}")
        names = epochs.columns
        kept = [i for i, name in enumerate(names) if name not in (*TIMES, "attempt_id")]
        run_id, epoch, attempt = (names.index(name) for name in ("run_id", "epoch", "attempt_id"))
        keys = [(row[run_id], row[epoch]) for row in epochs.rows]
        return cls(
            {key: tuple(row[i] for i in kept) for key, row in zip(keys, epochs.rows, strict=True)},
            {key: row[attempt] for key, row in zip(keys, epochs.rows, strict=True)},
            duplicates=len(keys) - len(set(keys)),
            finished=bool(statuses.rows) and all(status == "done" for (status,) in statuses.rows),
        )


NOTHING = Rows({}, {}, 0, False)


@dataclass
class Count:
    """What happened so far."""

    kills: int = 0
    sweeps: int = 0
    resumes: int = 0
    rows: int = 0
    lost: int = 0
    changed: int = 0
    duplicates: int = 0
    trained_again: int = 0
    failures: int = 0
    in_mid_epoch: int = 0  # kills that left a checkpoint between two epochs
    phases: Counter[str] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        """Whether every sweep ended as the undisturbed one."""
        return not (self.lost or self.changed or self.duplicates or self.trained_again or self.failures)

    def compare(self, found: Rows, expected: Rows, before: Rows, *, ended: bool) -> None:
        """Compare a ledger with that of the first sweep and with its own rows ``before``, after the last kill."""
        should = expected.numbers.keys() if ended else before.numbers.keys()
        self.lost += len(should - found.numbers.keys())
        self.changed += sum(expected.numbers.get(key) != numbers for key, numbers in found.numbers.items())
        self.duplicates += found.duplicates
        self.trained_again += sum(found.attempts.get(key, by) != by for key, by in before.attempts.items())


class Killer:
    """Starts sweeps and ends them, with all that they started."""

    def __init__(self, place: Path, spec: Path) -> None:
        self.place = place
        self.spec = spec
        self.environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "LENET_SWEEP_CACHE": str(place / "cache"),
            "RAY_TMPDIR": str(place / "ray"),
            "TMPDIR": str(place),
        }
        (place / "ray").mkdir()

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start ``sweep WORDS`` in a new session; its output goes to a file."""
        command = [sys.executable, "-m", "sweep", *words, "--runs-dir", str(self.place / "runs")]
        with (self.place / "said").open("w") as said:
            return subprocess.Popen(
                command, cwd=self.place, env=self.environment, stdout=said, stderr=subprocess.STDOUT, text=True,
                start_new_session=True,
            )  # fmt: skip

    def kill(self, driver: subprocess.Popen[str]) -> None:
        """SIGKILL the driver and everything below it, orphans included, until nothing is left."""
        while below := living():
            for process in below:  # the driver first, so that it cannot react
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            driver.wait()  # before the others are reaped: ``driver`` needs its exit code
            psutil.wait_procs(below, timeout=10)
        driver.wait()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def said(self) -> str:
        """Return the last lines of the output of the last process."""
        return "\n".join((self.place / "said").read_text(errors="replace").splitlines()[-12:])


def living() -> list[psutil.Process]:
    """Return all processes below this one, the dead apart."""
    return [process for process in psutil.Process().children(recursive=True) if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def adopt_orphans() -> None:
    """Become the parent of every orphan below this process, Ray's daemons among them."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise SystemExit("the soak needs Linux: prctl(PR_SET_CHILD_SUBREAPER) failed")


def run_undisturbed(killer: Killer, executor: str) -> tuple[float, Rows]:
    """Run the sweep to its end; return the seconds it took and its rows."""
    name = f"undisturbed-{executor}"
    began = time.monotonic()
    driver = killer.start("run", str(killer.spec), "--name", name, *EXECUTORS[executor])
    code = driver.wait(PATIENCE_SECONDS)
    if code:
        raise SystemExit(f"the undisturbed sweep ended with {code}:\n{killer.said()}")
    took = time.monotonic() - began
    killer.kill(driver)  # what Ray takes a moment to end
    rows = Rows.of(SweepFolder(killer.place / "runs", name).ledger)
    tell(f"undisturbed, {executor}: {took:.1f} s, {len(rows.numbers)} rows")
    return took, rows


def phase_of(folder: SweepFolder, before: Rows, now: Rows) -> str:
    """Return the phase in which the sweep was killed, from the files that it left."""
    if not folder.ledger.exists():
        return PHASES[0]
    if now.finished:
        return PHASES[3]
    return PHASES[2] if now.attempts.keys() > before.attempts.keys() or partial(folder) else PHASES[1]


def partial(folder: SweepFolder) -> bool:
    """Whether some pack's newest checkpoint stands within an epoch."""
    newest = (max(pack.glob("epoch*.ckpt"), default=None) for pack in folder.checkpoints.glob("*"))
    return any(path is not None and "-step00000000" not in path.name for path in newest)


def rows_of(folder: SweepFolder) -> Rows:
    """Return what the ledger has, nothing where the driver died before it was made."""
    return Rows.of(folder.ledger) if folder.spec.exists() else NOTHING


def soak(killer: Killer, executor: str, kills: int, rng: random.Random, seconds: float, expected: Rows) -> Count:
    """Kill sweeps until there were ``kills``, let the last one end, and count.

    Args:
        killer: starts and ends the sweeps.
        executor: what trains them; a key of ``EXECUTORS``.
        kills: how many.
        rng: draws the moments.
        seconds: what a sweep without a kill takes.
        expected: the rows of a sweep without a kill.
    """
    count = Count()
    while count.kills < kills:
        count.sweeps += 1
        folder = SweepFolder(killer.place / "runs", f"{executor}-{count.sweeps}")
        before, ended = NOTHING, False
        while not ended:
            resumed = folder.spec.exists()
            count.resumes += resumed
            words = ("resume", folder.name) if resumed else ("run", str(killer.spec), "--name", folder.name)
            began, driver = time.monotonic(), killer.start(*words, *EXECUTORS[executor])
            delay = rng.uniform(0, seconds) if count.kills < kills else PATIENCE_SECONDS
            try:
                ended = driver.wait(delay) is not None
            except subprocess.TimeoutExpired:
                count.kills += 1
            if ended and not resumed:  # undisturbed, too: on a machine that others use, that time changes
                seconds = time.monotonic() - began
            killer.kill(driver)
            if ended and driver.returncode:
                count.failures += 1
                print(f"sweep {words[0]} ended with {driver.returncode}:\n{killer.said()}", file=sys.stderr, flush=True)
            now = rows_of(folder)
            count.compare(now, expected, before, ended=ended)
            if not ended:
                phase = phase_of(folder, before, now)
                count.phases[phase] += 1
                count.in_mid_epoch += partial(folder)
                tell(f"kill {count.kills} after {delay:.1f} s of {words[0]} {folder.name}: {phase}, {len(now.numbers)} "
                     f"of {len(expected.numbers)} rows")  # fmt: skip
            before = now
        count.rows += len(before.numbers)
        if not (folder.report.exists() and (folder.tables / "epochs.csv").exists()):
            count.failures += 1
        tell(f"sweep {folder.name} finished; so far {count.lost} rows lost, {count.changed} changed")
    return count


def tell(line: str) -> None:
    """Print progress to stderr."""
    print(line, file=sys.stderr, flush=True)


def table(counts: dict[str, Count], seconds: dict[str, float], seed: int) -> str:
    """Return the result as one Markdown table, a row per executor."""
    rows = []
    for executor, count in counts.items():
        cells = {
            "trained by": executor, "kills": count.kills, "sweeps": count.sweeps, "resumes": count.resumes,
            "rows compared": count.rows, "rows lost": count.lost, "rows changed": count.changed,
            "rows duplicated": count.duplicates, "rows trained again": count.trained_again, "failures": count.failures,
        }  # fmt: skip
        rows.append(cells)
    notes = [
        f"{executor}: a sweep without a kill took {seconds[executor]:.1f} s. Killed in: "
        f"{', '.join(f'{phase} {count.phases[phase]}' for phase in PHASES)}; {count.in_mid_epoch} kills left a "
        "checkpoint within an epoch."
        for executor, count in counts.items()
    ]
    return "\n".join(
        [
            f"| {' | '.join(rows[0])} |",
            f"| --- |{' ---: |' * (len(rows[0]) - 1)}",
            *(f"| {' | '.join(map(str, cells.values()))} |" for cells in rows),
            "",
            *notes,
            f"Random moments with seed {seed}.",
        ]
    )


def main() -> int:
    """Run the benchmark, print the table, and return 1 if anything was lost or changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="half of them through Ray, half in-process")
    parser.add_argument("--data", default=DATA)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    adopt_orphans()
    rng = random.Random(arguments.seed)
    counts: dict[str, Count] = {}
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as place:
        spec = Path(place) / "soak.toml"
        spec.write_text(SPEC.format(data=arguments.data, epochs=arguments.epochs))
        killer = Killer(Path(place), spec)
        expected = NOTHING
        shares = {"Ray": arguments.kills - arguments.kills // 2, "in-process": arguments.kills // 2}
        for executor, kills in shares.items():
            seconds[executor], rows = run_undisturbed(killer, executor)
            expected = expected if expected.numbers else rows
            counts[executor] = soak(killer, executor, kills, rng, seconds[executor], expected)
            counts[executor].compare(rows, expected, NOTHING, ended=True)
    if left := living():
        counts["Ray"].failures += 1
        tell(f"processes left behind: {left}")
    if arguments.json:
        found = {
            executor: {**vars(count), "phases": dict(count.phases), "seconds": seconds[executor], "clean": count.clean}
            for executor, count in counts.items()
        }
        print(json.dumps(found))
    else:
        print(table(counts, seconds, arguments.seed))
    return 0 if expected.numbers and all(count.clean for count in counts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
