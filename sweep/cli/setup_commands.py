"""The commands before a first sweep: spaces and doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from search_spaces.plain_text import counted
from sweep.cli.options import EXIT_FAILED, Data, RunsDir, complete_space
from sweep.cli.styled_help import SET_UP, add_command
from sweep.folder.paths import DEFAULT_RUNS_DIR
from sweep.process.output import say


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    add_command(app, spaces, SET_UP, "sweep spaces", "sweep spaces momentum > mine.toml")
    add_command(app, doctor, SET_UP, "sweep doctor", "sweep doctor --data FOLDER")


def spaces(
    space: Annotated[
        str | None,
        typer.Argument(metavar="[SPACE]", help="Space to print as TOML, to be edited.", autocompletion=complete_space),
    ] = None,
) -> None:
    """List the named spaces, or print one."""
    from search_spaces import space_names, space_text

    if space:
        say(space_text(space), end="")
        return
    from sweep.config.toml import read_spec

    for name in space_names():
        spec = read_spec(name)
        if spec.benchmark is not None:
            methods, budget = len(spec.methods), spec.benchmark.budget
            counts = f"benchmark: {counted(methods, 'method')} × {counted(budget, 'point')}"
        else:
            configurations, seeds = len(spec.expanded()), len(spec.seed_list)
            runs = f"{configurations * seeds:4d} runs"
            counts = f"{runs} ({counted(configurations, 'configuration')} × {counted(seeds, 'seed')})"
        say(f"{name:20} {counts:41} {counted(spec.epochs, 'epoch'):>10}  {spec.data:10} {spec.description}")


def doctor(data: Data = None, runs_dir: RunsDir = DEFAULT_RUNS_DIR) -> None:
    """Check whether this machine can run a sweep."""
    from sweep.cli.doctor import examine

    fine = True
    for finding in examine(runs_dir, data):
        say(f"{'ok  ' if finding.fine else 'BAD '} {finding.what}: {finding.seen}")
        fine = fine and finding.fine
    if not fine:
        raise typer.Exit(EXIT_FAILED)
