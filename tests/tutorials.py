"""The tutorials of the documentation: their blocks of code, run in an empty working directory, and what they print."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

MOST_LINES = 12
NUMBER = re.compile(r"-?\d+\.\d+")


class Tutorial:
    """A page of ``docs/``: its blocks of Python, and its blocks of output."""

    def __init__(self, name: str) -> None:
        """``name`` is that of the page, without ``.md``."""
        self._page = REPOSITORY / "docs" / f"{name}.md"
        text = self._page.read_text(encoding="utf-8")
        self.code: list[str] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        self.shown: list[list[str]] = [
            block.splitlines() for block in re.findall(r"```text\n(.*?)```", text, re.DOTALL)
        ]

    def enter(self, folder: Path, monkeypatch: pytest.MonkeyPatch, module: str = "", code: str = "") -> None:
        """Make ``folder`` the working directory, with ``code`` in ``module``.py. Figures have separate tests."""
        if module:
            (folder / f"{module}.py").write_text(code, encoding="utf-8")
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setattr("sweep.driver.outputs.make_outputs", lambda folder, *_: None)

    def run(self, code: str, names: dict[str, object] | None = None) -> None:
        """Run a block of the page as a script; ``names`` are the variables of blocks before it."""
        exec(compile(code, str(self._page), "exec"), {} if names is None else names)


def lines_of_code(code: str) -> int:
    """Return the lines without the empty ones."""
    return sum(map(bool, code.splitlines()))


def without_numbers(lines: Sequence[str]) -> list[list[str]]:
    """Return the words of the lines; decimal numbers, which depend on the machine, are replaced."""
    return [NUMBER.sub("#", line).split() for line in lines]


def last_number(line: str) -> float:
    """Return the last decimal number of a line."""
    return float(NUMBER.findall(line)[-1])
