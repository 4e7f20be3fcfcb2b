"""Writes epochs to trackers in a thread, so that neither their time nor their failures reach the training."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from sweep.tracking.backend import Backend, Written
from sweep.tracking.tracked_run import Epoch, TrackedRun

RELATIVE = 1e-6
"""Two numbers that differ by less are equal: TensorBoard stores 32-bit numbers."""
CLOSE_SECONDS = 60.0
"""Longest time that the end of a sweep waits for the trackers."""


@dataclass
class _Copy:
    """A tracker, and what it has of each run; an inactive one has failed."""

    name: str
    backend: Backend
    written: dict[str, Written] = field(default_factory=dict)  # run id → what it has
    active: bool = True


class Tracking:
    """Trackers of a sweep. Each epoch is written once: what a tracker has is read before the first write to a run.

    A tracker that raises an exception is reported once and gets nothing more.
    """

    def __init__(
        self, backends: Mapping[str, Backend], runs: Iterable[TrackedRun], warn: Callable[[str], None]
    ) -> None:
        self._copies = [_Copy(name, backend) for name, backend in backends.items()]
        self._runs = {run.run_id: run for run in runs}
        self._warn = warn
        self._known: dict[str, dict[int, Epoch]] = {}  # run id → epoch → what the ledger has
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jobs.put(self._close)
        self._jobs.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._warn(f"tracking: not everything was written in {CLOSE_SECONDS:g} s; the next resume writes the rest")

    def record(self, epochs: Iterable[Epoch]) -> None:
        """Write these epochs, soon, in the thread."""
        epochs = list(epochs)
        self._jobs.put(lambda: self._record(epochs))

    def end(self, statuses: Mapping[str, str]) -> None:
        """Mark runs as ended; ``statuses`` has the state of each run by run id."""
        statuses = dict(statuses)
        self._jobs.put(lambda: self._end(statuses))

    def wait(self) -> None:
        """Return when everything so far is written."""
        done = threading.Event()
        self._jobs.put(done.set)
        done.wait()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _record(self, epochs: list[Epoch]) -> None:
        for epoch in epochs:
            run = self._runs.get(epoch.run_id)
            if run is None:
                continue
            known = self._known.setdefault(epoch.run_id, {})
            if epoch.epoch == 1 and 1 in known and not _same(known[1].values, epoch.values):
                known.clear()  # it starts again in another pack: the ledger has deleted its later rows, too
            known[epoch.epoch] = epoch
            for copy in self._copies:
                self._guarded(copy, lambda copy=copy, run=run, epoch=epoch: self._write(copy, run, epoch))  # type: ignore[misc]

    def _write(self, copy: _Copy, run: TrackedRun, epoch: Epoch) -> None:
        if run.run_id not in copy.written:
            copy.written[run.run_id] = copy.backend.written(run)
        has = copy.written[run.run_id]
        before = has.get(epoch.epoch, {})
        if not _same(before, {name: value for name, value in epoch.values.items() if name in before}):
            copy.backend.remove(run)
            has.clear()
            for one in sorted(self._known[run.run_id].values(), key=lambda one: one.epoch):
                copy.backend.write(run, one)
                has[one.epoch] = one.values
            return
        missing = {name: value for name, value in epoch.values.items() if name not in before}
        if missing:
            copy.backend.write(run, Epoch(epoch.run_id, epoch.epoch, epoch.time, missing))
            has[epoch.epoch] = {**before, **missing}

    def _end(self, statuses: Mapping[str, str]) -> None:
        for run_id, status in statuses.items():
            if (run := self._runs.get(run_id)) is not None:
                for copy in self._copies:
                    if run_id in copy.written:
                        self._guarded(copy, lambda copy=copy, run=run, status=status: copy.backend.end(run, status))  # type: ignore[misc]

    def _close(self) -> None:
        for copy in self._copies:
            self._guarded(copy, copy.backend.close)

    def _guarded(self, copy: _Copy, act: Callable[[], None]) -> None:
        if not copy.active:
            return
        try:
            act()
        except Exception as error:  # whatever the library raises: the sweep does not depend on it
            copy.active = False
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self._warn(
                f"tracking with {copy.name} failed ({type(error).__name__}: {lines[0]:.200}); it gets nothing more"
            )
            with suppress(Exception):
                copy.backend.close()


def _same(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    """Whether the metrics that both have are equal, and both have the same ones."""
    return a.keys() == b.keys() and all(math.isclose(a[name], b[name], rel_tol=RELATIVE, abs_tol=1e-12) for name in a)
