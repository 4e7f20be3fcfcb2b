"""What a training step takes here: real packs on real batches, for a planner that chooses among sizes and threads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import cycle, islice

import torch

from search_spaces import Configuration, Run
from trainables.data.dataset import DataSet
from trainables.optim.optimizers import OPTIMIZERS, complete_optimizer
from trainables.runtime.devices import deterministic, device_name, training_device
from trainables.runtime.malloc import keep_freed_memory
from trainables.training.batches import Batches
from trainables.training.pack import Pack

RUN_STEPS = 4
"""Steps of single runs that one measurement takes at least: a pack of one takes so many, one of four takes one."""


class StepTimer:
    """A process like that of a trial, which takes training steps of packs of any size; what it trains is not kept."""

    def __init__(self, data: DataSet, runs: Sequence[Run], gpu: bool) -> None:
        """``runs`` are of one seed; their optimizers go into the packs, those apart that are a user's own class.

        Such a one may do anything, and a probe must do nothing: it is replaced by SGD with momentum.
        """
        keep_freed_memory()
        self._device = training_device(gpu)
        deterministic(self._device)
        self._runs = [like(run) for run in runs]
        self._batches = Batches(data, [runs[0].seed], runs[0].protocol, self._device)
        self._packs: dict[int, Pack] = {}
        self._step = 0

    def device(self) -> str:
        """Return what the device calls itself."""
        return device_name(self._device)

    def seconds(self, size: int, threads: int) -> float:
        """Return the seconds of a step of a pack of ``size`` on ``threads``, mean over a few; the first is slow."""
        if self._device.type == "cpu":
            torch.set_num_threads(threads)
        if size not in self._packs:
            chosen = list(islice(cycle(self._runs), size))
            self._packs[size] = Pack(chosen, self._batches.steps, self._device)
        steps = -(-RUN_STEPS // size)
        self._wait()
        began = time.perf_counter()
        for _ in range(steps):
            self._packs[size].train_step(self._batches.batch(1, self._step))
            self._step = (self._step + 1) % max(1, self._batches.steps - 1)  # the last batch may be smaller
        self._wait()
        return (time.perf_counter() - began) / steps

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def like(run: Run) -> Run:
    """Return a run that takes the same time and memory a step, with a constant rate; a user's own class is not run."""
    choice = run.configuration
    if choice.optimizer in OPTIMIZERS:
        same = Configuration(choice.optimizer, choice.optimizer_params)
    else:
        same = Configuration("SGD", complete_optimizer("SGD", {"lr": 0.01, "momentum": 0.9}, "probe"))
    return Run(same, run.seed, run.protocol, run.data_fingerprint)
