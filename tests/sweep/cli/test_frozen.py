"""The commands and options are frozen: a change of the list beside this file is a decision."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel

from sweep.cli.answer_screen import ConfigurationRecord, EstimateRecord, NextRecord, SweepSummary
from sweep.cli.app import app
from sweep.cli.options import complete_sweep
from sweep.cli.run_screen import RunRecord
from sweep.cli.styled_help import ANALYSE, MANAGE, RESULTS, RUN, SET_UP
from sweep.folder.status import SweepStatus
from tests.results.ledger_sweeps import MOMENTUM, climb, write_ledger

FROZEN = Path(__file__).with_name("commands.txt")
DOCS = Path(__file__).parents[3] / "docs"
COMMAND: Any = typer.main.get_command(app)


def spellings(command: Any) -> list[str]:
    """The arguments and options of a command, as they are typed; an option's names are joined by a comma."""
    found = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            found.append(parameter.name.upper())
        else:
            found.append(",".join([*parameter.opts, *parameter.secondary_opts]))
    return sorted(found)


def current() -> str:
    """A line for each command: its name, its arguments and its options."""
    commands = {"sweep": COMMAND, **COMMAND.commands}
    return "".join(f"{name}: {' '.join(spellings(command))}\n" for name, command in sorted(commands.items()))


def test_commands_and_options_are_those_of_the_list() -> None:
    assert current() == FROZEN.read_text(encoding="utf-8")


def test_every_command_has_a_group_and_an_example_of_its_use() -> None:
    for name, command in COMMAND.commands.items():
        assert command.rich_help_panel in (RUN, RESULTS, MANAGE, ANALYSE, SET_UP), name
        assert re.search(rf"^  sweep {name}\b", command.epilog, re.MULTILINE), name


def test_every_command_is_in_the_documentation() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "usage.md", DOCS / "scripts.md"))
    missing = [name for name in COMMAND.commands if not re.search(rf"`sweep {name}\b|^sweep {name}\b", text, re.M)]
    assert missing == []


@pytest.mark.parametrize(
    "record", [SweepSummary, ConfigurationRecord, EstimateRecord, NextRecord, RunRecord, SweepStatus]
)
def test_every_field_of_a_json_object_is_documented(record: type[BaseModel]) -> None:
    words = set(re.findall(r"`(\w+)`", (DOCS / "scripts.md").read_text(encoding="utf-8")))
    assert set(record.model_fields) - words == set()


def test_the_names_of_sweeps_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("alpha", "altitude", "beta"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        write_ledger(tmp_path / "runs" / name / "ledger.sqlite", {MOMENTUM: [climb(20, 2)]}, epochs=2)
    monkeypatch.chdir(tmp_path)
    context: Any = typer.main.get_command(app).make_context("sweep", ["list"], resilient_parsing=True)
    assert complete_sweep(context, "al") == ["alpha", "altitude"]
