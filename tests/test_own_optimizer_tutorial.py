"""The code in docs/own_optimizer.md runs, and prints what the page shows; a breakpoint stops in the class."""

from __future__ import annotations

import io
import pdb
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "own_optimizer.md"
TEXT = PAGE.read_text(encoding="utf-8")
CLASS, COMPARISON, WITH_BREAKPOINT = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
OUTPUT, PROMPT = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def _in_a_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sweep.driver.outputs.make_outputs", lambda folder: None)  # figures have separate tests
    yield
    sys.modules.pop("my_optimizers", None)


@pytest.mark.usefixtures("_in_a_working_directory")
def test_the_tutorial_prints_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my_optimizers.py").write_text(CLASS)
    assert sum(map(bool, CLASS.splitlines())) <= 12
    exec(compile(COMPARISON, str(PAGE), "exec"), {})
    printed, shown = capsys.readouterr().out.splitlines(), OUTPUT.splitlines()
    assert printed[0] == shown[0]
    accuracy = re.compile(r"\S+$")  # depends on the machine
    assert [accuracy.sub("#", line) for line in printed[-4:]] == [accuracy.sub("#", line) for line in shown[-4:]]


@pytest.mark.usefixtures("_in_a_working_directory")
def test_a_breakpoint_stops_in_the_class_and_quitting_leaves_a_sweep_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The debugger reads the commands of the page, and prints what the page shows."""
    line = WITH_BREAKPOINT.splitlines()[0]
    assert line in CLASS
    (tmp_path / "my_optimizers.py").write_text(CLASS.replace(f"{line}\n", WITH_BREAKPOINT.rpartition("        for")[0]))
    steps = re.findall(r"\(Pdb\) (.*)\n((?:(?!\(Pdb\)).*\n)*)", PROMPT)
    screen = io.StringIO()
    commands = io.StringIO("".join(f"{command}\n" for command, _ in steps))
    debugger = pdb.Pdb(stdin=commands, stdout=screen, nosigint=True)
    monkeypatch.setattr(sys, "breakpointhook", lambda: debugger.set_trace(sys._getframe(1)))
    with pytest.raises(KeyboardInterrupt):
        exec(compile(COMPARISON, str(PAGE), "exec"), {})
    for _, answer in steps:
        assert answer in screen.getvalue()
    assert "my_optimizers.py" in screen.getvalue()
    assert (tmp_path / "runs" / "signs" / "ledger.sqlite").exists()
