"""An unfinished file is removed once its process has ended, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from sweep.folder.leftovers import OLD_SECONDS, remove_unfinished
from sweep.folder.paths import SweepFolder


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder = SweepFolder(tmp_path, "mine")
    folder.tables.mkdir(parents=True)
    left = folder.tables / f".runs.csv.{ended.pid}.0123abcd.tmp"
    kept = [
        folder.tables / f".runs.csv.{os.getpid()}.0123abcd.tmp",  # being written
        folder.tables / f".runs.csv.{ended.pid}.0123abcd.tmp.txt",
        folder.tables / f"runs.csv.{ended.pid}.0123abcd.tmp",
        folder.tables / f".runs.csv.{ended.pid}.new.tmp",
    ]
    young = folder.tables / f".young.csv.{ended.pid}.0123abcd.tmp"
    for path in (left, *kept, young):
        path.touch()
    for path in (left, *kept):
        os.utime(path, times=(time.time() - 2 * OLD_SECONDS,) * 2)
    remove_unfinished(folder)
    assert not left.exists()
    assert all(path.exists() for path in (*kept, young))
