"""The code in docs/own_data.md runs, and prints what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tutorials import MOST_LINES, Tutorial, last_number, lines_of_code, without_numbers


def test_the_tutorial_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines about the data, and the rows of the table up to the accuracies, which depend on the machine."""
    tutorial = Tutorial("own_data")
    tutorial.enter(tmp_path, monkeypatch)
    names: dict[str, object] = {}
    for code in tutorial.code:
        assert lines_of_code(code) <= MOST_LINES
        tutorial.run(code, names)
    printed, (shown,) = capsys.readouterr().out.replace(str(tmp_path), "/home/me").splitlines(), tutorial.shown
    assert printed[:2] == shown[:2]
    assert without_numbers(printed[-3:]) == without_numbers(shown[-3:])
    assert min(map(last_number, printed[-2:])) > 100 / 3 + 20
