"""Imports what a trial needs. A worker of Ray on this machine imports this module before it has a trial."""

from __future__ import annotations

import os
from contextlib import suppress

from search_spaces.imports import large_imports

THREADS = "OMP_NUM_THREADS"


def preload() -> None:
    """Import the trainable and PyTorch; an error in an import is reported by the trial, which repeats it.

    The OpenMP libraries read their number of threads once. Ray sets it to the CPUs of a trial, which are unknown here,
    so it is 1 for the import; a trial sets the threads of PyTorch.
    """
    own = os.environ.get(THREADS)
    os.environ.setdefault(THREADS, "1")
    try:
        with suppress(Exception), large_imports():
            import trainables.ray_trainable  # noqa: F401 - the import is the purpose
    finally:
        if own is None:
            del os.environ[THREADS]


preload()  # at import: that is all that Ray does with a module that it preloads
