"""The house has one-way streets: who may import whom, and what nobody may."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("search_spaces", "trainables", "results", "sweep")
MAY_IMPORT = {
    "search_spaces": set(),
    "trainables": {"search_spaces"},
    "results": {"search_spaces"},
    "sweep": {"search_spaces", "trainables", "results"},
}
NEVER_IMPORT = {
    "search_spaces": {"torch", "torchvision", "ray", "pandas", "matplotlib"},
    "trainables": {"pandas", "matplotlib", "ray"},
    "results": {"torch", "torchvision", "ray"},
    "sweep": set(),
}
ADAPTER = ROOT / "trainables" / "adapter.py"
MOST_LINES = 400
SAYS_NOTHING = {"utils", "common", "helpers", "base", "misc"}

FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The top-level name of every import in a file, wherever it stands in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    names = set(imported(path))
    assert not names & set(ROOMS) - MAY_IMPORT[room] - {room}
    assert not names & NEVER_IMPORT[room] - ({"ray"} if path == ADAPTER else set())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_one_noun_and_fits_in_the_head(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert path.stem not in SAYS_NOTHING


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after ``statement``."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in found.stdout.split()}


@pytest.mark.parametrize(
    ("statement", "never"),
    [
        ("import search_spaces", {"torch", "ray", "pandas", "matplotlib", "pydantic"}),
        ("import results, results.reports.export, results.ledger.frames", {"torch", "ray"}),
        ("import sweep.cli.app", {"torch", "ray", "pandas", "matplotlib", "pyarrow", "scipy"}),
        ("import trainables.training.loop, trainables.data.dataset", {"ray", "pandas", "matplotlib"}),
    ],
)
def test_importing_a_room_stays_light(statement: str, never: set[str]) -> None:
    """A table can be made without torch, and `sweep --help` waits for nothing."""
    assert not loaded_by(statement) & never


def test_the_readmes_tree_names_every_module() -> None:
    tree = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The house")[2]
    missing = [str(path.relative_to(ROOT)) for path in FILES if path.name != "__init__.py" and path.name not in tree]
    assert not missing
