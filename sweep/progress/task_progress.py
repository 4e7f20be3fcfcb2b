"""The progress of an analysis: a bar on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from sweep.progress.live_view import PLAIN_SECONDS


class Tracker:
    """Shows every task that is passed to :meth:`track`."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._printed_at = clock()
        self._tasks: dict[str, TaskID] = {}
        self._bars: Progress | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self._bars = Progress(*columns, console=self._console, transient=True)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def track(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` parts of the task ``what`` are done; print one line when all are."""
        if self._bars:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, total=total)
            self._bars.update(self._tasks[what], completed=done, total=total)
        if done >= total:
            self._print(what)
            if self._bars:
                self._bars.remove_task(self._tasks.pop(what))
        elif not self._bars and self._clock() - self._printed_at >= PLAIN_SECONDS:
            self._print(f"{what}: {done} of {total}")

    def _print(self, text: str) -> None:
        self._printed_at = self._clock()
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
