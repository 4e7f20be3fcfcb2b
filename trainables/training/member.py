"""One run of a pack, with its optimizer and its schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch.optim import Optimizer

from search_spaces import Run
from trainables.optim.schedulers import Schedule


@dataclass
class Member:
    """One run of a pack: its optimizer, its schedule, and what it has recorded."""

    run: Run
    optimizer: Optimizer
    schedule: Schedule
    rows: list[dict[str, Any]] = field(default_factory=list)  # one an epoch, as the ledger holds them
    diverged_epoch: int | None = None  # from here on the run is frozen
    rates: list[float] = field(default_factory=list)  # learning rates that this epoch's batches used
