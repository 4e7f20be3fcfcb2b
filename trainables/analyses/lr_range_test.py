"""A learning-rate range test: the rate rises at every step, and the loss tells where it starts to fall and to burst.

L. N. Smith, *Cyclical Learning Rates for Training Neural Networks* (2017), with the exponential rise of fastai's
``lr_find``. An optimizer that asks its rate only at its first step (Rprop) has nothing to show here.
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
from trainables.optim.schedulers import without_schedule
from trainables.training.batches import Batches
from trainables.training.loop import EndTraining, TrainOptions, train
from trainables.training.messages import Assignment
from trainables.training.pack import Pack

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RangeTestArrays:
    """What a range test of K runs over S steps measured; NaN from the step whose loss was not finite."""

    lr: Array  # [S], the rate of each step, exponential, both ends included
    loss: Array  # [K, S], the batch's mean loss before the step
    moved: Array  # [K, S], L2 distance of the weights from their start, after the step


@dataclass(frozen=True)
class LrRange:
    """The learning rates of a range test: exponential, both ends included."""

    lr_from: float = 1e-7
    lr_to: float = 10.0
    steps: int = 100  # S; may be more than an epoch has


DEFAULT_RANGE = LrRange()


def range_test(
    runs: Sequence[Run], data: DataSet, device: torch.device, lrs: LrRange = DEFAULT_RANGE, *,
    weights: Sequence[Mapping[str, Tensor]] = (), on_progress: Callable[[int, int], None] | None = None,
) -> RangeTestArrays:  # fmt: skip
    """Train ``runs`` as a pack while the learning rate rises.

    The runs' own learning rates, schedules and warm-ups are not used; all else is theirs.

    Args:
        runs: K runs that share seed and protocol.
        data: as for training; batches and dropout masks are those of the runs' first epochs.
        device: where to train.
        lrs: the learning rates.
        weights: each run's initial parameters, copied; empty: those of its seed.
        on_progress: called after every step with the steps taken and all steps; with all steps for both at the end,
            even if all runs diverged before it.

    Raises:
        SpecError: ends or a number of steps that cannot be, or an optimizer that refuses its parameters.
    """
    check_range(lrs.lr_from, lrs.lr_to, lrs.steps)
    recorder = _Recorder(len(runs), np.geomspace(lrs.lr_from, lrs.lr_to, lrs.steps), on_progress)
    constant = [without_schedule(run) for run in runs]
    epochs = lrs.steps + 1  # more than it needs: the recorder ends it
    assignment = Assignment("range-test", constant, epochs, test_epochs=frozenset())
    for _ in train(assignment, data, device, TrainOptions(before_step=recorder, start=weights)):
        pass
    recorder.finish()
    return RangeTestArrays(recorder.lr, recorder.loss, recorder.moved)


def check_range(lr_from: float, lr_to: float, steps: int) -> None:
    """Refuse ends and numbers of steps that cannot be.

    Raises:
        SpecError: which one, its value, and what would be right.
    """
    for flag, value in (("--from", lr_from), ("--to", lr_to)):
        if not (math.isfinite(value) and value > 0):
            raise SpecError(flag, f"{value:g}", "a learning rate is a finite number above 0")
    if lr_from >= lr_to:
        raise SpecError("--from", f"{lr_from:g} is not below --to {lr_to:g}", "the rate rises from one to the other")
    if steps < 2:
        raise SpecError("--steps", f"{steps}", "at least 2: one for each end")


class _Recorder:
    """Called before each step: measures what the step before has done, and sets this one's rate."""

    def __init__(self, members: int, lr: Array, on_progress: Callable[[int, int], None] | None) -> None:
        self.lr = lr
        self.loss = np.full((members, len(lr)), np.nan)
        self.moved = np.full((members, len(lr)), np.nan)
        self._on_progress = on_progress
        self._step = self._told = 0
        self._start: dict[str, Tensor] = {}

    def __call__(self, pack: Pack, batches: Batches) -> None:
        step, self._step = self._step, self._step + 1
        if step == 0:
            self._start = {name: leaf.detach().clone() for name, leaf in pack.stack.stacked.items()}
        else:
            distances = self._distances(pack)
            took_part = np.isfinite(self.loss[:, step - 1]) & np.isfinite(distances)
            self.moved[:, step - 1] = np.where(took_part, distances, np.nan)
            self._tell(step)
        if step == len(self.lr):
            raise EndTraining
        pack.freeze_non_finite(pack.step_losses)  # on a GPU nobody else looks before the epoch's end
        alive = [member.diverged_epoch is None for member in pack.members]  # one frozen before may have a finite loss
        self.loss[:, step] = np.where(alive, pack.step_losses.cpu().numpy(), np.nan)
        if not pack.alive:
            raise EndTraining
        for member in pack.alive:
            for group in member.optimizer.param_groups:
                group["lr"] = float(self.lr[step])

    def finish(self) -> None:
        """Tell that nothing is left to do."""
        if self._told < len(self.lr):
            self._tell(len(self.lr))

    def _tell(self, steps: int) -> None:
        self._told = steps
        if self._on_progress is not None:
            self._on_progress(steps, len(self.lr))

    def _distances(self, pack: Pack) -> Array:
        """Return each member's L2 distance from its start, ``[K]``."""
        squares = torch.zeros_like(pack.loss_sum)
        for name, leaf in pack.stack.stacked.items():
            squares += (leaf.detach().double() - self._start[name].double()).square().flatten(1).sum(1)
        return squares.sqrt().cpu().numpy()
