"""Standard output and standard error show plain text, in any encoding, and a lost reader ends no command."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from results.ledger.ledger import Ledger
from sweep.process.output import PlainStream, output_lost, plain_output, say
from sweep.progress.console import PlainConsole
from tests.builders import two_by_two_runs
from tests.sweep.folder.test_status import begin
from tests.sweep.sweeps import call, environment

HOSTILE = "a\x1b]0;title\x07b\x1b[31mc\rd\x9be\u202ef"
TINY = """
data = "synthetic:n_train=1000,n_test=100,seed=0"
epochs = 1
seeds = 1
[resources]
pack = 1
cpus_per_trial = 1
[[configurations]]
optimizer = {name = "SGD", lr = 0.05}
"""
SHOWN = "a\\x1b]0;title\\x07b\\x1b[31mc\\rd\\x9be\\u202ef"


def test_control_characters_are_escapes_on_both_streams(capsys: pytest.CaptureFixture[str]) -> None:
    with plain_output():
        say(HOSTILE)
        say(HOSTILE, error=True)
        print(HOSTILE, end="\tend\n")
        sys.stdout.write("\x1b[0m")  # as colorama does at the end of a process
    assert capsys.readouterr() == (f"{SHOWN}\n{SHOWN}\tend\n", f"{SHOWN}\n")


def test_a_console_styles_its_output_and_escapes_its_texts() -> None:
    """Also in a live view, and on a terminal."""
    stream = io.StringIO()
    console = PlainConsole(file=PlainStream(stream), force_terminal=True, width=200, color_system="standard")
    console.print(HOSTILE, markup=False, highlight=False)
    with Live(Panel(Text(HOSTILE, style="red")), console=console, auto_refresh=False, transient=True):
        console.print(HOSTILE, markup=False, highlight=False)
    text = stream.getvalue()
    assert "\x1b[31m" + "a\\x1b]0" in text  # the style is an escape, the text is not
    for hostile in ("\x1b]0", "\x07", "\x9b", "\u202e", "b\x1b[31mc"):
        assert hostile not in text
    assert text.count("c\\rd\\x9be\\u202ef") + text.count("cd\\x9be\\u202ef") >= 3


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_character_that_the_encoding_does_not_have_is_an_escape(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding=encoding))
    with plain_output():
        say("5 → 6 · 7")
        PlainConsole(width=200).print("5 → 6 · 7")
    sys.stdout.flush()
    first, second = buffer.getvalue().decode(encoding).splitlines()
    assert first == second == "5 → 6 · 7".encode(encoding, "backslashreplace").decode(encoding)


def test_output_without_a_reader_is_lost_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with plain_output():
            say("one")
            say("two")
            assert output_lost()


def sweep(words: list[str], redirection: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``sweep WORDS`` by a shell, with a redirection."""
    return subprocess.run(
        ["sh", "-c", f'"$0" -m sweep "$@" {redirection}', sys.executable, *words],
        cwd=cwd, capture_output=True, text=True, env=environment(), check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("redirection", [">&-", "<&- >&- 2>&-", "| head -0"])
def test_a_closed_output_is_no_error(redirection: str, tmp_path: Path) -> None:
    ended = sweep(["spaces"], redirection, tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.slow
def test_training_continues_in_ascii_and_without_a_reader(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    reading, writing = os.pipe()
    os.close(reading)
    words = ["run", "tiny.toml", "--in-process", "--runs-dir", str(tmp_path)]
    command = [
        sys.executable, "-c", "import sweep.driver.outputs as o\no.make_outputs = lambda folder, *_: folder.report\n"
        "from sweep.__main__ import command\ncommand()", *words,
    ]  # fmt: skip
    ended = subprocess.run(
        command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True,
        env=environment() | {"PYTHONIOENCODING": "ascii"}, check=False, timeout=300,
    )  # fmt: skip
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")
    with Ledger.open_read_only(tmp_path / "tiny" / "ledger.sqlite") as ledger:
        assert set(ledger.statuses().values()) == {"done"}


@pytest.mark.parametrize("command", ["status", "stop", "compare"])
def test_no_command_shows_the_escapes_of_a_ledger(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _, ledger = begin(tmp_path, "s", two_by_two_runs())
    ledger.plan(two_by_two_runs(), 3, data_name=f"x{HOSTILE}y", synthetic=False)
    ledger.start("1" * 16, [two_by_two_runs()[0].run_id])
    ledger.fail([two_by_two_runs()[0].run_id], f"error {HOSTILE}")
    ledger.close()
    begin(tmp_path, "t", two_by_two_runs())[1].close()
    words = {"status": ["status", "s"], "stop": ["stop", "s"], "compare": ["compare", "s", "t"]}[command]
    ended = call([*words, "--runs-dir", tmp_path], tmp_path, monkeypatch, capfd)
    assert not any(sign in ended.stdout + ended.stderr for sign in "\x1b\x07\r\x9b\u202e")
    if command == "status":
        assert f"x{SHOWN}y" in ended.stdout
        assert "d\\x9be\\u202ef" in ended.stdout.partition("failed: ")[2]
