"""Watches the processes of a local Ray: without them the driver would wait, or Ray's library would end it."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def watched(processes: Mapping[int, str], ended: Callable[[str], None]) -> Iterator[None]:
    """Call ``ended`` with the name of the first process that ends within the block.

    ``processes`` are pids with names. Where the system has no ``pidfd_open`` nothing is watched.
    """
    descriptors = _descriptors(processes)
    if not descriptors:
        yield
        return
    block_ends, end_block = os.pipe()

    def watch() -> None:
        found, _, _ = select.select([block_ends, *descriptors], [], [])
        if block_ends not in found:
            ended(descriptors[found[0]])

    thread = threading.Thread(target=watch, name="watch-ray", daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(end_block)
        thread.join()
        for descriptor in (block_ends, *descriptors):
            os.close(descriptor)


def _descriptors(processes: Mapping[int, str]) -> dict[int, str]:
    try:
        return {os.pidfd_open(pid): name for pid, name in processes.items()}
    except (AttributeError, OSError):  # not Linux, or it has just ended: Ray reports it
        return {}
