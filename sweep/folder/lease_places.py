"""The places of a lease: a file in the sweep's folder, and a file in its storage."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.errors import SweepFolderError
from sweep.folder.lease import Holder
from sweep.folder.paths import LEASE_FILE

if TYPE_CHECKING:
    from trainables.storage.interface import Storage

LOCK_ATTEMPTS = 6
"""A reader holds the file's lock for an instant (:meth:`FolderLease.is_held`), so it is tried several times."""
RECORD_BYTES = 512


NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What ``flock`` raises on a file system that has no locks: NFS without a lock daemon, some cluster disks."""


class FolderLease:
    """The lease in a sweep's folder: one file, with a ``flock`` on it and on the folder.

    The lock on the folder remains if somebody removes the file; the next heartbeat then writes the file again. Where
    the file system has no locks, the record alone decides: host, pid, start time and heartbeat of its process.
    """

    def __init__(self, path: Path) -> None:
        """``path`` is ``SweepFolder.lock``."""
        self.label = path.parent.name
        self.notice = ""
        self._path = path
        self._descriptor: int | None = None
        self._folder: int | None = None

    def lock(self) -> bool:
        """Take the kernel's lock; return False on a file system without locks.

        Raises:
            BlockingIOError: another process holds it.
            SweepFolderError: the file cannot be written.
        """
        is_new = not self._path.exists()
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise SweepFolderError(
                f"{self._path}: cannot be written ({error.strerror}); give another --runs-dir"
            ) from error
        try:
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                locked = _lock(descriptor)
                _lock(folder)
            except BaseException:
                os.close(folder)
                raise
        except BaseException:
            os.close(descriptor)
            if is_new:
                self._path.unlink(missing_ok=True)  # its process has removed none
            raise
        self._descriptor, self._folder = descriptor, folder
        if not locked:
            self.notice = (
                f"{self._path.parent}: this file system has no file locks; the file {self._path.name} "
                "(host, pid, start time) keeps a second driver away"
            )
        return locked

    def unlock(self) -> None:
        """Release the kernel's lock."""
        for descriptor in (self._descriptor, self._folder):
            if descriptor is not None:
                os.close(descriptor)
        self._descriptor = self._folder = None

    def read(self) -> Holder | None:
        """Return the holder on record; None if there is none."""
        try:
            return Holder.parse(self._path.read_bytes())
        except OSError:
            return None

    def write(self, holder: Holder, before_commit: Callable[[], None] | None = None) -> None:
        """Write the record in place: a file that is renamed over this one would not be locked."""
        if before_commit is not None:
            before_commit()
        self._restore()
        assert self._descriptor is not None
        record = holder.to_bytes().ljust(RECORD_BYTES)  # one length, so that a reader never finds half a record
        try:
            os.pwrite(self._descriptor, record, 0)
            os.ftruncate(self._descriptor, len(record))
        except OSError as error:
            raise SweepFolderError(f"{self._path}: cannot be written ({error.strerror}); free some space") from error

    def _restore(self) -> None:
        """Make the file again if it was removed; the lock on the folder is still held."""
        if self._path.exists() or self._descriptor is None:
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise SweepFolderError(f"{self._path}: cannot be written ({error.strerror})") from error
        with suppress(BlockingIOError):  # another process is being refused at this moment
            _lock(descriptor)
        os.close(self._descriptor)
        self._descriptor = descriptor

    def clear(self) -> None:
        """Remove the record. The file stays: another process may wait for its lock."""
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, 0)

    def is_held(self, holder: Holder) -> bool:
        """Return whether ``holder`` runs: on its own machine the kernel's lock decides, elsewhere its heartbeat."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return not holder.is_dead() and not holder.is_stale()
        finally:
            os.close(descriptor)
        return not holder.is_here and not holder.is_stale()


def _lock(descriptor: int) -> bool:
    """Take the kernel's lock; return False if the file system has none.

    Raises:
        BlockingIOError: another process holds it.
    """
    for attempt in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt == LOCK_ATTEMPTS - 1:
                raise
            time.sleep(0.05)
        except OSError as error:
            if error.errno in (*NO_FLOCK, errno.EBADF):  # EBADF: NFS locks no folder that is open for reading
                return False
            raise
        else:
            return True
    return True


class StorageLease:
    """The lease in a sweep's storage."""

    def __init__(self, storage: Storage) -> None:
        """``storage`` is the sweep's own."""
        self.label = storage.uri
        self.notice = ""
        self._storage = storage

    def lock(self) -> bool:
        """Return False: a storage has no lock that ends with its process."""
        return False

    def unlock(self) -> None:
        """Do nothing; see :meth:`lock`."""

    def read(self) -> Holder | None:
        """Return the holder on record; None if there is none.

        Raises:
            StorageError: the storage does not answer.
        """
        return Holder.parse(self._storage.read(LEASE_FILE))

    def write(self, holder: Holder, before_commit: Callable[[], None] | None = None) -> None:
        """Write the record; what ``before_commit`` raises leaves the old one.

        Raises:
            StorageError: the storage cannot be written.
        """
        self._storage.write(LEASE_FILE, holder.to_bytes(), before_commit)

    def clear(self) -> None:
        """Remove the record.

        Raises:
            StorageError: the storage cannot be written.
        """
        self._storage.delete(LEASE_FILE)

    def is_held(self, holder: Holder) -> bool:
        """Return whether ``holder`` runs, judged by its heartbeat and, on its own machine, by its process."""
        return not holder.is_dead() and not holder.is_stale()
