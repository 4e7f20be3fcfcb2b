"""Who drives this sweep: one driver at a time, named by host, pid and time."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search_spaces.errors import LedgerError, SweepFolderError

TRIES = 6
"""Whoever asks :func:`is_driven` has the lock for an instant, so a driver tries for a moment before it is refused."""


@contextmanager
def driving(path: Path) -> Iterator[dict[str, Any]]:
    """Hold the lock at ``path`` while the block runs, and yield what it says of its holder.

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
        if not _taken(descriptor):
            raise LedgerError(f"{path.parent.name}: another driver is at work ({_named(path)}); wait for it, or end it")
        yield _sign(descriptor, path)
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    """Take the lock, if nobody has it for longer than it takes to ask."""
    for attempt in range(TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt < TRIES - 1:
                time.sleep(0.05)
        else:
            return True
    return False


def _sign(descriptor: int, path: Path) -> dict[str, Any]:
    """Write who holds the lock, under an id that is this driver's alone."""
    holder = {
        "driver": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
    except OSError as error:
        raise SweepFolderError(f"{path}: cannot be written ({error.strerror}); free some space") from error
    return holder


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


def holder(path: Path) -> dict[str, Any] | None:
    """Return what the lock at ``path`` says of who holds it, or held it last; None where it says nothing."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"driver", "host", "pid", "since"} <= found.keys() else None


def _named(path: Path) -> str:
    found = holder(path)
    return f"pid {found['pid']} on {found['host']} since {found['since']}" if found else "it has not said who it is"
