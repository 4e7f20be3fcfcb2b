"""One run of a pack, with its optimizer and its schedule."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch.optim import Optimizer

from search_spaces import Run
from trainables.optim.schedulers import Schedule
from trainables.training.messages import EpochMetrics


@dataclass
class Member:
    """One run of a pack: its optimizer, its schedule, and its measurements."""

    run: Run
    optimizer: Optimizer
    schedule: Schedule
    rows: list[EpochMetrics] = field(default_factory=list)  # one per epoch
    diverged_epoch: int | None = None  # from here on the run is frozen
    lrs: list[float] = field(default_factory=list)  # learning rates of this epoch's steps
