"""Runs a command in a child process, and ensures its exit code.

A process that uses Ray does not control its own end. If SIGTERM reaches every process of a job at once (Slurm), Ray's
processes end before the driver has stopped. Ray's library then ends the driver with exit code 1 (``_Exit``, at the next
call to the object store), or blocks forever. The supervisor imports nothing of Ray, so this does not happen to it.
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
"""The time from the first signal after which the child is killed."""
FORWARDED = signal.SIGUSR2
"""The signal that forwards SIGINT or SIGTERM, so that a signal to all processes counts once. Tune uses SIGUSR1."""
PR_SET_PDEATHSIG = 1  # linux/prctl.h

_message_pipe: int | None = None
_received = {"directly": 0, "forwarded": 0}


def supervise(work: Callable[[], None]) -> int:
    """Run ``work`` in a child process and return its exit code, or 130 if it was ended after a request to stop.

    SIGINT and SIGTERM are forwarded. The child ends when this process ends. Call this before any thread is started: a
    process with threads cannot be forked safely.

    Raises:
        SystemExit: in the child, at its end.
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
        _handle_signals(writing)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        work()
        sys.exit()
    os.close(writing)

    def forward(number: int, frame: FrameType | None) -> None:
        asked.append(time.monotonic())
        os.kill(child, FORWARDED)

    for number in numbers:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    code = os.waitstatus_to_exitcode(_wait(child, asked))
    for number in numbers:  # the child has ended: a later signal ends this process, too
        signal.signal(number, signal.SIG_DFL)
    if asked and code not in (0, EXIT_INTERRUPTED):  # 0: the work was done before the signal
        message = os.read(reading, 4096)
        if message:
            os.write(2, message)
        return EXIT_INTERRUPTED
    return code if code >= 0 else 128 - code


def _wait(child: int, asked: list[float]) -> int:
    """Return the exit status of ``child``; kill it :data:`LAST_SECONDS` after the first signal."""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if asked and time.monotonic() - asked[0] > LAST_SECONDS:
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]
        _doze(child)


def _doze(child: int) -> None:
    """Wait until ``child`` ends or a signal arrives, half a second at most."""
    try:
        descriptor = os.pidfd_open(child)
    except (AttributeError, OSError):  # not Linux, or an old version
        time.sleep(0.05)
        return
    try:
        select.select([descriptor], [], [], 0.5)
    finally:
        os.close(descriptor)


def _die_with(parent: int) -> None:
    """Let the kernel kill this process when ``parent`` ends, even by SIGKILL; on Linux, where Ray does the same."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended just before the call
            os._exit(128 + signal.SIGKILL)


def _handle_signals(message_pipe: int) -> None:
    """Make SIGINT, SIGTERM and :data:`FORWARDED` raise KeyboardInterrupt in this process, once per request."""
    global _message_pipe
    _message_pipe = message_pipe

    def interrupt(number: int, frame: FrameType | None) -> None:
        if is_new_request(number):
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, FORWARDED):
        signal.signal(number, interrupt)


def is_new_request(number: int) -> bool:
    """Count a signal; return False if it is the second one of a pair that counts once.

    A signal to all processes of a job arrives twice, directly and forwarded, in either order.
    """
    before = max(_received.values())
    _received["forwarded" if number == FORWARDED else "directly"] += 1
    return max(_received.values()) > before


def leave_message(text: str) -> None:
    """Leave a line for the supervisor to print if it has to kill this process; without a supervisor, do nothing."""
    if _message_pipe is not None:
        os.write(_message_pipe, f"{text}\n".encode())
