"""The code in docs/own_scheduler.md runs, and prints what the page shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "own_scheduler.md"


def test_the_tutorial_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (shown,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    schedules, code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert sum(map(bool, schedules.splitlines())) <= 12
    (tmp_path / "my_schedules.py").write_text(schedules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_schedules", raising=False)
    monkeypatch.setattr("sweep.driver.outputs.make_outputs", lambda folder: None)  # figures have separate tests
    exec(compile(code, str(PAGE), "exec"), {})
    printed, expected = capsys.readouterr().out.splitlines(), shown.splitlines()
    assert printed[0] == expected[0]
    assert printed[-4:] == expected[-4:]
