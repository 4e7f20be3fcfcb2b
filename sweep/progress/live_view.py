"""How a sweep goes, in numbers, and on the screen: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from results.ledger.ledger import EpochRow
from search_spaces import Run
from sweep.planning.plan import Pack

PLAIN_SECONDS = 5.0
STATES = ("done", "running", "pending", "interrupted", "diverged", "failed")
"""Where a run may stand."""


def duration(seconds: float) -> str:
    """Return ``seconds`` for a reader: ``45 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """Counts what the trials report and shows it."""

    def __init__(
        self,
        runs: Sequence[Run],
        statuses: Mapping[str, str],
        epochs: int,
        epochs_done: Mapping[str, int],
        labels: Mapping[str, str],
        console: Console,
        clock: Callable[[], float] = time.monotonic,
        best: tuple[float, str] | None = None,
    ) -> None:
        """``epochs_done`` and ``best`` are what the ledger has; ``labels`` name the runs for a reader."""
        self._statuses = {run.run_id: statuses.get(run.run_id, "pending") for run in runs}
        self._epochs = epochs
        self._epochs_done = dict(epochs_done)
        self._labels = labels
        self._console = console
        self._clock = clock
        self._began = clock()
        self._last_plain = self._began
        self._last_report = self._began
        self._trained = 0  # run-epochs trained since the start
        self._best = best  # validation accuracy in percent, and its run
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(self._picture(), console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def count(self, status: str) -> int:
        """Return how many runs have ``status``."""
        return sum(1 for found in self._statuses.values() if found == status)

    def started(self, pack: Pack) -> None:
        """Note that ``pack`` trains."""
        self._set(pack, "running")

    def reported(
        self, pack: Pack, rows: Sequence[EpochRow], diverged: Mapping[str, int], *, fresh: bool, done: bool
    ) -> None:
        """Note an epoch; ``fresh`` is false where the rows come out of a checkpoint."""
        self._trained += len(rows) if fresh else 0
        self._last_report = self._clock()
        for row in rows:
            self._epochs_done[row.run_id] = max(row.epoch, self._epochs_done.get(row.run_id, 0))
            if row.val_acc is not None and (self._best is None or row.val_acc > self._best[0]):
                self._best = (row.val_acc, row.run_id)
        for run_id, epoch in diverged.items():
            if self._statuses[run_id] != "diverged":
                self._statuses[run_id] = "diverged"
                self.say(f"diverged: {self._labels[run_id]} in epoch {epoch}; the rest of its pack goes on")
        if done:
            for run_id in pack.run_ids:
                if self._statuses[run_id] != "diverged":
                    self._statuses[run_id] = "done"

    def retried(self, pack: Pack, error: str) -> None:
        """Note that ``pack`` failed and is tried again."""
        self.say(f"pack {pack.pack_id} failed ({error}); it is tried again from its last checkpoint")

    def failed(self, pack: Pack, last_lines: Sequence[str], log: str) -> None:
        """Note that ``pack`` failed for good."""
        self._set(pack, "failed")
        failed = [run_id for run_id in pack.run_ids if self._statuses[run_id] == "failed"]
        self.say(f"failed: {', '.join(self._labels[run_id] for run_id in failed)}")
        for line in last_lines:
            self.say(f"  {line}")
        self.say(f"  the whole traceback: {log}")

    def _set(self, pack: Pack, status: str) -> None:
        for run_id in pack.run_ids:
            if self._statuses[run_id] not in ("done", "diverged"):
                self._statuses[run_id] = status

    def tick(self) -> None:
        """Show how things stand, at most every few seconds where the output is no terminal."""
        if self._live:
            self._live.update(self._picture())
        elif self._clock() - self._last_plain >= PLAIN_SECONDS:
            self._last_plain = self._clock()
            self._console.print(self.line(), highlight=False, markup=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print one lasting line."""
        (self._live.console if self._live else self._console).print(text, highlight=False, markup=False, soft_wrap=True)

    @property
    def share(self) -> float:
        """Share of the run-epochs that are behind us, 0 to 1."""
        behind = sum(
            self._epochs
            if status in ("done", "diverged", "failed")
            else min(self._epochs_done.get(run_id, 0), self._epochs)
            for run_id, status in self._statuses.items()
        )
        return behind / max(1, self._epochs * len(self._statuses))

    @property
    def rate(self) -> float:
        """Run-epochs a second, from the start to the last report."""
        return self._trained / max(1e-9, self._last_report - self._began)

    @property
    def seconds_left(self) -> float:
        """What is left to train, at the rate so far."""
        at_report = (1 - self.share) * self._epochs * len(self._statuses) / self.rate
        return max(0.0, at_report - (self._clock() - self._last_report))

    def numbers(self) -> dict[str, Any]:
        """Return how things stand as plain values; ``rate`` and ``seconds_left`` are None before the first report."""
        states = Counter(self._statuses.values())
        return {
            "runs": len(self._statuses),
            **{state: states[state] for state in STATES},
            "epochs_share": self.share,
            "rate": self.rate if self._trained else None,
            "seconds_left": self.seconds_left if self._trained else None,
            "best_val_acc": self._best[0] if self._best else None,
            "best_run": self._best[1] if self._best else None,
        }

    def line(self) -> str:
        """Return how things stand in one line."""
        parts = [f"{self.count('done')} of {len(self._statuses)} runs done", f"{self.count('running')} running"]
        parts += [f"{self.count(word)} {word}" for word in ("diverged", "failed") if self.count(word)]
        parts.append(f"{100 * self.share:.0f} % of the epochs")
        if self._trained:
            parts += [f"{self.rate:.2f} run-epochs/s", f"about {duration(self.seconds_left)} left"]
        if self._best:
            parts.append(f"best so far {self._best[0]:.2f} % validation accuracy ({self._labels[self._best[1]]})")
        return ", ".join(parts)

    def _picture(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        table.add_row(ProgressBar(total=1.0, completed=self.share, width=40), f"{100 * self.share:.0f} %")
        return Group(table, Text(self.line()))
