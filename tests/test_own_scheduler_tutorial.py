"""The code in docs/own_scheduler.md runs, and prints what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tutorials import MOST_LINES, Tutorial, lines_of_code


def test_the_tutorial_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tutorial = Tutorial("own_scheduler")
    schedules, code = tutorial.code
    assert lines_of_code(schedules) <= MOST_LINES
    tutorial.enter(tmp_path, monkeypatch, "my_schedules", schedules)
    tutorial.run(code)
    printed, (expected,) = capsys.readouterr().out.splitlines(), tutorial.shown
    assert printed[0] == expected[0]
    assert printed[-4:] == expected[-4:]
