"""A driver that is asked to end: by Ctrl-C, or by SIGTERM (a Slurm or Kubernetes stop). Nothing is lost by it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from sweep.supervisor import ASKED, asks_anew, leave_last_words

GRACE_SECONDS = 6.0
"""What the trials get to write their checkpoints."""


class Stopped(KeyboardInterrupt):
    """The sweep ends because it was asked to, and its trials have written their checkpoints, or had the time to."""


class Stopping:
    """The request to end, as the trials and the driver see it."""

    def __init__(
        self, request: Path, say: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """``request`` is the file that the trials look for; ``say`` is told of it once, outside of a signal."""
        self._request = request
        self._say = say
        self._clock = clock
        self._asked_at: float | None = None
        self._told = False

    @property
    def asked(self) -> bool:
        """Whether somebody asked for the end."""
        return self._asked_at is not None

    def ask(self) -> None:
        """Ask the trials to write a checkpoint and end. Where the folder cannot be written, their time just passes."""
        self._asked_at = self._clock()
        with suppress(OSError):
            self._request.parent.mkdir(exist_ok=True)
            self._request.touch()

    def check(self, training: int) -> None:
        """Raise :class:`Stopped` where the end was asked for and no trial trains any more, or their time is over."""
        if self.asked and not self._told:
            self._told = True
            self._say("stopping: the running packs write their checkpoints")
        if self._asked_at is not None and (not training or self._clock() - self._asked_at > GRACE_SECONDS):
            raise Stopped

    def withdraw(self) -> None:
        """Take the request back: whoever goes on with the sweep must not find it."""
        with suppress(OSError):
            self._request.unlink(missing_ok=True)


@contextmanager
def stopping(request: Path, say: Callable[[str], None], last_words: str = "") -> Iterator[Stopping]:
    """Answer the first Ctrl-C or SIGTERM in the block with a request to the trials, the second one at once.

    ``last_words`` are told where the process ends before it can say them itself: what is on record is whole.

    Outside the main thread, where Python takes no signals, nobody asks.
    """
    stop = Stopping(request, say)
    stop.withdraw()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def answer(number: int, frame: FrameType | None) -> None:
        if not asks_anew(number):
            return
        if stop.asked:
            raise KeyboardInterrupt
        stop.ask()
        leave_last_words(last_words)

    before = {number: signal.signal(number, answer) for number in (signal.SIGINT, signal.SIGTERM, ASKED)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        stop.withdraw()


def keep_sigterm() -> Callable[[], None]:
    """Return what puts the present handler of SIGTERM back: a program that calls this package has its own."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = signal.getsignal(signal.SIGTERM)
    return lambda: (signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL), None)[1]


def end_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does, where it would end it at once."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
