"""Runs a command in a child process, and ensures its exit code.

A process that uses Ray does not control its own end. If SIGTERM reaches every process of a job at once (Slurm), Ray's
processes end before the driver has stopped. Ray's library then ends the driver with exit code 1 (``_Exit``, at the next
call to the object store), or blocks forever. The supervisor imports nothing of Ray, so this does not happen to it.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

EXIT_INTERRUPTED = 130
EXIT_UNFINISHED = 1
LAST_SECONDS = 9.0
"""The time from the first signal after which the child is killed."""
FORWARDED = signal.SIGUSR2
"""The signal that forwards SIGINT or SIGTERM, so that a signal to all processes counts once. Tune uses SIGUSR1."""
PR_SET_PDEATHSIG = 1  # linux/prctl.h

LOST_SECONDS = 0.05
"""The time after which an interrupt is raised again if it came where Python ignores exceptions."""
SHOW_CURSOR = b"\r\x1b[K\x1b[?25h"
"""Clears the line and shows the cursor: a live view that was ended from outside has hidden it."""

_message_pipe: int | None = None
_received = {"directly": 0, "forwarded": 0}
_hung_up = False
_hint = ""


class InterruptedSweepError(Exception):
    """A command was interrupted; the text is the line that is printed."""


def requests() -> list[signal.Signals]:
    """Return the signals that ask a command to stop; SIGHUP is one unless it is ignored (``nohup``)."""
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *hangup]


def supervise(work: Callable[[], None]) -> int:
    """Run ``work`` in a child process and return its exit code, or 130 if it was ended after a request to stop.

    SIGINT, SIGTERM and SIGHUP are forwarded. If the child is ended from outside, its last message is printed. The child
    ends when this process ends. Call this before any thread is started: a process with threads cannot be forked safely.

    Raises:
        SystemExit: in the child, at its end.
    """
    numbers = set(requests())
    reading, writing = os.pipe()
    asked: list[float] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*numbers, FORWARDED})
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _die_with(parent)
        _handle_signals(writing)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            work()
        except KeyboardInterrupt:
            os.write(2, b"sweep: interrupted\n")
            sys.exit(EXIT_INTERRUPTED)
        finally:
            for number in (*numbers, FORWARDED):  # the rest is the interpreter's end
                signal.signal(number, signal.SIG_IGN)
            leave_message("")
            end_soon()
        sys.exit()
    os.close(writing)

    def forward(number: int, frame: FrameType | None) -> None:
        if _is_repeated_hangup(number):
            return
        asked.append(time.monotonic())
        os.kill(child, FORWARDED)

    for number in numbers:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    code = os.waitstatus_to_exitcode(_wait(child, asked))
    for number in numbers:  # the child has ended: a later signal ends this process, too
        signal.signal(number, signal.SIG_DFL)
    _print_last_message(reading, "sweep: interrupted" if asked else "")
    if asked and code not in (0, EXIT_INTERRUPTED):  # 0: the work was done before the signal
        return EXIT_INTERRUPTED
    return code if code >= 0 else 128 - code


def end_soon() -> None:
    """Let the interpreter end without a search for garbage, which takes a second after an import of PyTorch."""
    gc.freeze()


def _print_last_message(pipe: int, otherwise: str) -> None:
    """Print the last line that the child left; it is empty after a normal end.

    ``otherwise`` is printed if the child left no line.
    """
    os.set_blocking(pipe, False)
    with suppress(OSError):  # the terminal may be closed
        lines = os.read(pipe, 65536).splitlines() or [otherwise.encode()]
        if lines[-1]:
            os.write(2, (SHOW_CURSOR if os.isatty(2) else b"") + lines[-1] + b"\n")
    os.close(pipe)


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
    """Make the requests to stop and :data:`FORWARDED` raise KeyboardInterrupt in this process, once per request."""
    global _message_pipe
    _message_pipe = message_pipe

    def interrupt(number: int, frame: FrameType | None) -> None:
        if is_new_request(number):
            raise KeyboardInterrupt

    def lost(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (*requests(), FORWARDED):
        signal.signal(number, interrupt)
    signal.signal(signal.SIGALRM, lost)
    before = sys.unraisablehook

    def again(ignored: sys.UnraisableHookArgs) -> None:
        if issubclass(ignored.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, LOST_SECONDS)
        else:
            before(ignored)

    sys.unraisablehook = again


def is_new_request(number: int) -> bool:
    """Count a signal; return False if it is the second one of a pair that counts once.

    A signal to all processes of a job arrives twice, directly and forwarded, in either order.
    """
    leave_closed_terminal()
    if _is_repeated_hangup(number):
        return False
    before = max(_received.values())
    _received["forwarded" if number == FORWARDED else "directly"] += 1
    return max(_received.values()) > before


def _is_repeated_hangup(number: int) -> bool:
    """Whether this is not the first SIGHUP: the kernel and the shell send one each when a terminal is closed."""
    global _hung_up
    if number != signal.SIGHUP:
        return False
    before, _hung_up = _hung_up, True
    return before


def is_supervised() -> bool:
    """Whether this process is the child of :func:`supervise`, which belongs to one command."""
    return _message_pipe is not None


def was_interrupted() -> bool:
    """Whether a request to stop has arrived as a signal in this supervised process."""
    return _message_pipe is not None and max(_received.values()) > 0


def leave_closed_terminal() -> None:
    """Write to ``/dev/null`` in place of a terminal that was closed: every print would be an error."""
    import termios

    for descriptor in (1, 2):
        try:
            termios.tcgetattr(descriptor)
        except termios.error as error:
            if error.args[0] == errno.EIO:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, descriptor)
                os.close(null)


def leave_message(text: str) -> None:
    """Leave a line for the supervisor to print if this process ends before it can print it; replaces the last one."""
    if _message_pipe is not None:
        os.write(_message_pipe, f"{text}\n".encode())


def leave_hint(hint: str) -> None:
    """Set what the user can do if this process is ended from outside: ``to continue: …``."""
    global _hint
    _hint = hint
    leave_message(f"the sweep's process was ended from outside; recorded results are kept; {hint}")


def end_at_once(problem: str) -> None:
    """End this process with one line; without a supervisor only print the line."""
    line = "; ".join(part for part in (problem, "recorded results are kept", _hint) if part)
    if _message_pipe is None:
        os.write(2, f"{line}\n".encode())
        return
    leave_message(line)
    os._exit(EXIT_UNFINISHED)
