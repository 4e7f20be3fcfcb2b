"""The time of a training step on this machine, for the planner, which chooses pack size and threads."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import cycle, islice

import torch

from search_spaces import Configuration, Run
from trainables.data.dataset import DataSet
from trainables.models.kernels import TORCH
from trainables.optim.optimizers import OPTIMIZERS, complete_optimizer
from trainables.runtime.devices import deterministic, device_name, training_device
from trainables.runtime.malloc import keep_freed_memory
from trainables.training.batches import Batches
from trainables.training.pack import Pack

RUN_STEPS = 4
"""Minimum of run-steps in one measurement: four steps for a pack of one, one step for a pack of four."""


class StepTimer:
    """Takes training steps of packs of any size, as a trial does; the trained weights are discarded."""

    def __init__(self, data: DataSet, runs: Sequence[Run], gpu: bool, kernels: str = TORCH) -> None:
        """``runs`` have one seed, and their optimizers are used in the packs.

        An optimizer class of the user may have side effects, so the probe uses SGD with momentum in its place.
        """
        keep_freed_memory()
        self._device = training_device(gpu)
        deterministic(self._device)
        self._runs = [stand_in(run) for run in runs]
        self._batches = Batches(data, [runs[0].seed], runs[0].conditions, self._device)
        self._classes = data.classes
        self._kernels = kernels
        self._packs: dict[int, Pack] = {}
        self._step = 0

    def device(self) -> str:
        """Return the name of the device."""
        return device_name(self._device)

    def seconds(self, size: int, threads: int) -> float:
        """Return the mean seconds of a step of a pack of ``size`` on ``threads``; the first call is slower.

        Raises:
            torch.OutOfMemoryError: the pack does not fit into the memory of the GPU.
        """
        if self._device.type == "cpu":
            torch.set_num_threads(threads)
        if size not in self._packs:
            chosen = list(islice(cycle(self._runs), size))
            self._packs[size] = Pack(
                chosen, self._batches.steps, self._device, classes=self._classes, kernels=self._kernels
            )
        steps = -(-RUN_STEPS // size)
        self._wait()
        began = time.perf_counter()
        for _ in range(steps):
            self._packs[size].train_step(self._batches.batch(1, self._step))
            self._step = (self._step + 1) % max(1, self._batches.steps - 1)  # the last batch may be smaller
        self._wait()
        return (time.perf_counter() - began) / steps

    def seconds_or_infinity(self, size: int, threads: int) -> float:
        """As :meth:`seconds`; infinity for a pack that does not fit, so that the sizes that fit are still timed."""
        try:
            return self.seconds(size, threads)
        except torch.OutOfMemoryError:
            self._packs.pop(size, None)
            return math.inf

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def stand_in(run: Run) -> Run:
    """Return a run with the same time and memory per step and a constant rate, without classes of the user."""
    choice = run.configuration
    if choice.optimizer in OPTIMIZERS:
        same = Configuration(choice.optimizer, choice.optimizer_params)
    else:
        same = Configuration("SGD", complete_optimizer("SGD", {"lr": 0.01, "momentum": 0.9}, "probe"))
    return Run(same, run.seed, run.conditions, run.data_fingerprint)
