"""The command line: parse, call one function, print. Only the commands that need torch or Ray import them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from sweep.cli import (
    analysis_commands,
    baseline_commands,
    benchmark_commands,
    result_commands,
    run_commands,
    setup_commands,
    sweep_commands,
)
from sweep.cli.styled_help import StyledGroup
from sweep.process.output import say

app = typer.Typer(
    name="sweep",
    help="Compare optimizers, momentum variants and learning-rate schedulers on LeNet-5 and CIFAR-100.",
    epilog="First sweep: sweep run quickstart    Exit codes and JSON: docs/scripts.md",
    cls=StyledGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            found = version("lenet-sweep")
        except PackageNotFoundError:
            found = "not installed"
        say(f"lenet-sweep {found}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that belong to no command."""


for commands in (
    run_commands, benchmark_commands, result_commands, baseline_commands, sweep_commands, analysis_commands,
    setup_commands,
):  # fmt: skip
    commands.register(app)
