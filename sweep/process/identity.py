"""Identifies a process so that a later process with the same pid is not mistaken for it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

START_FIELD = 22  # proc_pid_stat(5): starttime, in clock ticks since boot


@dataclass(frozen=True)
class ProcessIdentity:
    """A process of a machine: its host, its pid, and the time at which it started."""

    host: str
    pid: int
    start: int

    @classmethod
    def own(cls) -> Self:
        """Return the identity of this process."""
        return cls(socket.gethostname(), os.getpid(), process_start(os.getpid()) or 0)

    def has_ended(self) -> bool:
        """Whether it certainly does not run: it is of this machine, and no process has its pid and start time."""
        if self.host != socket.gethostname():
            return False
        return process_start(self.pid) != self.start


def process_start(pid: int) -> int | None:
    """Return when a process started, in units that are the same for all callers; None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    except OSError:
        pass
    else:
        state, *fields = text.rpartition(b")")[2].split()  # the name before it may have spaces and brackets
        return None if state in (b"Z", b"X") else int(fields[START_FIELD - 4])
    import psutil

    try:
        return int(psutil.Process(pid).create_time())
    except psutil.Error:
        return None
