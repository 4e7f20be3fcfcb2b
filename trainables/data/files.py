"""Files of a data folder, which may hold anything: only regular files are opened, and sizes are checked before reading.

Opening a FIFO waits for a writer that may never come, so the kind of a file is checked first.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from search_spaces.errors import DataError

MAX_TEXT_BYTES = 16 * 2**20


def regular_file(file: Path) -> int:
    """Return the size of ``file`` in bytes, if it is a regular file or a link to one.

    Raises:
        DataError: the file is missing, cannot be reached, or is a folder, FIFO, socket or device.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}; make it readable") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{file}: is {_kind(status.st_mode)}; expected a regular file")
    return status.st_size


def names_in(folder: Path) -> list[str]:
    """Return the names in ``folder``, sorted.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror or error}; make it readable") from error


def is_folder(path: Path) -> bool:
    """Return whether ``path`` is a folder; False if it cannot be accessed."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that is too long, has a null byte, or is not accessible
        return False


def text_file(file: Path) -> None:
    """Refuse what is not a small regular file.

    Raises:
        DataError: not a regular file, or larger than 16 MB.
    """
    if regular_file(file) > MAX_TEXT_BYTES:
        raise DataError(f"{file}: larger than {MAX_TEXT_BYTES >> 20} MB; expected a short text file")


def read_json(file: Path) -> Any:
    """Return the content of a small JSON file.

    Raises:
        DataError: not a regular file, too large, or not JSON.
    """
    text_file(file)
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: not a readable JSON file ({first_line(error)}); copy it again") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters."""
    return str(error).partition("\n")[0][:200]


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
