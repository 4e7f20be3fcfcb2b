"""The progress of a sweep: its numbers, and a live view on a terminal or plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from results.ledger.ledger import EpochRow, Ledger
from search_spaces import Run
from search_spaces.plain_text import counted
from sweep.folder.status import STATES, Rate, RunCounts, duration
from sweep.planning.plan import Pack
from sweep.progress.run_states import RunStates
from sweep.progress.speed import Speed

PLAIN_SECONDS = 30.0
"""Least time between two plain lines, except for those about the slowest run."""


@dataclass(frozen=True)
class Recorded:
    """What the ledger has before training starts."""

    statuses: Mapping[str, str] = field(default_factory=dict)  # run id → status
    epochs: Mapping[str, int] = field(default_factory=dict)  # run id → epochs
    best: tuple[float, str] | None = None  # validation accuracy in percent, and its run

    @classmethod
    def of(cls, ledger: Ledger) -> Recorded:
        """Read it from ``ledger``."""
        return cls(ledger.statuses(), ledger.epochs_recorded(), ledger.best_val_acc())


class Progress:
    """Counts the reports of the trials and shows the counts."""

    def __init__(
        self, runs: Sequence[Run], recorded: Recorded, epochs: int, labels: Mapping[str, str], console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """``epochs`` is the target of every run; ``labels`` has the run's name for the user by run id."""
        statuses = {run.run_id: recorded.statuses.get(run.run_id, "pending") for run in runs}
        self._states = RunStates(statuses, recorded.epochs, epochs)
        self._labels = labels
        self._console = console
        self._clock = clock
        self._speed = Speed()
        self._best = recorded.best
        self._live: Live | None = None
        self._printed_at: float | None = None
        self._printed = self._state()
        self._slowest_printed = self.slowest_epoch

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
        return self._states.counts[status]

    def started(self, pack: Pack) -> None:
        """Count the runs of ``pack`` as running."""
        self._speed.started(pack.pack_id)
        self._set(pack, "running")

    def reported(
        self, pack: Pack, rows: Sequence[EpochRow], diverged: Mapping[str, int], *, fresh: bool, done: bool
    ) -> None:
        """Count an epoch of ``pack``; ``fresh`` is false if the rows come from a checkpoint."""
        if fresh:
            self._speed.trained(pack.pack_id, rows, self._clock())
        if done:
            self._speed.ended(pack.pack_id)
        for row in rows:
            self._states.reached(row.run_id, row.epoch)
            if row.val_acc is not None and (self._best is None or row.val_acc > self._best[0]):
                self._best = (row.val_acc, row.run_id)
        for run_id, epoch in diverged.items():
            if self._states[run_id] != "diverged":
                self._states.set([run_id], "diverged")
                self.say(f"diverged: {self._labels[run_id]} in epoch {epoch}; the rest of its pack continues")
        if done:
            self._states.set([run_id for run_id in pack.run_ids if self._states[run_id] != "diverged"], "done")

    def retried(self, pack: Pack, error: str) -> None:
        """Report that ``pack`` failed and is retried."""
        self._speed.ended(pack.pack_id)
        self.say(f"{self.pack_name(pack)} failed ({error}); retrying from its last checkpoint")

    def failed(self, pack: Pack, last_lines: Sequence[str], log: str) -> None:
        """Report that ``pack`` failed and is not retried."""
        self._speed.ended(pack.pack_id)
        self._set(pack, "failed")
        failed = [run_id for run_id in pack.run_ids if self._states[run_id] == "failed"]
        self.say(f"failed: {', '.join(self._labels[run_id] for run_id in failed)}")
        for line in last_lines:
            self.say(f"  {line}")
        self.say(f"  full traceback: {log}")

    def _set(self, pack: Pack, status: str) -> None:
        self._states.set(
            [run_id for run_id in pack.run_ids if self._states[run_id] not in ("done", "diverged")], status
        )

    def tick(self) -> None:
        """Refresh the live view, or print a line.

        A line is printed when the slowest run has finished another epoch, and when anything else has changed and the
        last line is :data:`PLAIN_SECONDS` old.
        """
        if self._live:
            self._live.update(self._picture())
            return
        slowest, state, now = self.slowest_epoch, self._state(), self._clock()
        if slowest > self._slowest_printed:
            self._slowest_printed = slowest
            self.say(f"every run has {slowest} of {counted(self._states.epochs, 'epoch')}: {self.line()}")
        elif state != self._printed and (self._printed_at is None or now - self._printed_at >= PLAIN_SECONDS):
            self.say(self.line())
        else:
            return
        self._printed, self._printed_at = state, now

    def _state(self) -> tuple[Mapping[str, int], float]:
        """Return what a line tells, without its times."""
        return Counter(self._states.counts), self.share

    @property
    def slowest_epoch(self) -> int:
        """The number of epochs that every run has, without those that diverged or failed."""
        return self._states.slowest_epoch

    def name(self, run_id: str) -> str:
        """Return the run's name for the user: its configuration and its seed."""
        return self._labels[run_id]

    def pack_name(self, pack: Pack) -> str:
        """Return the name of a pack for the user: its first run, and how many more there are."""
        more = len(pack.run_ids) - 1
        return f"pack of {self._labels[pack.run_ids[0]]}" + (f" and {counted(more, 'other run')}" if more else "")

    def say(self, text: str) -> None:
        """Print one line that stays on the screen."""
        (self._live.console if self._live else self._console).print(text, highlight=False, markup=False, soft_wrap=True)

    @property
    def share(self) -> float:
        """Share of the run-epochs that are trained or no longer needed, 0 to 1."""
        return self._states.share

    @property
    def rate(self) -> float:
        """Run-epochs per second of the packs that are training, in their last epochs."""
        return self._speed.rate

    @property
    def mean_rate(self) -> float | None:
        """Run-epochs per second from the first trained epoch to the last one; None before the first report."""
        return self._speed.mean_rate

    @property
    def seconds_left(self) -> float:
        """The remaining time at the present rate."""
        at_report = (1 - self.share) * self._states.epochs * len(self._states) / self.rate
        return max(0.0, at_report - (self._clock() - self._speed.last_report))

    def counts(self) -> RunCounts:
        """Return the numbers of runs by state, the share of epochs, and the best run."""
        return RunCounts(
            runs=len(self._states),
            **{state: self.count(state) for state in STATES},
            epochs_done=self._states.epochs_done,
            epochs_share=self.share,
            best_val_acc=self._best[0] if self._best else None,
            best_run=self._best[1] if self._best else None,
            best_name=self._labels.get(self._best[1]) if self._best else None,
        )

    def speed(self) -> Rate:
        """Return the rate and the remaining time; None before the first report."""
        return Rate(rate=self.rate, seconds_left=self.seconds_left) if self._speed.known else Rate()

    def line(self) -> str:
        """Return the numbers in one line."""
        parts = [
            f"{self.count('done')} of {counted(len(self._states), 'run')} done",
            f"{self.count('running')} running",
        ]
        parts += [f"{self.count(word)} {word}" for word in ("diverged", "failed") if self.count(word)]
        parts.append(f"{100 * self.share:.0f} % of the epochs")
        if self._speed.known:
            parts += [f"{self.rate:.2f} run-epochs/s", f"about {duration(self.seconds_left)} left"]
        if self._best:
            accuracy, run_id = self._best
            name = self._labels.get(run_id, run_id)
            parts.append(f"best so far {accuracy:.2f} % validation accuracy ({name})")
        return ", ".join(parts)

    def _picture(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        table.add_row(ProgressBar(total=1.0, completed=self.share, width=40), f"{100 * self.share:.0f} %")
        return Group(table, Text(self.line()))
