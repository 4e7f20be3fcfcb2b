"""Imports of large libraries, for all packages."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def large_imports() -> Iterator[None]:
    """Pause Python's garbage collection for the imports in the block.

    An import makes many objects and almost no garbage. The search for it takes about a sixth of the time of PyTorch's
    and Ray Tune's imports.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
