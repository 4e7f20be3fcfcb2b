"""The schedule of one run: a linear warm-up, then PyTorch's scheduler."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from search_spaces import Run
from search_spaces.configuration import NO_SCHEDULER
from search_spaces.errors import SpecError
from trainables.optim.plain_state import as_plain, like_present
from trainables.optim.schedulers import Interval, build_scheduler, interval_of


class Schedule:
    """The learning rate of one run: a linear warm-up per batch, then PyTorch's scheduler.

    During a warm-up of W batches the rate of batch t (from 0) is (t + 1)/W of the base rate. The first epoch of the
    scheduler begins when the warm-up ends. ``SequentialLR`` is not used for it: it refuses ``ReduceLROnPlateau`` and
    counts epochs or batches, not both.
    """

    def __init__(
        self, name: str, params: Mapping[str, Any], optimizer: Optimizer, warmup_steps: int, where: str = "scheduler"
    ) -> None:
        """``optimizer`` is that of the run; ``warmup_steps`` is in batches.

        Raises:
            SpecError: the class of the scheduler refuses a value, or the optimizer has no learning rate to change.
        """
        self.optimizer = optimizer
        if (name != NO_SCHEDULER or warmup_steps) and not has_lr(optimizer):
            changed_by = "a warm-up" if name == NO_SCHEDULER else name
            raise SpecError(where, f"{changed_by}, but the optimizer has no learning rate", 'scheduler = "none"')
        self.inner = build_scheduler(name, params, optimizer, where)
        self.interval: Interval = interval_of(name, params, where)
        self.warmup_steps = warmup_steps
        self.batches = 0
        self._plain_lrs()
        self.base_lrs: list[Any] = [group.get("lr") for group in optimizer.param_groups]
        self._warm_up()

    def end_warm_up(self) -> None:
        """Skip the warm-up: the next batch uses the first rate of PyTorch's scheduler."""
        self.batches = self.warmup_steps
        self._warm_up()

    @property
    def lr(self) -> float:
        """The learning rate of the next batch; NaN where the optimizer has none."""
        return float(self.optimizer.param_groups[0]["lr"]) if has_lr(self.optimizer) else math.nan

    @property
    def moves_only_the_rate(self) -> bool:
        """Whether it changes only the learning rate of the optimizer; unknown, so False, for a third-party class."""
        known = self.inner is None or type(self.inner).__module__ == lr_scheduler.__name__
        return known and not getattr(self.inner, "cycle_momentum", False)  # a part of another one steps once per epoch

    def note_step(self) -> None:
        """Record that the optimizer stepped without its method ``step``; otherwise PyTorch warns."""
        self.optimizer._opt_called = True  # type: ignore[attr-defined]  # PyTorch sets this attribute in ``step``

    def after_batch(self) -> None:
        """Advance by one batch."""
        self.batches += 1
        if self.batches <= self.warmup_steps:
            self._warm_up()
        elif self.interval == "batch":
            self.inner.step()
            self._plain_lrs()

    def after_epoch(self, val_loss: float) -> None:
        """Advance by one epoch, whose validation loss was ``val_loss``."""
        if self.inner is None or self.interval == "batch" or self.batches <= self.warmup_steps:
            return
        if self.interval == "val_loss":
            self.inner.step(val_loss)
        else:
            self.inner.step()
        self._plain_lrs()

    def _plain_lrs(self) -> None:
        """Make every learning rate a Python number: a function of a user may return one of NumPy or PyTorch."""
        for group in self.optimizer.param_groups:
            lr = group.get("lr")
            if isinstance(lr, np.generic) or (isinstance(lr, Tensor) and self.inner is not None):
                group["lr"] = lr.item()

    def _warm_up(self) -> None:
        if self.warmup_steps:
            share = min(1.0, (self.batches + 1) / self.warmup_steps)
            for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
                group["lr"] = base_lr * share

    def state_dict(self) -> dict[str, Any]:
        """Return the state as numbers, strings, lists and dicts; ``full_rates`` is the key in existing checkpoints."""
        inner = {} if self.inner is None else self.inner.state_dict()
        return {"batches": self.batches, "full_rates": self.base_lrs, "inner": as_plain(inner)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``; the state of the optimizer, which holds the current rate, is loaded separately."""
        self.batches = state["batches"]
        if self.batches:  # the steps were taken, perhaps in another process
            self.note_step()
        self.base_lrs = list(state["full_rates"])
        if self.inner is not None:
            self.inner.load_state_dict(like_present(state["inner"], self.inner.state_dict()))


def has_lr(optimizer: Optimizer) -> bool:
    """Return whether ``optimizer`` has a learning rate; some have none, or None for one that they find themselves."""
    return all(group.get("lr") is not None for group in optimizer.param_groups)


def without_schedule(run: Run) -> Run:
    """Return ``run`` with a constant learning rate and no warm-up."""
    choice = replace(run.configuration, scheduler=NO_SCHEDULER, scheduler_params={}, warmup=0)
    return replace(run, configuration=choice)
