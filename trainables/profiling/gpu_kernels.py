"""The fastest kernels of LeNet-5's convolutions for a number of models, measured on the GPU that trains them."""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from trainables.models.lenet import CONVOLUTIONS, convolution_for
from trainables.profiling.probe import StepTimer
from trainables.runtime.devices import training_device, use_precision
from trainables.training.cuda_graphs import WARM_UPS

if TYPE_CHECKING:
    from search_spaces import Run
    from trainables.data.dataset import DataSet

ROUNDS = 9
"""Measured steps of each candidate, in turn, after its warm-up and its capture."""

NOISE = 1.05
"""A candidate is preferred to the one that is used without a measurement only if it is faster by this factor."""


def measured_kernels(runs: Sequence[Run], sizes: Sequence[int], data: DataSet) -> dict[int, str]:
    """Return the fastest kernels for packs of each of ``sizes``, by whole steps on the GPU of this process.

    Empty where PyTorch finds no GPU: Ray's GPUs are only logical, and the trials train on the CPU.

    Args:
        runs: of one seed; they make the packs.
        sizes: runs in a pack.
        data: what they train on.

    Raises:
        SpecError: a precision that the device has not.
    """
    device = training_device(wants_gpu=True)
    use_precision(device, runs[0].protocol.precision)
    if device.type == "cpu":
        return {}
    found = {}
    for size in sizes:
        timers = {name: StepTimer(data, runs, True, name) for name in CONVOLUTIONS}
        best = fastest(timers, convolution_for(device, size), lambda name: timers[name].seconds(size, 1))  # noqa: B023
        if best is not None:
            found[size] = best
        timers.clear()
        gc.collect()  # a captured step and its pack refer to each other
    return found


def fastest(names: Iterable[str], usual: str, seconds: Callable[[str], float]) -> str | None:
    """Return the candidate with the smallest of :func:`medians`, or ``usual`` within the noise; None without one."""
    found = medians(names, seconds)
    if not found:
        return None
    best = min(found, key=lambda name: found[name])
    return usual if found.get(usual, math.inf) <= NOISE * found[best] else best


def medians(names: Iterable[str], seconds: Callable[[str], float]) -> dict[str, float]:
    """Return the median of ``seconds`` of each candidate; one without enough memory is left out."""
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(WARM_UPS + 1 + ROUNDS):
        for name in list(taken):
            try:
                spent = seconds(name)
            except torch.OutOfMemoryError:
                del taken[name]
                continue
            if number > WARM_UPS:
                taken[name].append(spent)
    return {name: statistics.median(times) for name, times in taken.items()}
