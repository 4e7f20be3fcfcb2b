"""Files that every node reaches: in a shared folder, or in a bucket of S3. Each is there whole or not at all.

A fault that may pass (a server that is slow, answers 500 or is gone for a while) is waited for and tried again; one
that will not is told at once, in a line.
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
"""How long an operation is tried again before it counts as failed."""
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_T = TypeVar("_T")


class Storage(ABC):
    """Files by names such as ``checkpoints/3f/epoch1.ckpt``, below one address."""

    def __init__(self, uri: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.uri = uri
        self.patience_seconds = patience_seconds

    @abstractmethod
    def below(self, folder: str) -> Storage:
        """Return the storage of a folder in this one."""

    @abstractmethod
    def where(self, name: str) -> str:
        """Return what a user is told of the file ``name``."""

    @abstractmethod
    def clear_unfinished(self) -> None:
        """Remove what killed writers left right here."""

    @abstractmethod
    def _read(self, name: str) -> bytes | None: ...

    @abstractmethod
    def _write(self, name: str, content: bytes, before_commit: Callable[[], None] | None) -> None: ...

    @abstractmethod
    def _names(self, folder: str) -> list[str]: ...

    @abstractmethod
    def _delete(self, name: str) -> None: ...

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None where there is none.

        Raises:
            StorageError: it cannot be read now.
        """
        return self._try(name, lambda: self._read(checked_name(name)))

    def write(self, name: str, content: bytes, before_commit: Callable[[], None] | None = None) -> None:
        """Write a file: a reader sees the old content or the new one.

        ``before_commit`` is called when all is ready; what it raises leaves the old content.

        Raises:
            StorageError: it cannot be written.
        """
        self._try(name, lambda: self._write(checked_name(name), content, before_commit))

    def names(self, folder: str = "") -> list[str]:
        """Return the names of the files right in ``folder``, sorted; none where there is no such folder.

        Raises:
            StorageError: it cannot be listed.
        """
        found = self._try(folder, lambda: self._names(checked_name(folder) if folder else ""))
        return sorted(name for name in found if _NAME.fullmatch(name))

    def delete(self, name: str) -> None:
        """Remove a file, if there is one.

        Raises:
            StorageError: it cannot be removed.
        """
        self._try(name, lambda: self._delete(checked_name(name)))

    def prove(self) -> None:
        """Write a file, find it, and remove it: what a sweep will need, before it needs it.

        Raises:
            StorageError: one of the three is not possible.
        """
        name = f"probe-{uuid.uuid4().hex}"
        self.write(name, b"a sweep looks whether it may write here")
        if name not in self.names():
            raise StorageError(f"{self.uri}: what was written there a moment ago is not listed; name another place")
        self.delete(name)

    def _try(self, name: str, act: Callable[[], _T]) -> _T:
        """Do ``act``, again and again while what hinders it may pass and patience lasts."""
        pause, until = FIRST_PAUSE_SECONDS, time.monotonic() + self.patience_seconds
        while True:
            try:
                return act()
            except OSError as error:
                reason = self._lasting(error)
                if reason is None and time.monotonic() + pause > until:
                    told = " ".join(str(error).split())[:300]
                    reason = f"did not answer as it should for {self.patience_seconds:g} s ({told})"
                if reason is not None:
                    raise StorageError(f"{self.where(name)}: {reason}") from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    @abstractmethod
    def _lasting(self, error: OSError) -> str | None:
        """Return what is wrong where no second try would mend it; None where one may."""


def checked_name(name: str) -> str:
    """Return ``name`` if it leads to nothing outside."""
    if not _NAME.fullmatch(name):
        raise StorageError(f"storage: {name!r} cannot name a file; use letters, digits, '.', '_', '-' and '/'")
    return name
