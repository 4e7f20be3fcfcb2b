"""Places where a test lets a process die, to prove that the sweep lives on; without the variable they do nothing."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

VARIABLE = "LENET_SWEEP_FAULT"

_passages: Counter[str] = Counter()


def fault_point(name: str) -> None:
    """Kill this process with SIGKILL if ``$LENET_SWEEP_FAULT`` says so: ``<name>:<count>:<marker file>``.

    It dies at the ``count``-th passage (from 1) of the point ``name`` in this process, and only while there is no
    marker file; it makes the file first, so whoever comes after it passes.
    """
    asked = os.environ.get(VARIABLE)
    if not asked:
        return
    point, count, marker = asked.split(":", 2)
    if point != name:
        return
    _passages[name] += 1
    if _passages[name] == int(count) and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
