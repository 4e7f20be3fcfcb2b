"""Requests to stop a sweep: Ctrl-C, SIGTERM (Slurm, Kubernetes), a closed terminal, or a request from elsewhere."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

from sweep.process.supervisor import FORWARDED, is_new_request, leave_message, requests
from trainables.runtime.signal_handlers import handled
from trainables.runtime.stop_signal import StopRequest

GRACE_SECONDS = 6.0
"""The time that the trials get to write their checkpoints."""


class Stopped(KeyboardInterrupt):
    """The sweep was asked to stop; its trials have written their checkpoints, or :data:`GRACE_SECONDS` have passed."""


MESSAGES = {
    StopRequest.STOP: "stopping: the running packs finish their epochs",
    StopRequest.CANCEL: "stopping: the running packs write their checkpoints",
}


class Stopping:
    """The strongest request to stop so far, from a signal or from another terminal."""

    def __init__(
        self, requested: Callable[[], StopRequest] = lambda: StopRequest.NONE,
        say: Callable[[str], None] = lambda text: None, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """``requested`` returns the request from other terminals. ``say`` prints a line, never within a signal."""
        self.forward: Callable[[StopRequest], None] = lambda request: None
        """Sends the request to the trials; set by the code that starts them."""
        self._requested = requested
        self._say = say
        self._clock = clock
        self._asked = StopRequest.NONE
        self._forwarded = StopRequest.NONE
        self._cancelled_at: float | None = None

    @property
    def asked(self) -> StopRequest:
        """The strongest request so far."""
        return self._asked

    def ask(self, request: StopRequest = StopRequest.CANCEL) -> None:
        """Record a request; the next :meth:`check` forwards it."""
        self._asked = max(self._asked, request)
        if self._asked is StopRequest.CANCEL and self._cancelled_at is None:
            self._cancelled_at = self._clock()

    def check(self, training: int) -> None:
        """Forward a new request; raise :class:`Stopped` once none of the packs, of which ``training`` run, runs.

        After a cancel request this waits :data:`GRACE_SECONDS` at most. After a stop request it waits for the epoch.
        """
        self.ask(self._requested())
        if self._asked > self._forwarded:
            self._forwarded = self._asked
            self.forward(self._asked)
            if training:
                self._say(MESSAGES[self._asked])
        late = self._cancelled_at is not None and self._clock() - self._cancelled_at > GRACE_SECONDS
        if self._asked and (not training or late):
            raise Stopped


@contextmanager
def stopping(
    requested: Callable[[], StopRequest], say: Callable[[str], None], last_words: str = ""
) -> Iterator[Stopping]:
    """In the block, the first Ctrl-C, SIGTERM or SIGHUP becomes a request to the trials; the second one ends them.

    ``requested`` returns the request from other terminals. ``last_words`` are printed if the process is ended before it
    can print them itself; the results are complete then, too.

    Outside the main thread Python handles no signals, and signals have no effect here.
    """
    stop = Stopping(requested, say)

    def answer(number: int, frame: FrameType | None) -> None:
        if not is_new_request(number):
            return
        if stop.asked is StopRequest.CANCEL:
            raise KeyboardInterrupt
        stop.ask()
        leave_message(last_words)

    with handled((*requests(), FORWARDED), answer):
        yield stop


def keep_sigterm() -> Callable[[], None]:
    """Return a function that restores the present handler of SIGTERM, which may belong to the calling program."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = signal.getsignal(signal.SIGTERM)
    return lambda: (signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL), None)[1]


def end_on_sigterm() -> None:
    """Make SIGTERM raise KeyboardInterrupt in this process if it has no handler yet."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def ignored_hangup() -> AbstractContextManager[None]:
    """Let the processes that the block starts ignore SIGHUP: a closed terminal sends it to them, too."""
    return handled([signal.SIGHUP], signal.SIG_IGN)
