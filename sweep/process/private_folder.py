"""Temporary folders that only this user can enter, and the removal of those whose process has ended.

A folder has a record of its process, which holds a ``flock`` on it. The folder of a process that was killed stays; the
next command of the same user removes it, and ends the processes of Ray that work in it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.errors import EnvironmentMismatchError
from sweep.process.identity import ProcessIdentity

if TYPE_CHECKING:
    import psutil

OWNER_FILE = "owner"
EMPTY_SECONDS = 3600.0
"""Age from which an empty folder counts as left behind: its process was killed before it wrote the record."""
END_SECONDS = 3.0
"""The time that processes of a dead driver get to end, before SIGKILL."""
MOST_BYTES = 40
"""Longest path of a folder: Ray's sockets lie 65 bytes deeper, and a path of a unix socket has 107 bytes."""
TITLE = "ray::"
"""How the titles of Ray's agents and workers begin."""

_PREFIX = "sweep-"
_NAME = re.compile(rf"{_PREFIX}[A-Za-z0-9_]{{8}}")
_RECORD_BYTES = 4096


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a new folder with the mode 0700, and remove it at the end of the block.

    Raises:
        EnvironmentMismatchError: no temporary folder can be used.
    """
    remove_dead_folders()
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_parent()))
    owner = os.open(path / OWNER_FILE, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError):  # a file system without flock: pid and start time decide
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(owner, json.dumps(asdict(ProcessIdentity.own())).encode())
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(owner)


def remove_dead_folders() -> None:
    """Remove the folders of this user's processes that have ended, and end what they started."""
    for parent in set(_parents()):
        with suppress(OSError), os.scandir(parent) as entries:
            for entry in entries:
                path = Path(entry.path)
                if _NAME.fullmatch(entry.name) and _is_own(path) and _is_dead(path):
                    end_ray_processes(path)
                    shutil.rmtree(path, ignore_errors=True)


def _parents() -> list[Path]:
    """Return the places for temporary folders, the preferred one first."""
    named = [os.environ.get("RAY_TMPDIR", ""), os.environ.get("TMPDIR", "")]
    return [Path(place).absolute() for place in [*named, "/tmp"] if place]


def _parent() -> Path:
    """Return the first place that exists, can be written, and has a path that is short enough for Ray's sockets."""
    if named := os.environ.get("RAY_TMPDIR"):
        with suppress(OSError):
            Path(named).mkdir(parents=True, exist_ok=True)
    most = MOST_BYTES - len(f"/{_PREFIX}12345678")
    for place in _parents():
        is_short = str(place).isascii() and len(str(place)) <= most
        if is_short and place.is_dir() and os.access(place, os.W_OK | os.X_OK):
            return place
    raise EnvironmentMismatchError(
        f"no temporary folder can be used: {', '.join(map(str, _parents()))}; set RAY_TMPDIR to a folder that can be "
        f"written, with a path of at most {most} ASCII characters"
    )


def _is_own(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _is_dead(path: Path) -> bool:
    """Return whether the process that made the folder has certainly ended."""
    try:
        owner = os.open(path / OWNER_FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        with suppress(OSError):
            return not any(path.iterdir()) and time.time() - path.stat().st_mtime > EMPTY_SECONDS
        return False
    except OSError:
        return False
    try:
        try:
            fcntl.flock(owner, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:  # it runs, perhaps in another container
            return False
        except OSError:  # a file system without flock
            pass
        return ProcessIdentity(**json.loads(os.read(owner, _RECORD_BYTES))).has_ended()
    except (OSError, ValueError, TypeError):
        return False
    finally:
        os.close(owner)


def end_ray_processes(folder: Path) -> None:
    """End the processes of Ray that belong to this user and work in ``folder``."""
    import psutil

    found = [process for process in psutil.process_iter() if _works_in(folder, process)]
    for process in found:
        with suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(found, timeout=END_SECONDS)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=END_SECONDS)


def _works_in(folder: Path, process: psutil.Process) -> bool:
    """Whether a process is one of Ray that names ``folder`` in its command line, or has a file in it open.

    Ray's agents and workers replace their command line by a title, ``ray::``; their open logs remain.
    """
    import psutil

    try:
        if process.pid == os.getpid() or process.uids().real != os.getuid():
            return False
        if any(_target(process.pid, number).startswith(f"{folder}/") for number in ("1", "2")):
            return True
        words = " ".join(process.cmdline())
    except psutil.Error:
        return False
    if words.startswith(TITLE):
        return any(_target(process.pid, number).startswith(f"{folder}/") for number in _descriptors(process.pid))
    return f"{folder}/" in words and "/ray/" in words.replace(str(folder), "")


def _descriptors(pid: int) -> list[str]:
    try:
        return [path.name for path in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []


def _target(pid: int, descriptor: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/fd/{descriptor}").readlink())
    except OSError:
        return ""
