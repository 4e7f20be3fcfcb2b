"""How fast a sweep trains, from the last epochs of each pack: start-up and pauses between trials are not counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from results.ledger.ledger import EpochRow

WINDOW = 5
"""The number of epochs of a pack whose time is averaged."""


class Speed:
    """The rate of training in run-epochs per second."""

    def __init__(self) -> None:
        self.last_report = 0.0
        self.rate = 0.0  # at the last report
        self._first_epoch = 0.0  # when the first trained epoch began
        self._trained = 0  # run-epochs
        self._training: set[str] = set()
        self._reports: dict[str, deque[tuple[float, int]]] = {}  # pack id → time and run-epochs of its last reports
        self._pack_rates: dict[str, float] = {}  # pack id → run-epochs per second in its last epochs

    @property
    def known(self) -> bool:
        """Whether an epoch was trained."""
        return self._trained > 0

    def started(self, pack_id: str) -> None:
        """Count a pack as training."""
        self._training.add(pack_id)

    def trained(self, pack_id: str, rows: Sequence[EpochRow], now: float) -> None:
        """Count an epoch of a pack. The time of its first one is the measured one, without the start-up."""
        self._training.add(pack_id)
        if not rows:
            return
        measured = max(row.epoch_seconds + row.eval_seconds for row in rows)
        if not self._trained:
            self._first_epoch = now - measured
        if pack_id not in self._reports:
            self._reports[pack_id] = deque([(now - measured, 0)], maxlen=WINDOW + 1)
        reports = self._reports[pack_id]
        reports.append((now, len(rows)))
        self._trained += len(rows)
        self.last_report = now
        seconds = reports[-1][0] - reports[0][0]
        self._pack_rates[pack_id] = sum(count for _, count in list(reports)[1:]) / max(1e-9, seconds)
        self.rate = self._present_rate()

    def ended(self, pack_id: str) -> None:
        """Count a pack as ended, or as starting again; the rate stays until the next report."""
        self._training.discard(pack_id)
        self._reports.pop(pack_id, None)

    def _present_rate(self) -> float:
        """Return the sum over the packs that train; one without a report counts as the mean of the others."""
        known = [self._pack_rates[pack_id] for pack_id in self._training if pack_id in self._pack_rates]
        return sum(known) / len(known) * len(self._training)

    @property
    def mean_rate(self) -> float | None:
        """Run-epochs per second from the first trained epoch to the last one; None before the first report."""
        return self._trained / max(1e-9, self.last_report - self._first_epoch) if self._trained else None
