"""The stages before the first epoch: a line each without a terminal, a spinner on one."""

from __future__ import annotations

import io

from rich.console import Console

from sweep.progress.stages import Stages


def test_without_a_terminal_each_stage_is_a_line() -> None:
    text = io.StringIO()
    with Stages(Console(file=text)) as stages:
        stages.begin("reading the data [red]")
        stages.begin("")
        stages.begin("starting Ray")
    assert text.getvalue() == "reading the data [red] ...\nstarting Ray ...\n"


def test_a_terminal_has_a_spinner_that_ends() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80)
    with Stages(console) as stages:
        stages.begin("reading the data")
        console.print("a line that stays")
        stages.begin("starting Ray")
    printed = text.getvalue()
    assert "reading the data ..." in printed
    assert "a line that stays" in printed
    assert console._live_stack == []  # another live view can start


def test_lines_can_be_off() -> None:
    text = io.StringIO()
    with Stages(Console(file=text), lines=False) as stages:
        stages.begin("reading the data")
    assert text.getvalue() == ""
