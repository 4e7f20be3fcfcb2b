"""Files that all nodes can read and write: in a shared folder, or in an S3 bucket. Each write is atomic.

An operation is repeated after a temporary error (a server that is slow, answers 500 or is down for a short time). A
permanent error is raised at once, as one line.
"""

from __future__ import annotations

import re
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from search_spaces.errors import StorageError

PATIENCE_SECONDS = 60.0
"""Time for which an operation is repeated before it counts as failed."""
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_T = TypeVar("_T")


class Storage(ABC):
    """Files with names such as ``checkpoints/3f/epoch1.ckpt``, below one address."""

    def __init__(self, uri: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.uri = uri
        self.patience_seconds = patience_seconds

    @abstractmethod
    def below(self, folder: str) -> Storage:
        """Return the storage of a folder in this one."""

    @abstractmethod
    def where(self, name: str) -> str:
        """Return the address of the file ``name`` for messages."""

    @abstractmethod
    def clear_unfinished(self) -> None:
        """Remove unfinished files of killed writers in this folder (not in its sub-folders)."""

    @abstractmethod
    def _read(self, name: str) -> bytes | None: ...

    @abstractmethod
    def _write(self, name: str, content: bytes, before_commit: Callable[[], None] | None) -> None: ...

    @abstractmethod
    def _names(self, folder: str) -> list[str]: ...

    @abstractmethod
    def _delete(self, name: str) -> None: ...

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if it does not exist.

        Raises:
            StorageError: the file cannot be read.
        """
        return self._try(name, lambda: self._read(checked_name(name)))

    def write(self, name: str, content: bytes, before_commit: Callable[[], None] | None = None) -> None:
        """Write a file: a reader sees the old content or the new one.

        ``before_commit`` is called just before the new content replaces the old; an exception keeps the old content.

        Raises:
            StorageError: the file cannot be written.
        """
        self._try(name, lambda: self._write(checked_name(name), content, before_commit))

    def names(self, folder: str = "") -> list[str]:
        """Return the names of the files in ``folder``, sorted; an empty list if the folder does not exist.

        Raises:
            StorageError: the folder cannot be listed.
        """
        found = self._try(folder, lambda: self._names(checked_name(folder) if folder else ""))
        return sorted(name for name in found if _NAME.fullmatch(name))

    def delete(self, name: str) -> None:
        """Remove a file if it exists.

        Raises:
            StorageError: the file cannot be removed.
        """
        self._try(name, lambda: self._delete(checked_name(name)))

    def prove(self) -> None:
        """Write, list and remove a file, as a check before the sweep starts.

        Raises:
            StorageError: one of the three operations fails.
        """
        name = f"probe-{uuid.uuid4().hex}"
        self.write(name, b"written by a sweep to check its storage")
        if name not in self.names():
            raise StorageError(f"{self.uri}: a file that was just written is not listed; use another storage")
        self.delete(name)

    def _try(self, name: str, act: Callable[[], _T]) -> _T:
        """Call ``act``; repeat it after temporary errors until ``patience_seconds`` have passed."""
        pause, until = FIRST_PAUSE_SECONDS, time.monotonic() + self.patience_seconds
        while True:
            try:
                return act()
            except OSError as error:
                reason = self._permanent_reason(error)
                if reason is None and time.monotonic() + pause > until:
                    text = " ".join(str(error).split())[:300]
                    reason = f"no successful answer for {self.patience_seconds:g} s ({text})"
                if reason is not None:
                    raise StorageError(f"{self.where(name)}: {reason}") from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    @abstractmethod
    def _permanent_reason(self, error: OSError) -> str | None:
        """Return the cause of a permanent error; None for an error that may be temporary."""


def checked_name(name: str) -> str:
    """Return ``name`` if it is the relative path of a file below the storage.

    Raises:
        StorageError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise StorageError(f"storage: {name!r} is not a valid file name; use letters, digits, '.', '_', '-' and '/'")
    return name
