"""One run of a pack, with its optimizer and its schedule."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch.optim import Optimizer

from search_spaces import Run
from trainables.optim.learner import Learner
from trainables.optim.schedule import Schedule
from trainables.training.messages import EpochMetrics


@dataclass
class Member:
    """One run of a pack: its optimizer, its schedule, and its measurements."""

    run: Run
    learner: Learner
    rows: list[EpochMetrics] = field(default_factory=list)  # one per epoch
    diverged_epoch: int | None = None  # from here on the run is frozen
    lrs: list[float] = field(default_factory=list)  # learning rates of this epoch's steps

    @property
    def optimizer(self) -> Optimizer:
        """Its optimizer."""
        return self.learner.optimizer

    @property
    def schedule(self) -> Schedule:
        """Its schedule."""
        return self.learner.schedule
