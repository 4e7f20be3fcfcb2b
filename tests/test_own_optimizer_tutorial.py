"""The code in docs/own_optimizer.md runs, and prints what the page shows; a breakpoint stops in the class."""

from __future__ import annotations

import io
import pdb
import re
import sys
from pathlib import Path

import pytest

from tests.tutorials import MOST_LINES, Tutorial, lines_of_code

TUTORIAL = Tutorial("own_optimizer")
CLASS, COMPARISON, WITH_BREAKPOINT = TUTORIAL.code
OUTPUT, PROMPT = TUTORIAL.shown


def test_the_tutorial_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    TUTORIAL.enter(tmp_path, monkeypatch, "my_optimizers", CLASS)
    assert lines_of_code(CLASS) <= MOST_LINES
    TUTORIAL.run(COMPARISON)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == OUTPUT[0]
    accuracy = re.compile(r"\S+$")  # depends on the machine
    assert [accuracy.sub("#", line) for line in printed[-4:]] == [accuracy.sub("#", line) for line in OUTPUT[-4:]]


def test_a_breakpoint_stops_in_the_class_and_quitting_leaves_a_sweep_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The debugger reads the commands of the page, and prints what the page shows."""
    line = WITH_BREAKPOINT.splitlines()[0]
    assert line in CLASS
    stopping = CLASS.replace(f"{line}\n", WITH_BREAKPOINT.rpartition("        for")[0])
    TUTORIAL.enter(tmp_path, monkeypatch, "my_optimizers", stopping)
    steps = re.findall(r"\(Pdb\) (.*)\n((?:(?!\(Pdb\)).*\n)*)", "".join(f"{one}\n" for one in PROMPT))
    screen = io.StringIO()
    commands = io.StringIO("".join(f"{command}\n" for command, _ in steps))
    debugger = pdb.Pdb(stdin=commands, stdout=screen, nosigint=True)
    monkeypatch.setattr(sys, "breakpointhook", lambda: debugger.set_trace(sys._getframe(1)))
    with pytest.raises(KeyboardInterrupt):
        TUTORIAL.run(COMPARISON)
    for _, answer in steps:
        assert answer in screen.getvalue()
    assert "my_optimizers.py" in screen.getvalue()
    assert (tmp_path / "runs" / "signs" / "ledger.sqlite").exists()
