"""Who drives this sweep: one driver at a time, named by host, pid and time."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search_spaces.errors import LedgerError, SweepFolderError


@contextmanager
def driving(path: Path) -> Iterator[None]:
    """Hold the lock at ``path`` while the block runs.

    The kernel lets go of it when the process dies, however it dies, so a file that a dead driver left is no hindrance.

    Raises:
        LedgerError: another driver holds it; the line names its host and pid.
        SweepFolderError: the file cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SweepFolderError(f"{path}: cannot be written ({error.strerror}); give another --runs-dir") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(
                f"{path.parent.name}: another driver is at work ({_holder(path)}); wait for it, or end it"
            ) from None
        _sign(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _sign(descriptor: int, path: Path) -> None:
    """Write who holds the lock."""
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
    except OSError as error:
        raise SweepFolderError(f"{path}: cannot be written ({error.strerror}); free some space") from error


def is_driven(path: Path) -> bool:
    """Tell whether a driver on this machine holds the lock at ``path`` now."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"pid {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has not said who it is"
