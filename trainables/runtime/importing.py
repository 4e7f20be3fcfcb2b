"""Which processes are importing what a trial needs: each has an empty file, named by its pid, while it imports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER_VARIABLE = "LENET_SWEEP_IMPORTING"
"""The folder of the files. Without it there are none."""


@contextmanager
def announced() -> Iterator[None]:
    """Have the file of this process in the block. An error in writing it is ignored."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        yield
        return
    path = Path(folder) / str(os.getpid())
    with suppress(OSError):
        path.touch()
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
