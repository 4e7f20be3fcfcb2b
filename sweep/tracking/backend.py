"""The interface of a tracker."""

from __future__ import annotations

from typing import Protocol

from sweep.tracking.tracked_run import Epoch, TrackedRun

Written = dict[int, dict[str, float]]
"""Epoch → the metrics of it that a tracker has."""


class Backend(Protocol):
    """Writes runs to one tracker. Any method may raise any exception of the tracker's library."""

    def written(self, run: TrackedRun) -> Written:
        """Return what the tracker has of a run: what an earlier process has written in full."""

    def write(self, run: TrackedRun, epoch: Epoch) -> None:
        """Write the metrics of an epoch. The first call for a run also writes its hyperparameters and tags."""

    def remove(self, run: TrackedRun) -> None:
        """Remove all of a run: it was trained again, with other numbers."""

    def end(self, run: TrackedRun, status: str) -> None:
        """Mark a run as ended with ``status``, one of the states of a run."""

    def close(self) -> None:
        """Write everything that is buffered."""
