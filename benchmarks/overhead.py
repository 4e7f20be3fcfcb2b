"""Overhead of Ray, the ledger and the checkpoints: ``python -m benchmarks.overhead``.

Sweeps of many runs of one short epoch, in packs of one, each sweep in a separate process. The overhead of a trial is
the time of its slot outside of training and evaluation:

    (slots × (last attempt's end − first attempt's start) − training and evaluation of all packs) / trials

The time until the first attempt starts (Ray, its workers, their imports) is a separate column, and so is the time of
tables, figures and report. ``bare Tune`` is the floor: the same number of trials of an empty class trainable,
with ``reuse_actors``. Memory and open files are those of the driver.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).parent.parent
SLOTS = 2
RATES = 50
DATA = "synthetic:n_train=1000,n_test=100,seed=0"
SAVES = 20
RECORDED_EPOCHS = 50

SPEC = """
data = "{data}"
model = "{model}"
epochs = 1
seeds = {seeds}
[protocol]
batch_size = 500
[resources]
pack = {pack}
cpus_per_trial = 1
max_concurrent = {slots}
[[configurations]]
optimizer = {{name = "SGD", lr = {{logspace = [1e-4, 1e-1], n = {rates}}}}}
"""

COLUMNS = {
    "trials": "trials",
    "overhead": "overhead s per trial",
    "bare": "bare Tune s per trial",
    "training": "training s per trial",
    "write_median": "ledger write ms, median",
    "write_p99": "p99",
    "rss_peak": "driver's peak MiB",
    "rss_growth": "MiB per 1,000 trials",
    "files": "most open files",
    "start_up": "start-up s",
    "outputs": "tables, figures, report s",
}


def linear(classes: int) -> Any:
    """Return a linear classifier of every eighth pixel: the training of a run takes almost no time."""
    from torch import nn

    every_eighth = nn.Upsample(scale_factor=1 / 8)  # the nearest pixel
    return nn.Sequential(every_eighth, nn.Flatten(), nn.Linear(3 * 4 * 4, classes))


class Watch:
    """Times every ledger write of a sweep and records memory and open files of the driver."""

    def __init__(self) -> None:
        self.write_seconds: list[float] = []
        self.rss: list[float] = []  # MiB, at every write
        self.files = 0
        self._process = psutil.Process()

    def around(self, write: Callable[..., None]) -> Callable[..., None]:
        """Return ``write``, watched."""

        def watched(*arguments: Any, **keywords: Any) -> None:
            began = time.perf_counter()
            write(*arguments, **keywords)
            self.write_seconds.append(time.perf_counter() - began)
            self.rss.append(self._process.memory_info().rss / 2**20)
            self.files = max(self.files, self._process.num_fds())

        return watched


def measure_sweep(place: Path, runs: int, pack: int = 1, in_process: int = 0) -> dict[str, float]:
    """Drive a sweep of ``runs`` runs in packs of ``pack``; the number is rounded up to whole seeds.

    With ``in_process`` this process also trains, a linear model in place of LeNet-5.
    """
    from rich.console import Console

    from results.ledger.ledger import Ledger
    from sweep.config.toml import parse_spec
    from sweep.driver.driver import DriveOptions, drive
    from sweep.driver.outputs import make_outputs

    watch = Watch()
    Ledger.record = watch.around(Ledger.record)  # type: ignore[method-assign]
    rates = min(RATES, runs)
    model = "benchmarks.overhead:linear" if in_process else "lenet5"
    text = SPEC.format(data=DATA, model=model, seeds=-(-runs // rates), slots=SLOTS, rates=rates, pack=pack)
    spec, options = parse_spec(text, where="overhead", name="overhead"), DriveOptions(in_process=bool(in_process))
    began, cpu_began = time.time(), time.process_time()
    outcome = drive(spec, place, Console(file=io.StringIO()), options)
    assert outcome is not None
    assert outcome.all_done
    rss_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # of the sweep, without the outputs
    outputs_began = time.time()
    make_outputs(outcome.folder)
    ended = time.time()
    wall, outputs, cpu = ended - began, ended - outputs_began, time.process_time() - cpu_began
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        epochs, attempts = ledger.read(
            "SELECT COUNT(*), SUM((epoch_seconds + eval_seconds) / pack_size) FROM epochs",  # a pack's, in each row
            "SELECT started, ended FROM attempts",
        )
    starts, ends = zip(*attempts.rows, strict=True)
    n, (trained, training), span = len(starts), epochs.rows[0], max(ends) - min(starts)
    return {
        "runs": trained,
        "trials": n,
        "training": training / n,
        "overhead": ((1 if in_process else SLOTS) * span - training) / n,
        "span": span,
        "wall": wall,
        "cpu": cpu,
        "ledger": outcome.folder.ledger.stat().st_size / 2**20,
        "write_median": 1000 * statistics.median(watch.write_seconds),
        "write_p99": 1000 * float(np.quantile(watch.write_seconds, 0.99)),
        "rss_growth": 1000 * (watch.rss[-1] - watch.rss[0]) / n,
        "files": watch.files,
        "start_up": min(starts) - began,
        "rss_peak": rss_peak,
        "outputs": outputs,
    }


def measure_bare(place: Path, trials: int) -> dict[str, float]:
    """Run as many trials that do nothing, and return the seconds that each held its slot."""
    import ray
    from ray import tune

    from sweep.execution.ray.session import ray_session

    class Idle(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.began = time.time()

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.began = time.time()
            return True

        def step(self) -> dict[str, Any]:
            return {"done": True, "began": self.began, "ended": time.time()}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            pass

        def load_checkpoint(self, checkpoint: Any) -> None:
            pass

    with ray_session("local"):
        results = tune.Tuner(
            tune.with_resources(Idle, {"cpu": 1}),
            param_space={"number": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(max_concurrent_trials=SLOTS, reuse_actors=True),
            run_config=tune.RunConfig(name="bare", storage_path=str(place), verbose=0),
        ).fit()
        spans = [(result.metrics["began"], result.metrics["ended"]) for result in results]
        assert ray.is_initialized()
    return {"bare": SLOTS * (max(end for _, end in spans) - min(start for start, _ in spans)) / trials}


def measure_checkpoints(place: Path, size: int) -> dict[str, float]:
    """Save a pack of ``size`` runs of Adam after 50 epochs again and again; return what one save takes."""
    import torch

    from search_spaces import Configuration, Protocol, Run
    from trainables.optim.optimizers import complete_optimizer
    from trainables.training.checkpoints import Checkpoints
    from trainables.training.messages import CHECKPOINT_SECONDS, EpochMetrics
    from trainables.training.pack import Pack

    torch.set_num_threads(1)
    adam = Configuration("Adam", complete_optimizer("Adam", {}, "overhead"))
    pack = Pack([Run(adam, seed, Protocol(), "none") for seed in range(size)], 1, torch.device("cpu"))
    for member in pack.members:
        for parameter in member.optimizer.param_groups[0]["params"]:
            parameter.grad = torch.ones_like(parameter)
        member.optimizer.step()
        numbers: dict[str, Any] = {field.name: 1 / 3 for field in fields(EpochMetrics)} | {"run_id": member.run.run_id}
        member.rows = [EpochMetrics(**numbers) for _ in range(RECORDED_EPOCHS)]
    seconds = []
    checkpoints = Checkpoints(place)
    for step in range(SAVES):
        pack.step_in_epoch = step
        began = time.perf_counter()
        name = checkpoints.save(pack.state_dict())
        seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds)
    return {
        "pack": size,
        "save_ms": 1000 * median,
        "worst_ms": 1000 * max(seconds),
        "MiB": (place / name).stat().st_size / 2**20,
        "share_percent": 100 * median / (CHECKPOINT_SECONDS + median),
    }


MEASURES: dict[str, Callable[..., dict[str, float]]] = {
    "sweep": measure_sweep,
    "bare": measure_bare,
    "checkpoints": measure_checkpoints,
}


def apart(measure: str, *numbers: int) -> dict[str, float]:
    """Take one measurement in a separate process and folder."""
    with tempfile.TemporaryDirectory(prefix="overhead-", ignore_cleanup_errors=True) as place:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT), "LENET_SWEEP_CACHE": f"{place}/cache", "RAY_TMPDIR": f"{place}/ray",
            "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        }  # fmt: skip
        (Path(place) / "ray").mkdir()
        ended = subprocess.run(
            [sys.executable, "-m", "benchmarks.overhead", "--measure", measure, f"{place}/runs", *map(str, numbers)],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if ended.returncode:
        raise SystemExit(f"{measure} {numbers} ended with {ended.returncode}:\n{ended.stderr[-3000:]}")
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def tell(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="*", default=[100, 500, 2000])
    parser.add_argument("--checkpoints", type=int, nargs="*", default=[4, 8], help="sizes of packs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)  # arguments of the separate process
    arguments = parser.parse_args()
    if arguments.measure:
        measure, place, *numbers = arguments.measure
        print(json.dumps(MEASURES[measure](Path(place), *map(int, numbers))))
        return
    say = (lambda line: None) if arguments.json else tell
    sweeps, checkpoints = [], []
    say(f"| {' | '.join(COLUMNS.values())} |")
    say(f"|{' ---: |' * len(COLUMNS)}")
    for runs in arguments.runs:
        found = apart("sweep", runs) | apart("bare", runs)
        sweeps.append(found)
        say(f"| {' | '.join(f'{found[key]:.4g}' for key in COLUMNS)} |")
    say("")
    say("| pack | one checkpoint ms, median | worst | MiB | share of training at one in 30 s, percent |")
    say("| ---: | ---: | ---: | ---: | ---: |")
    for size in arguments.checkpoints:
        found = apart("checkpoints", size)
        checkpoints.append(found)
        say(f"| {' | '.join(f'{value:.3g}' for value in found.values())} |")
    if arguments.json:
        print(json.dumps({"sweeps": sweeps, "checkpoints": checkpoints}))


if __name__ == "__main__":
    main()
