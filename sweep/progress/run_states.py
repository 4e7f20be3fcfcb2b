"""The status and the epochs of every run of a sweep, and their sums.

A change updates the sums, so that a sum of 10,000 runs takes as long as one of ten: every report and every refresh of
the screen reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

ENDED = ("done", "diverged", "failed")
"""Statuses of runs that need no further epoch."""


class RunStates:
    """What every run has reached of its ``epochs``."""

    def __init__(self, statuses: Mapping[str, str], epochs_done: Mapping[str, int], epochs: int) -> None:
        """``statuses`` and ``epochs_done`` are by run id; the runs are those of ``statuses``."""
        self.epochs = epochs
        self.counts: Counter[str] = Counter()
        """Status → the number of runs that have it."""
        self.epochs_done = 0
        """The trained run-epochs."""
        self._statuses: dict[str, str] = {}
        self._done: dict[str, int] = {}  # run id → its epochs, at most ``epochs``
        self._waited_for: Counter[int] = Counter()  # epoch → the runs that have it and neither diverged nor failed
        self._behind = 0  # run-epochs that are trained or no longer needed
        for run_id, status in statuses.items():
            self._add(run_id, status, epochs_done.get(run_id, 0))

    def __getitem__(self, run_id: str) -> str:
        """Return the run's status."""
        return self._statuses[run_id]

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self._statuses)

    def set(self, run_ids: Iterable[str], status: str) -> None:
        """Give runs another status."""
        for run_id in run_ids:
            self._add(run_id, status, self._remove(run_id))

    def reached(self, run_id: str, epoch: int) -> None:
        """Record that a run has ``epoch``, from 1; an earlier one changes nothing."""
        status = self._statuses[run_id]
        self._add(run_id, status, max(epoch, self._remove(run_id)))

    @property
    def slowest_epoch(self) -> int:
        """The number of epochs that every run has, without those that diverged or failed."""
        return min((epoch for epoch, runs in self._waited_for.items() if runs), default=0)

    @property
    def share(self) -> float:
        """Share of the run-epochs that are trained or no longer needed, 0 to 1."""
        return self._behind / max(1, self.epochs * len(self))

    def _add(self, run_id: str, status: str, done: int) -> None:
        done = min(done, self.epochs)
        self._statuses[run_id], self._done[run_id] = status, done
        self._count(status, done, 1)

    def _remove(self, run_id: str) -> int:
        """Take a run out of the sums; return its epochs."""
        done = self._done[run_id]
        self._count(self._statuses[run_id], done, -1)
        return done

    def _count(self, status: str, done: int, sign: int) -> None:
        self.counts[status] += sign
        self.epochs_done += sign * done
        self._behind += sign * (self.epochs if status in ENDED else done)
        if status not in ("diverged", "failed"):
            self._waited_for[done] += sign
