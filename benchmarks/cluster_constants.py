"""The constants of ``benchmarks.cluster_model``, each a small measurement on this machine."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from benchmarks import overhead
from benchmarks.fixed_trials import FixedSweep, Job, Took, apart

DATA_BYTES = 150_000_000
"""CIFAR-100 as one uint8 tensor."""
FEW, SEVERAL = 2, 12
"""Concurrent trials of the sweeps that are measured."""
SWEEPS = (
    FixedSweep(trials=12, concurrent=FEW, epochs=1, seconds=0.1),
    FixedSweep(trials=12, concurrent=FEW, epochs=20, seconds=0.05),
    FixedSweep(trials=48, concurrent=SEVERAL, epochs=5, seconds=0.2),
)
UPLOADS = 15
PENDING = (2, 50, 200, 800, 1600)
EPOCH_EXAMPLES, MEASURED_EXAMPLES = 50_000, 5_000
"""Training and validation images of CIFAR-100, and of the data that an epoch is measured on."""


@dataclass(frozen=True)
class DriverCosts:
    """What the driver's one thread does, in seconds; and what a trial's process waits for beside it."""

    trial: float  # the start and the end of a trial
    report: float  # of an epoch, with the ledger's write and Tune's own work
    pending: float  # more, a report, for every trial that is trained at the time
    report_latency: float = 0.0  # from the driver's answer to the next epoch
    trial_latency: float = 0.0  # from the driver's answer to a trial's first epoch

    def report_among(self, concurrent: int) -> float:
        """Return the seconds of a report while ``concurrent`` trials are trained."""
        return self.report + self.pending * concurrent


@dataclass(frozen=True)
class Machine:
    """What a node does, in seconds unless said otherwise."""

    first_ready: float  # from Tune's beginning to the first process's first trial: here, with processes that sleep
    each_ready: float  # more for every other one, since all nodes here share the cores
    tail: float  # from the last trial's end to Tune's
    transfer: float  # of ``DATA_BYTES`` from the driver's node to another one
    worker_start: float  # of a sweep with real trials: from its beginning to its first trial
    save: float  # of a checkpoint: written, checksummed, flushed, renamed
    upload: float  # of its bytes to the storage
    checkpoint_mib: float
    epoch: float  # CPU seconds of a pack's epoch on CIFAR-100, one thread
    pack: int  # runs in this pack


def measure_constants(pack: int, storage: str | None) -> tuple[DriverCosts, Machine, Mapping[str, float]]:
    """Measure everything for packs of ``pack`` runs and the URI ``storage``; the last one is what the fit stands on."""
    job = Job(cpus=[SEVERAL, 0], sweeps=SWEEPS, transfer_bytes=DATA_BYTES, pending=PENDING)
    took, transfer, events = apart(job)
    costs = fit_driver(took, SWEEPS, PENDING, events)
    few, several = took[1], took[2]
    each = max(0.0, (several.ready - few.ready) / (SEVERAL - FEW))
    with tempfile.TemporaryDirectory() as place:
        saved = overhead.measure_checkpoints(Path(place) / "checkpoints", pack)
        upload = measure_upload(int(saved["MiB"] * 2**20), storage or (Path(place) / "storage").as_uri())
    machine = Machine(
        first_ready=few.ready - (FEW - 1) * each, each_ready=each, tail=statistics.median([few.tail, several.tail]),
        transfer=transfer, worker_start=overhead.apart("sweep", 2, 1)["start_up"], save=saved["save_ms"] / 1000,
        upload=upload, checkpoint_mib=saved["MiB"], epoch=measure_epoch(pack), pack=pack,
    )  # fmt: skip
    shown = {f"CPU ms a result among {n:,}": 1000 * s for n, s in zip(PENDING, events, strict=True)}
    shown["ledger write ms, median"] = statistics.median(one.write_ms for one in took)
    busy = several.driver_cpu
    shown[f"driver's CPU ms a report among {SEVERAL}, trials' part taken off"] = (
        1000 * (busy - costs.trial * SWEEPS[2].trials) / (SWEEPS[2].trials * SWEEPS[2].epochs)
    )
    return costs, machine, shown


def fit_driver(
    took: Sequence[Took], sweeps: Sequence[FixedSweep], pending: Sequence[int], events: Sequence[float]
) -> DriverCosts:
    """Return the driver's costs that explain its CPU seconds in ``sweeps`` best, none of them negative.

    What a report costs more for every concurrent trial is the slope of ``events`` (seconds a result) over ``pending``
    (results waited for): that is where Tune's loop looks at all trials, and sweeps of thousands fit on no machine here.
    """
    slope = max(0.0, float(np.polyfit(pending, events, 1)[0]))
    reports = [sweep.trials * sweep.epochs for sweep in sweeps]
    known = [slope * sweep.concurrent * n for sweep, n in zip(sweeps, reports, strict=True)]
    matrix = np.array([[1.0, sweep.trials, n] for sweep, n in zip(sweeps, reports, strict=True)])
    seconds = np.array([one.driver_cpu for one in took]) - known
    (_, trial, report), _ = nnls(matrix, np.maximum(seconds, 0.0))
    several = [(one, sweep) for one, sweep in zip(took, sweeps, strict=True) if sweep.epochs > 1]
    costs = DriverCosts(float(trial), float(report), slope)
    return DriverCosts(
        costs.trial, costs.report, slope,
        max(0.0, statistics.median(one.report_wait - costs.report_among(sweep.concurrent) for one, sweep in several)),
        max(
            0.0,
            statistics.median(
                one.change_wait - costs.trial - costs.report_among(sweep.concurrent) for one, sweep in several
            ),
        ),
    )  # fmt: skip


def measure_upload(size: int, uri: str) -> float:
    """Return the median seconds in which Arrow's file system writes ``size`` bytes below ``uri``; they are removed."""
    from pyarrow.fs import FileSystem

    system, folder = FileSystem.from_uri(uri)
    system.create_dir(folder)
    content, took = os.urandom(size), []
    for i in range(UPLOADS):
        name = f"{folder}/{uuid.uuid4().hex}-{i}.ckpt"
        began = time.perf_counter()
        with system.open_output_stream(name) as stream:
            stream.write(content)
        took.append(time.perf_counter() - began)
        system.delete_file(name)
    return statistics.median(took)


def measure_epoch(pack: int) -> float:
    """Return the CPU seconds in which a pack trains and validates one epoch of CIFAR-100 with one thread.

    Measured on a tenth of the images, made from a seed: their content costs nothing.
    """
    import torch

    from search_spaces import Configuration, Protocol, Run
    from trainables.data.dataset import load_data
    from trainables.optim.optimizers import complete_optimizer
    from trainables.runtime.malloc import keep_freed_memory
    from trainables.training.loop import TrainOptions, train
    from trainables.training.messages import Assignment

    torch.set_num_threads(1)
    keep_freed_memory()  # as a worker does
    data = load_data(f"synthetic:n_train={MEASURED_EXAMPLES},n_test=100,seed=0")
    runs = []
    for k in range(pack):
        params = complete_optimizer("SGD", {"lr": 0.01 * (k + 1) / pack, "momentum": 0.9}, "cluster_model")
        runs.append(Run(Configuration("SGD", params), 0, Protocol(), data.fingerprint))
    reports = train(
        Assignment("measured", runs, 2, frozenset()), data, torch.device("cpu"), TrainOptions(clock=time.process_time)
    )
    next(reports)  # the first epoch warms up
    row = next(reports).rows[0]
    return float(row.epoch_seconds + row.eval_seconds) * EPOCH_EXAMPLES / MEASURED_EXAMPLES
