"""Points at which a test can kill a process. Without the environment variable they do nothing."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

VARIABLE = "LENET_SWEEP_FAULT"

_passages: Counter[str] = Counter()


def fault_point(name: str) -> None:
    """Kill this process with SIGKILL if ``$LENET_SWEEP_FAULT`` is ``<name>:<count>:<marker file>``.

    The process is killed when it passes the point ``name`` for the ``count``-th time (from 1), if the marker file does
    not exist. The file is created first, so later processes pass.
    """
    fault = os.environ.get(VARIABLE)
    if not fault:
        return
    point, count, marker = fault.split(":", 2)
    if point != name:
        return
    _passages[name] += 1
    if _passages[name] == int(count) and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
