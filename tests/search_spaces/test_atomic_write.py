"""A file is written whole or not at all, by every package in the same way."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search_spaces.atomic_write import UNFINISHED, atomic_write

ROOT = Path(__file__).parents[2]
PACKAGES = ("search_spaces", "trainables", "results", "sweep", "benchmarks")


def test_the_new_content_replaces_the_old_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old, and longer than the new")
    with atomic_write(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old, and longer than the new"
        assert unfinished.parent == tmp_path
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def refuse() -> None:
    raise PermissionError("not the owner")


def test_what_is_raised_before_the_rename_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(PermissionError, match="not the owner"), atomic_write(path, before_rename=refuse) as unfinished:
        unfinished.write_text("new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("sync", [True, False])
def test_the_content_is_flushed_to_the_disk_before_it_is_renamed_where_asked(
    sync: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, order = tmp_path / "file.txt", []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        order.append("sync " + os.pread(descriptor, 9, 0).decode())
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> Path:
        order.append("rename")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    with atomic_write(path, sync=sync, before_rename=lambda: order.append("last check")) as unfinished:
        unfinished.write_text("content")
    assert order == [*(["sync content"] if sync else []), "last check", "rename"]


KILLED = """
import os, signal, sys
from pathlib import Path
from search_spaces.atomic_write import atomic_write
with atomic_write(Path(sys.argv[1])) as unfinished:
    unfinished.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_the_old_content_and_a_hidden_file_with_the_known_ending(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    (left,) = (other.name for other in tmp_path.iterdir() if other != path)
    assert left.startswith(".file.txt.")
    assert left.endswith(UNFINISHED)


def test_no_other_code_renames_a_file_into_place() -> None:
    """``os.replace``, ``os.rename`` and the one-argument ``replace`` of a path; a string's has two arguments.

    The data cache renames folders, which cannot replace one another; the frames replace values of a pandas Series.
    """
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    of_os = isinstance(node.func.value, ast.Name) and node.func.value.id == "os"
                    of_a_path = len(node.args) == 1 and not node.keywords
                    if node.func.attr in ("replace", "rename") and (of_os or of_a_path):
                        found.add(str(path.relative_to(ROOT)))
    assert found == {"search_spaces/atomic_write.py", "trainables/data/cache.py", "results/ledger/frames.py"}
