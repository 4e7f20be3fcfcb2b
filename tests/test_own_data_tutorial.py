"""The code in docs/own_data.md runs, and prints what the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "own_data.md"


def test_the_tutorial_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines about the data, and the rows of the table up to the accuracies, which depend on the machine."""
    text = PAGE.read_text(encoding="utf-8")
    (shown,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sweep.driver.outputs.make_outputs", lambda folder: None)  # figures have separate tests
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        assert sum(map(bool, code.splitlines())) <= 12
        exec(compile(code, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out.replace(str(tmp_path), "/home/me").splitlines()
    expected = shown.splitlines()
    assert printed[:2] == expected[:2]
    number = re.compile(r"-?\d+\.\d+")
    table = [number.sub("#", line).split() for line in printed[-3:]]
    assert table == [number.sub("#", line).split() for line in expected[-3:]]
    finals = [float(number.findall(line)[-1]) for line in printed[-2:]]
    assert min(finals) > 100 / 3 + 20
