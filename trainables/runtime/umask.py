"""The umask of a trial. Ray's processes have a stricter one, so that other users cannot read Ray's files."""

from __future__ import annotations

import os

UMASK_VARIABLE = "LENET_SWEEP_UMASK"


def restore_umask() -> None:
    """Set the umask of the user's command in this process, so that a trial's files have the usual modes."""
    if umask := os.environ.get(UMASK_VARIABLE):
        os.umask(int(umask, 8))
