"""The C library's memory allocator, told to keep what a training step frees: the next step asks for the same again."""

from __future__ import annotations

import ctypes
import platform

# malloc.h of the GNU C library
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_THRESHOLD = -3

KEPT_BYTES = 1 << 30
"""Free memory at the top of the heap that is not given back, and the size from which on a block is mapped apart."""
GROWTH_BYTES = 1 << 26
"""What the heap grows by at least."""


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees; return whether its C library could be told.

    By default glibc returns a step's working set to the system after every step and maps it again, page fault by page
    fault, in the next one: a sixth of the training time in packs of four (benchmarks/LOG.md). Where the library is
    another one, nothing changes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {M_MMAP_THRESHOLD: KEPT_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES, M_TOP_PAD: GROWTH_BYTES}
    taken = [mallopt(name, value) == 1 for name, value in settings.items()]  # all of them, also after one refused
    return all(taken)
