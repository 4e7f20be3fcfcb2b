"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it is renamed into place at the end, and removed after an exception."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
