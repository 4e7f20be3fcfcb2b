"""A storage in a folder: on this machine, or on a disk that all nodes share."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from pathlib import Path

from search_spaces.atomic_write import UNFINISHED, atomic_write
from trainables.storage.interface import PATIENCE_SECONDS, Storage, checked_name

_TEMPORARY = {
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EREMOTEIO,
    errno.EINTR,
    errno.EAGAIN,
}  # temporary errors of a network file system


class FolderStorage(Storage):
    """A folder: on this machine, or on a disk that all nodes share."""

    def __init__(self, path: Path, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.path = path.absolute()  # it is sent to processes with another working directory
        super().__init__(str(self.path), patience_seconds)

    def below(self, folder: str) -> FolderStorage:
        """See :meth:`Storage.below`."""
        return FolderStorage(self.path / checked_name(folder), self.patience_seconds)

    def where(self, name: str) -> str:
        """See :meth:`Storage.where`."""
        return str(self.path / name)

    def clear_unfinished(self) -> None:
        """See :meth:`Storage.clear_unfinished`."""
        for left in self.path.glob(f"*{UNFINISHED}"):
            self._try(left.name, lambda left=left: left.unlink(missing_ok=True))  # type: ignore[misc]

    def _read(self, name: str) -> bytes | None:
        path = self.path / name
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # a folder; or a FIFO, which would wait for a writer
                return None
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _write(self, name: str, content: bytes, before_commit: Callable[[], None] | None) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, sync=True, before_rename=before_commit) as unfinished:
            unfinished.write_bytes(content)

    def _names(self, folder: str) -> list[str]:
        try:
            return [path.name for path in (self.path / folder).iterdir() if path.is_file()]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _delete(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def _permanent_reason(self, error: OSError) -> str | None:
        return None if error.errno in _TEMPORARY else error.strerror or type(error).__name__
