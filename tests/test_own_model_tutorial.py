"""The code in docs/own_model.md runs, and prints what the page shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "own_model.md"


def test_the_tutorial_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines about the model, and the rows of the table up to the accuracies, which depend on the machine."""
    text = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"```text\n(.*?)```", text, re.DOTALL)[0].splitlines()
    model, code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert all(sum(map(bool, part.splitlines())) <= 12 for part in (model, code))
    (tmp_path / "my_model.py").write_text(model)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_model", raising=False)
    monkeypatch.setattr("sweep.driver.outputs.make_outputs", lambda folder: None)  # figures have separate tests
    exec(compile(code, str(PAGE), "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == shown[:2]
    number = re.compile(r"-?\d+\.\d+")
    assert [number.sub("#", line).split() for line in printed[-3:]] == [
        number.sub("#", line).split() for line in shown[-3:]
    ]
    finals = [float(number.findall(line)[-1]) for line in printed[-2:]]
    assert min(finals) > 4  # chance is 1 %
