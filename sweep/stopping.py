"""A driver that is asked to end: by Ctrl-C, or by SIGTERM (a Slurm or Kubernetes stop). Nothing is lost by it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

GRACE_SECONDS = 6.0
"""What the trials get to write their checkpoints."""
LAST_SECONDS = 9.0
"""After which the process ends whatever it waits for: where every process got the signal, Ray is gone, too."""
EXIT_INTERRUPTED = 130


_own_process = False
_watchdogs: list[threading.Timer] = []


@contextmanager
def own_process() -> Iterator[None]:
    """For a process that runs one command: SIGTERM ends it as Ctrl-C does, and an end that hangs is cut short."""
    global _own_process
    _own_process = True
    end_on_sigterm()
    try:
        yield
    finally:
        _own_process = False
        while _watchdogs:
            _watchdogs.pop().cancel()


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

    A process that is a command's own (:func:`own_process`) and has not ended in time is ended, after its
    ``last_words``: what is on record is whole.

    Outside the main thread, where Python takes no signals, nobody asks.
    """
    stop = Stopping(request, say)
    stop.withdraw()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    watchdog = threading.Timer(LAST_SECONDS, _end, (last_words,))
    watchdog.daemon = True

    def answer(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.ask()
        if _own_process:  # it watches beyond the block: Ray's own end may hang
            _watchdogs.append(watchdog)
            watchdog.start()

    before = {number: signal.signal(number, answer) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        stop.withdraw()


def _end(last_words: str) -> None:
    """End this process, which hangs in a call into a Ray that is no more."""
    if last_words:
        os.write(2, f"{last_words}\n".encode())
    os._exit(EXIT_INTERRUPTED)


def end_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def keep_sigterm() -> Callable[[], None]:
    """Return what puts the present handler of SIGTERM back: a program that calls this package has its own."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = signal.getsignal(signal.SIGTERM)
    return lambda: (signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL), None)[1]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
