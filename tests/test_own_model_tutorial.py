"""The code in docs/own_model.md runs, and prints what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tutorials import MOST_LINES, Tutorial, last_number, lines_of_code, without_numbers


def test_the_tutorial_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines about the model, and the rows of the table up to the accuracies, which depend on the machine."""
    tutorial = Tutorial("own_model")
    model, code = tutorial.code
    assert max(map(lines_of_code, tutorial.code)) <= MOST_LINES
    tutorial.enter(tmp_path, monkeypatch, "my_model", model)
    tutorial.run(code)
    printed, shown = capsys.readouterr().out.splitlines(), tutorial.shown[0]
    assert printed[:2] == shown[:2]
    assert without_numbers(printed[-3:]) == without_numbers(shown[-3:])
    assert min(map(last_number, printed[-2:])) > 4  # chance is 1 %
