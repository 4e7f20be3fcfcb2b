"""Watches the processes and the folder of a local Ray: without them the driver would wait, or Ray would end it."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

LOOK_SECONDS = 0.25
"""The time between two looks at the paths."""


@contextmanager
def watched(processes: Mapping[int, str], paths: Sequence[Path], ended: Callable[[str], None]) -> Iterator[None]:
    """Call ``ended`` with one line when the first of the processes ends, or a path is deleted, within the block.

    ``processes`` are pids with names. Where the system has no ``pidfd_open`` only the paths are watched.
    """
    descriptors = _descriptors(processes)
    block_ends, end_block = os.pipe()

    def watch() -> None:
        while True:
            found, _, _ = select.select([block_ends, *descriptors], [], [], LOOK_SECONDS)
            if block_ends in found:
                return None
            missing = missing_path(paths)
            if missing is not None:
                return ended(missing)
            if found:
                return ended(f"Ray's process {descriptors[found[0]]} has ended")

    thread = threading.Thread(target=watch, name="watch-ray", daemon=True)
    thread.start()
    try:
        yield
    except Exception:  # an error that a deleted path caused, between two looks
        if (missing := missing_path(paths)) is not None:
            ended(missing)
        raise
    finally:
        os.close(end_block)
        thread.join()
        for descriptor in (block_ends, *descriptors):
            os.close(descriptor)


def missing_path(paths: Sequence[Path]) -> str | None:
    """Return a line on the first of the paths that has been deleted; None if all exist."""
    for path in paths:
        if not os.path.lexists(path):
            return f"Ray's temporary folder was deleted while it was in use ({path} is missing)"
    return None


def _descriptors(processes: Mapping[int, str]) -> dict[int, str]:
    try:
        return {os.pidfd_open(pid): name for pid, name in processes.items()}
    except (AttributeError, OSError):  # not Linux, or it has just ended: Ray reports it
        return {}
