"""A driver that is asked to end: by Ctrl-C, by SIGTERM (a Slurm or Kubernetes stop), or from another terminal."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from sweep.process.supervisor import ASKED, asks_anew, leave_last_words
from trainables.runtime.stop_signal import Ask

GRACE_SECONDS = 6.0
"""What the trials get to write their checkpoints."""


class Stopped(KeyboardInterrupt):
    """The sweep ends because it was asked to, and its trials have written their checkpoints, or had the time to."""


SAID = {
    Ask.STOP: "stopping: the running packs finish their epochs",
    Ask.CANCEL: "stopping: the running packs write their checkpoints",
}


class Stopping:
    """The request to end, as the driver sees it: by a signal, or from another terminal."""

    def __init__(
        self, heard: Callable[[], Ask] = lambda: Ask.NOTHING, say: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """``heard`` is what others ask; ``say`` is told of it, outside of a signal."""
        self.pass_on: Callable[[Ask], None] = lambda what: None
        """Tells the trials; whoever starts them sets it."""
        self._heard = heard
        self._say = say
        self._clock = clock
        self._asked = Ask.NOTHING
        self._passed_on = Ask.NOTHING
        self._cancelled_at: float | None = None

    @property
    def asked(self) -> Ask:
        """What is asked: the end now, after the running epochs, or nothing."""
        return self._asked

    def ask(self, what: Ask = Ask.CANCEL) -> None:
        """Ask for the end; the next :meth:`check` passes it on."""
        self._asked = max(self._asked, what)
        if self._asked is Ask.CANCEL and self._cancelled_at is None:
            self._cancelled_at = self._clock()

    def check(self, training: int) -> None:
        """Pass on what is asked, and raise :class:`Stopped` once nothing trains any more.

        A pack that is asked for its checkpoint has :data:`GRACE_SECONDS` for it, an epoch takes as long as it takes.
        """
        self.ask(self._heard())
        if self._asked > self._passed_on:
            self._passed_on = self._asked
            self.pass_on(self._asked)
            if training:
                self._say(SAID[self._asked])
        late = self._cancelled_at is not None and self._clock() - self._cancelled_at > GRACE_SECONDS
        if self._asked and (not training or late):
            raise Stopped


@contextmanager
def stopping(heard: Callable[[], Ask], say: Callable[[str], None], last_words: str = "") -> Iterator[Stopping]:
    """Answer the first Ctrl-C or SIGTERM in the block with a request to the trials, the second one at once.

    ``heard`` is what other terminals ask. ``last_words`` are told where the process ends before it can say them itself:
    what is on record is whole.

    Outside the main thread, where Python takes no signals, nobody asks.
    """
    stop = Stopping(heard, say)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def answer(number: int, frame: FrameType | None) -> None:
        if not asks_anew(number):
            return
        if stop.asked is Ask.CANCEL:
            raise KeyboardInterrupt
        stop.ask()
        leave_last_words(last_words)

    before = {number: signal.signal(number, answer) for number in (signal.SIGINT, signal.SIGTERM, ASKED)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


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
