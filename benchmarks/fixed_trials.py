"""Sweeps whose trials take a fixed time, on a loopback cluster: only the training is replaced, by a sleep.

They go through ``drive``: the planner, Ray Tune, the recorder, the ledger. What a trial reports is as large as a real
report and contains the time that its process waited for the driver. A cluster and its sweeps run in a separate process:
``python -m benchmarks.fixed_trials PLACE JOB``, a :class:`Job` as JSON, prints its measurements as JSON.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.loopback import OTHER_NODE, loopback_cluster

ROOT = Path(__file__).parent.parent
TRANSFERS = 7
EVENTS = 400
EVENT_SECONDS = 0.004
"""Between two results, so that they come one by one."""
SPEC = """
data = "{data}"
epochs = {epochs}
seeds = {trials}
[protocol]
batch_size = 500
[resources]
pack = {pack}
cpus_per_trial = 1
max_concurrent = {concurrent}
[cluster]
address = "{address}"
[[configurations]]
optimizer = {{name = "SGD", lr = {rates}}}
"""


@dataclass(frozen=True)
class FixedSweep:
    """A sweep of ``trials`` packs, at most ``concurrent`` at a time, each of ``epochs`` epochs of ``seconds``."""

    trials: int
    concurrent: int
    epochs: int
    seconds: float
    pack: int = 4


@dataclass(frozen=True)
class Job:
    """A cluster with a node for each of ``cpus``; what is to be measured on it."""

    cpus: Sequence[int]
    sweeps: Sequence[FixedSweep] = ()
    data: str = "synthetic:n_train=1000,n_test=100,seed=0"
    transfer_bytes: int = 0  # of an object that is sent to another node; 0: none is
    pending: Sequence[int] = ()  # numbers of results that the driver waits for at a time


@dataclass(frozen=True)
class Took:
    """What a sweep took, in seconds unless said otherwise; the driver's part is that of its main thread."""

    wall: float  # of all trials, from Tune's beginning to its end
    driver_cpu: float
    ready: float  # until the last process had begun its first trial
    tail: float  # after the last trial's end
    report_wait: float  # mean, of a trial's process, from the end of an epoch to the beginning of the next
    change_wait: float  # mean, of a process, from the end of a trial to the beginning of the next
    write_ms: float  # median of a report's ledger write
    trials_by_node: Mapping[str, int] = field(default_factory=dict)


def fixed_trainable(seconds: float) -> type:
    """Return a stand-in for ``PackTrainable`` whose epoch is a sleep, and whose reports are like its own."""
    from ray import get_runtime_context, tune

    from trainables.training.messages import AttemptInfo, EpochMetrics, Report, TrialSpec

    class FixedPack(tune.Trainable):
        def setup(self, config: dict[str, Any], **what_real_trials_use: Any) -> None:
            self._ended = 0.0
            self._begin(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._begin(new_config)
            return True

        def _begin(self, config: Mapping[str, str]) -> None:
            self._assignment = TrialSpec.from_json(config["spec"]).assignment
            self._epoch = 0
            self._members = [run.run_id for run in self._assignment.runs]
            self._attempt = AttemptInfo(
                attempt_id=os.urandom(16).hex(), pack_id=self._assignment.pack_id, host="loopback", pid=os.getpid(),
                device=get_runtime_context().get_node_id(), gpus="", threads=1, members=tuple(self._members),
                versions={}, started=time.time(),
            )  # fmt: skip

        def step(self) -> dict[str, Any]:
            waited = time.monotonic() - self._ended if self._ended else 0.0
            time.sleep(seconds)
            self._epoch += 1
            row: dict[str, Any] = {
                "epoch": self._epoch, "train_loss": 1 / 3, "train_acc": 1 / 3, "val_loss": 1 / 3, "val_acc": 1 / 3,
                "test_loss": None, "test_acc": None, "lr": 1 / 3, "lr_first": 1 / 3, "lr_last": 1 / 3,
                "epoch_seconds": seconds, "eval_seconds": waited, "pack_size": len(self._members),
                "attempt_id": self._attempt.attempt_id,
            }  # fmt: skip
            self._ended = time.monotonic()
            done = self._epoch >= self._assignment.epochs
            rows = [EpochMetrics(run_id=member, **row) for member in self._members]
            return {"report": Report(rows, [self._attempt], done=done), "done": done}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            pass

        def load_checkpoint(self, checkpoint: Any) -> None:
            pass

    return FixedPack


def measure_sweep(sweep: FixedSweep, name: str, address: str, data: str, place: Path) -> Took:
    """Drive ``sweep`` on the cluster at ``address``."""
    from rich.console import Console

    import sweep.driver.driver as driver
    import sweep.execution.training as training
    import trainables.ray_trainable as adapter
    from results.ledger.ledger import Ledger
    from sweep.config.toml import parse_spec

    writes: list[float] = []
    spans: dict[str, float] = {}
    train_packs, record, trainable = training.train_packs, Ledger.record, adapter.PackTrainable

    def timed_packs(*arguments: Any, **keywords: Any) -> None:
        began, cpu = time.time(), time.thread_time()
        train_packs(*arguments, **keywords)
        spans.update(began=began, ended=time.time(), cpu=time.thread_time() - cpu)

    adapter.PackTrainable = fixed_trainable(sweep.seconds)  # type: ignore[assignment,misc]
    driver.train_packs = timed_packs  # type: ignore[attr-defined]
    Ledger.record = _timed(record, writes)  # type: ignore[method-assign]
    rates = [0.1 * (k + 1) / sweep.pack for k in range(sweep.pack)]
    fields = asdict(sweep) | {"data": data, "address": address, "rates": rates}
    try:
        outcome = driver.drive(
            parse_spec(SPEC.format(**fields), where=name, name=name), place, Console(file=io.StringIO())
        )
    finally:
        adapter.PackTrainable = trainable  # type: ignore[misc]
        driver.train_packs = train_packs  # type: ignore[attr-defined]
        Ledger.record = record  # type: ignore[method-assign]
    if outcome is None or not outcome.all_done:
        raise SystemExit(f"the sweep {name} did not finish all runs: {outcome}")
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        attempts, processes, nodes, waits = ledger.read(
            "SELECT MAX(ended) FROM attempts",
            "SELECT MIN(started) FROM attempts GROUP BY device, pid",
            "SELECT device, COUNT(*) FROM attempts GROUP BY device",
            "SELECT epoch > 1, AVG(eval_seconds) FROM epochs WHERE eval_seconds > 0 GROUP BY epoch > 1",
        )
    mean_wait = dict(waits.rows)
    return Took(
        wall=spans["ended"] - spans["began"], driver_cpu=spans["cpu"],
        ready=max(started for (started,) in processes.rows) - spans["began"],
        tail=spans["ended"] - attempts.rows[0][0],
        report_wait=mean_wait.get(1, 0.0), change_wait=mean_wait.get(0, 0.0),
        write_ms=1000 * statistics.median(writes), trials_by_node=dict(nodes.rows),
    )  # fmt: skip


def _timed(call: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **keywords: Any) -> Any:
        began = time.perf_counter()
        found = call(*arguments, **keywords)
        seconds.append(time.perf_counter() - began)
        return found

    return timed


def measure_transfer(size: int, address: str) -> float:
    """Return the seconds in which a task on another node has ``size`` new bytes from the driver's object store."""
    import numpy as np
    import ray

    def fetch(references: list[Any]) -> float:
        began = time.perf_counter()
        assert ray.get(references[0]).nbytes == size
        return time.perf_counter() - began

    ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    there = ray.remote(num_cpus=0, resources={OTHER_NODE: 0.01})(fetch)
    took = []
    for i in range(TRANSFERS):
        reference = ray.put(np.full(size, i, np.uint8))
        took.append(ray.get(there.remote([reference])))
        del reference
    ray.shutdown()
    return float(statistics.median(took[1:]))  # the first one starts the process that fetches


def measure_events(pending: int, address: str) -> float:
    """Return the CPU seconds of this thread for one result while it waits for ``pending`` of them, as Tune waits."""
    import ray
    from ray.air.execution._internal.event_manager import RayEventManager

    class Slots:
        async def step(self, seconds: float) -> None:
            await asyncio.sleep(seconds)

    ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    slots = ray.remote(num_cpus=0, max_concurrency=2 * pending)(Slots).remote()
    events = RayEventManager()

    def submit(_: Any = None) -> None:
        events.track_future(slots.step.remote(pending * EVENT_SECONDS), on_result=submit)

    for _ in range(pending):
        submit()
    events.wait(num_results=1)
    began = time.thread_time()
    for _ in range(EVENTS):
        events.wait(num_results=1)
    took = time.thread_time() - began
    ray.shutdown()
    return took / EVENTS


def measure(job: Job, place: Path) -> dict[str, Any]:
    """Start the job's cluster and take its measures."""
    with loopback_cluster(job.cpus, place / "ray") as address:
        transfer = measure_transfer(job.transfer_bytes, address) if job.transfer_bytes else 0.0
        events = [measure_events(pending, address) for pending in job.pending]
        took = [
            asdict(measure_sweep(sweep, f"fixed{i}", address, job.data, place / "runs"))
            for i, sweep in enumerate(job.sweeps)
        ]
    return {"took": took, "transfer": transfer, "events": events}


def apart(job: Job) -> tuple[list[Took], float, list[float]]:
    """Run ``job`` in a separate process; return the times of each sweep, the transfer and each number of results."""
    with tempfile.TemporaryDirectory(prefix="fixed-", ignore_cleanup_errors=True) as place:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "LENET_SWEEP_CACHE": f"{place}/cache"}
        ended = subprocess.run(
            [sys.executable, "-m", "benchmarks.fixed_trials", place, json.dumps(asdict(job))],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if ended.returncode:
        raise SystemExit(f"{job} ended with {ended.returncode}:\n{ended.stderr[-3000:]}")
    found = json.loads(ended.stdout.splitlines()[-1])
    return [Took(**took) for took in found["took"]], found["transfer"], found["events"]


if __name__ == "__main__":
    asked = json.loads(sys.argv[2])
    asked["sweeps"] = [FixedSweep(**sweep) for sweep in asked["sweeps"]]
    with redirect_stdout(sys.stderr):  # Ray and Tune print to stdout, which must hold the result only
        result = measure(Job(**asked), Path(sys.argv[1]))
    print(json.dumps(result))
