"""Standard output and standard error of the command line: plain text only, in any encoding, also without a reader.

Text from a ledger, a status, a spec or a log can contain terminal escapes, so every control character is shown as an
escape. A character that the encoding does not have is shown as an escape. A closed stream, and a pipe whose reader has
ended, lose the output; the command continues.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from search_spaces.plain_text import plain_text

STREAMS = ("stdin", "stdout", "stderr")
KEPT = "\n\t"
RESET = "\x1b[0m"
"""What colorama, a library of Ray, writes at the end of a process; plain text has nothing to reset."""
NO_READER = (errno.EPIPE, errno.EIO)
"""Errors of a stream whose reader, or whose terminal, is gone."""


class PlainStream:
    """A text stream that writes plain text to ``stream``; everything else is that of ``stream``."""

    def __init__(self, stream: TextIO, *, styled: bool = False) -> None:
        """``styled``: keep control characters, for a console that escapes its text itself."""
        self._stream = stream
        self._styled = styled
        self.lost = False

    def write(self, text: str) -> int:
        """Write ``text``, with its control characters as escapes."""
        if not self.lost and (text != RESET or self._styled):
            with self._without_reader():
                self._stream.write(text if self._styled else plain_text(text, KEPT))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is buffered."""
        if not self.lost:
            with self._without_reader():
                self._stream.flush()

    def styled(self) -> PlainStream:
        """Return the stream for a console that escapes its text itself."""
        return PlainStream(self._stream, styled=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _without_reader(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in NO_READER:
                raise
            self.lost = True
            _discard(self._stream)


def _discard(stream: TextIO) -> None:
    """Connect a stream to the null device, so that what is buffered raises no error at the end of the process."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def open_missing_streams() -> None:
    """Open a closed standard stream on the null device; a file that is opened later would get its number."""
    for number, name in enumerate(STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  for the process


@contextmanager
def plain_output() -> Iterator[None]:
    """Make standard output and standard error plain in this context."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (PlainStream(stream) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


@contextmanager
def styled_output() -> Iterator[None]:
    """Let standard output have the styles of a terminal in this context; every text in it is this program's."""
    before = sys.stdout
    sys.stdout = before.styled() if isinstance(before, PlainStream) else before
    try:
        yield
    finally:
        sys.stdout = before


def output_lost() -> bool:
    """Return whether standard output has no reader any more."""
    return bool(getattr(sys.stdout, "lost", False))


def say(text: object, *, error: bool = False, end: str = "\n") -> None:
    """Print to standard output, or to standard error."""
    print(text, file=sys.stderr if error else sys.stdout, end=end, flush=True)
