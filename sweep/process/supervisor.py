"""A command as two processes: one that does the work, and one that waits for it and answers for how it ends.

A process that uses Ray cannot answer for its own end. Where SIGTERM reaches every process at once (Slurm), Ray's are
gone before the driver has stopped. Ray's library then ends the driver with exit code 1 from within (``_Exit``, at the
next call to the object store), or leaves it waiting for an answer that never comes. The one that waits imports
nothing of Ray.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

EXIT_INTERRUPTED = 130
LAST_SECONDS = 9.0
"""What the work gets from the first signal on; then it is ended, whatever it waits for."""
ASKED = signal.SIGUSR2
"""How a signal is handed on: where everybody got it, the work is not asked twice. (Tune takes SIGUSR1 for itself.)"""
PR_SET_PDEATHSIG = 1  # linux/prctl.h

_last_words: int | None = None
_came = {"itself": 0, "handed on": 0}


def supervise(work: Callable[[], None]) -> int:
    """Run ``work`` in a process of its own and return its exit code; 130 where it was ended after it was asked to end.

    SIGINT and SIGTERM are handed on; ``work`` does not outlive this process. To be called before any thread is started:
    a process with threads cannot be forked safely.

    Raises:
        SystemExit: in the process that does the work, where it ends.
    """
    numbers = {signal.SIGINT, signal.SIGTERM}
    reading, writing = os.pipe()
    asked: list[float] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _die_with(parent)
        _answer_for_itself(writing)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        work()
        sys.exit()
    os.close(writing)

    def hand_on(number: int, frame: FrameType | None) -> None:
        asked.append(time.monotonic())
        os.kill(child, ASKED)

    for number in numbers:
        signal.signal(number, hand_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    code = os.waitstatus_to_exitcode(_wait(child, asked))
    for number in numbers:  # it is over: what comes now ends this process, too
        signal.signal(number, signal.SIG_DFL)
    if asked and code not in (0, EXIT_INTERRUPTED):  # 0: the work was done before the signal came
        words = os.read(reading, 4096)
        if words:
            os.write(2, words)
        return EXIT_INTERRUPTED
    return code if code >= 0 else 128 - code


def _wait(child: int, asked: list[float]) -> int:
    """Return the status that ``child`` ended with; end it where it was asked to and takes too long."""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if asked and time.monotonic() - asked[0] > LAST_SECONDS:
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]
        _doze(child)


def _doze(child: int) -> None:
    """Wait until ``child`` ends, a signal comes, or a moment has passed."""
    try:
        descriptor = os.pidfd_open(child)
    except (AttributeError, OSError):  # not Linux, or an old one
        time.sleep(0.05)
        return
    try:
        select.select([descriptor], [], [], 0.5)
    finally:
        os.close(descriptor)


def _die_with(parent: int) -> None:
    """Let the kernel end this process when ``parent`` is ended, by SIGKILL too; on Linux, where Ray does the same."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was ended just before
            os._exit(128 + signal.SIGKILL)


def _answer_for_itself(last_words: int) -> None:
    """Let SIGTERM and :data:`ASKED` end this process as Ctrl-C does, both together only once."""
    global _last_words
    _last_words = last_words

    def interrupt(number: int, frame: FrameType | None) -> None:
        if asks_anew(number):
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, ASKED):
        signal.signal(number, interrupt)


def asks_anew(number: int) -> bool:
    """Count the signal that came to this process; False where it is the other one of a pair that counts once.

    A signal to everybody comes itself and is handed on, in either order.
    """
    before = max(_came.values())
    _came["handed on" if number == ASKED else "itself"] += 1
    return max(_came.values()) > before


def leave_last_words(text: str) -> None:
    """Say what the user is told if this process is ended before it can; nothing where nobody waits for it."""
    if _last_words is not None:
        os.write(_last_words, f"{text}\n".encode())
