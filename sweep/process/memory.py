"""Recognizes that a machine has no free memory, from an exception or from the kernel's counters."""

from __future__ import annotations

import errno
from pathlib import Path

COUNTERS = (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events"))
"""Files with a line ``oom_kill N``: the number of processes that the kernel ended for lack of memory."""
_TEXTS = ("can't allocate memory", "not enough memory", "bad_alloc", "bad allocation", "Cannot allocate memory")
"""What PyTorch and the C++ library write into a RuntimeError; they have no type for it."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether ``error``, or an exception from which it was raised, is a lack of the machine's memory."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if type(error) is RuntimeError and any(text in str(error) for text in _TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


def kernel_kills() -> int:
    """Return how many processes the kernel has ended for lack of memory; 0 if it has no such counter."""
    count = 0
    for path in COUNTERS:
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        count += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return count
