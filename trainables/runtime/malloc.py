"""Settings of the C library's memory allocator: memory that a training step frees is kept for the next step."""

from __future__ import annotations

import ctypes
import platform

# malloc.h of the GNU C library
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_THRESHOLD = -3

KEPT_BYTES = 1 << 30
"""Free memory at the top of the heap that is kept, and the size above which a block gets its own mapping."""
GROWTH_BYTES = 1 << 26
"""The least amount by which the heap grows."""


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees; return whether its C library accepted the settings.

    By default, glibc returns a step's memory to the system after every step and maps it again, page fault by page
    fault, in the next one: a sixth of the training time in packs of four (benchmarks/LOG.md). With another C library
    nothing changes.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {M_MMAP_THRESHOLD: KEPT_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES, M_TOP_PAD: GROWTH_BYTES}
    accepted = [mallopt(name, value) == 1 for name, value in settings.items()]  # all of them, even after a refusal
    return all(accepted)
