"""Unfinished files in a sweep's folder whose process was killed while it wrote them."""

from __future__ import annotations

import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path

from search_spaces.atomic_write import UNFINISHED
from sweep.folder.paths import SweepFolder
from sweep.process.identity import process_start

OLD_SECONDS = 60.0
"""Age from which an unfinished file counts as left: in a container, a pid that is in use elsewhere looks free."""
_UNFINISHED = re.compile(rf"\..+\.([0-9]{{1,10}})\.[0-9a-f]{{8}}{re.escape(UNFINISHED)}")


def remove_unfinished(folder: SweepFolder) -> None:
    """Remove the unfinished files of processes of this user that have ended."""
    for place, _, names in os.walk(folder.path):
        for name in names:
            if (match := _UNFINISHED.fullmatch(name)) and process_start(int(match[1])) is None:
                with suppress(OSError):
                    _remove_if_left(Path(place, name))


def _remove_if_left(path: Path) -> None:
    about = path.lstat()
    if stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid() and time.time() - about.st_mtime > OLD_SECONDS:
        path.unlink()
