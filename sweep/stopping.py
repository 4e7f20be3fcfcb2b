"""A driver that is asked to end: by Ctrl-C, or by SIGTERM (a Slurm or Kubernetes stop). Nothing is lost by it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

GRACE_SECONDS = 6.0
"""What the trials get to write their checkpoints; after as long again the process must be gone."""


class Stopped(KeyboardInterrupt):
    """The sweep ends because it was asked to, and its trials have written their checkpoints, or had the time to."""


class Stopping:
    """The request to end, as the trials and the driver see it."""

    def __init__(self, request: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """``request`` is the file that the trials look for."""
        self._request = request
        self._clock = clock
        self._asked_at: float | None = None

    @property
    def asked(self) -> bool:
        """Whether somebody asked for the end."""
        return self._asked_at is not None

    def ask(self) -> None:
        """Ask the trials to write a checkpoint and end."""
        self._asked_at = self._clock()
        self._request.parent.mkdir(exist_ok=True)
        self._request.touch()

    def check(self, training: int) -> None:
        """Raise :class:`Stopped` where the end was asked for and no trial trains any more, or their time is over."""
        if self._asked_at is not None and (not training or self._clock() - self._asked_at > GRACE_SECONDS):
            raise Stopped

    def withdraw(self) -> None:
        """Take the request back: whoever goes on with the sweep must not find it."""
        self._request.unlink(missing_ok=True)


@contextmanager
def stopping(request: Path, say: Callable[[str], None]) -> Iterator[Stopping]:
    """Answer the first Ctrl-C or SIGTERM in the block with a request to the trials, the second one at once.

    Outside the main thread, where Python takes no signals, nobody asks.
    """
    stop = Stopping(request)
    stop.withdraw()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def answer(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.ask()
        say("stopping: the running packs write their checkpoints")

    before = {number: signal.signal(number, answer) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        stop.withdraw()


def end_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
