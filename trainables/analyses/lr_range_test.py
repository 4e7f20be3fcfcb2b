"""Learning-rate range test: the rate rises at every step; the loss shows where it starts to fall and to diverge.

L. N. Smith, *Cyclical Learning Rates for Training Neural Networks* (2017), with the exponential rise of fastai's
``lr_find``. The test says nothing about an optimizer that reads its rate at its first step only (Rprop).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from search_spaces import Run
from search_spaces.errors import SpecError
from trainables.data.dataset import DataSet
from trainables.optim.schedule import without_schedule
from trainables.training.batches import Batches
from trainables.training.loop import EndTraining, TrainOptions, train
from trainables.training.messages import Assignment
from trainables.training.pack import Pack

Array = npt.NDArray[np.float64]

MAX_STEPS = 100_000


@dataclass(frozen=True)
class RateRange:
    """S learning rates from ``lr_from`` to ``lr_to``, in equal ratios; S may be more than an epoch has steps."""

    lr_from: float = 1e-7
    lr_to: float = 10.0
    steps: int = 100  # S

    def check(self) -> None:
        """Refuse bounds and numbers of steps that are not possible.

        Raises:
            SpecError: the option, its value, and what would be right.
        """
        for flag, value in (("--from", self.lr_from), ("--to", self.lr_to)):
            if not (math.isfinite(value) and value > 0):
                raise SpecError(flag, f"{value:g}", "a learning rate is a finite number above 0")
        if self.lr_from >= self.lr_to:
            raise SpecError("--from", f"{self.lr_from:g} is not below --to {self.lr_to:g}", "--from must be below --to")
        if not 2 <= self.steps <= MAX_STEPS:
            raise SpecError("--steps", f"{self.steps}", f"2 (one for each bound) to {MAX_STEPS:,}")


@dataclass(frozen=True)
class RangeTestArrays:
    """The result of a range test of K runs over S steps; NaN from the first step whose loss was not finite."""

    lr: Array  # [S], the rate of each step, both bounds included
    loss: Array  # [K, S], the mean loss of the batch before the step
    moved: Array  # [K, S], L2 distance of the weights from the initial ones, after the step


def range_test(
    runs: Sequence[Run], data: DataSet, device: torch.device, rates: RateRange | None = None, *,
    weights: Sequence[Mapping[str, Tensor]] | None = None, on_progress: Callable[[int, int], None] | None = None,
) -> RangeTestArrays:  # fmt: skip
    """Train ``runs`` as one pack while the learning rate rises over ``rates``.

    The learning rate, schedule and warm-up of a run are not used; all else is as in its training.

    Args:
        runs: K runs that share seed and protocol.
        data: as for training; batches and dropout masks are those of the first epochs of the runs.
        device: where to train.
        rates: the learning rates; None: the defaults of :class:`RateRange`.
        weights: the initial parameters of each run, which are copied; None: those of its seed.
        on_progress: called after every step with the steps taken and S; at the end with S for both, also where all
            runs diverged earlier.

    Raises:
        SpecError: rates that are not possible, or an optimizer that refuses its parameters.
    """
    rates = RateRange() if rates is None else rates
    rates.check()
    recorder = _Recorder(len(runs), np.geomspace(rates.lr_from, rates.lr_to, rates.steps), on_progress)
    constant = [without_schedule(run) for run in runs]
    epochs = rates.steps + 1  # an upper bound: the recorder ends the training
    assignment = Assignment("range-test", constant, epochs, test_epochs=frozenset())
    for _ in train(assignment, data, device, TrainOptions(before_step=recorder, start=weights or ())):
        pass
    recorder.finish()
    return RangeTestArrays(recorder.lr, recorder.loss, recorder.moved)


class _Recorder:
    """Called before each step: measures the effect of the previous step and sets the rate of this one."""

    def __init__(self, members: int, lr: Array, on_progress: Callable[[int, int], None] | None) -> None:
        self.lr = lr
        self.loss = np.full((members, len(lr)), np.nan)
        self.moved = np.full((members, len(lr)), np.nan)
        self._on_progress = on_progress
        self._step = self._reported = 0
        self._start: dict[str, Tensor] = {}

    def __call__(self, pack: Pack, batches: Batches) -> None:
        step, self._step = self._step, self._step + 1
        if step == 0:
            self._start = {name: leaf.detach().clone() for name, leaf in pack.stack.stacked.items()}
        else:
            distances = self._distances(pack)
            finite = np.isfinite(self.loss[:, step - 1]) & np.isfinite(distances)
            self.moved[:, step - 1] = np.where(finite, distances, np.nan)
            self._report_progress(step)
        if step == len(self.lr):
            raise EndTraining
        pack.freeze_non_finite(pack.step_losses)  # on a GPU the pack itself checks at the end of an epoch only
        alive = [member.diverged_epoch is None for member in pack.members]  # a frozen run may have a finite loss again
        self.loss[:, step] = np.where(alive, pack.step_losses.cpu().numpy(), np.nan)
        if not pack.alive:
            raise EndTraining
        for member in pack.alive:
            first = member.schedule.base_lrs[0]
            for group, base_lr in zip(member.optimizer.param_groups, member.schedule.base_lrs, strict=True):
                group["lr"] = float(self.lr[step]) * (base_lr / first)

    def finish(self) -> None:
        """Report that all steps are done."""
        if self._reported < len(self.lr):
            self._report_progress(len(self.lr))

    def _report_progress(self, steps: int) -> None:
        self._reported = steps
        if self._on_progress is not None:
            self._on_progress(steps, len(self.lr))

    def _distances(self, pack: Pack) -> Array:
        """Return the L2 distance of each member from its initial weights, ``[K]``."""
        squares = torch.zeros_like(pack.loss_sum)
        for name, leaf in pack.stack.stacked.items():
            squares += (leaf.detach().double() - self._start[name].double()).square().flatten(1).sum(1)
        return squares.sqrt().cpu().numpy()
