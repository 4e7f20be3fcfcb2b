"""Atomic writes of files, for all packages: a reader sees the complete old content or the complete new one.

This is the only package that ``trainables``, ``results`` and ``sweep`` may all import.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".tmp"
"""Suffix of the name of an unfinished file."""


@contextmanager
def atomic_write(
    path: Path, *, sync: bool = False, before_rename: Callable[[], None] | None = None
) -> Iterator[Path]:  # fmt: skip
    """Yield a new path in the same folder to write to; rename that file to ``path`` when the block ends.

    After an exception ``path`` keeps its old content, and the new file is removed. A process that is killed leaves the
    new file, whose hidden name ends with :data:`UNFINISHED`.

    Args:
        path: the file; its folder exists.
        sync: whether the content is flushed to the disk before the rename, so that it survives a loss of power.
        before_rename: called just before the rename; an exception keeps the old content.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}{UNFINISHED}")
    try:
        yield unfinished
        if sync:
            with unfinished.open("rb+") as file:
                os.fsync(file.fileno())
        if before_rename is not None:
            before_rename()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
