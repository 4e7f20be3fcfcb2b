"""Commands whose help is styled: groups, colours on a terminal, and examples at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from sweep.process.output import styled_output

RUN, RESULTS, ANALYSE, MANAGE, SET_UP = "Run", "Results", "Analyse training", "Manage sweeps", "Set up"
"""The groups of commands, in the order of `sweep --help`."""


class StyledCommand(TyperCommand):
    """A command; its help has no text but this program's."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help with the styles of the terminal."""
        with styled_output():
            super().format_help(ctx, formatter)


class StyledGroup(TyperGroup):
    """The commands; see :class:`StyledCommand`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help with the styles of the terminal."""
        with styled_output():
            super().format_help(ctx, formatter)


def add_command(
    app: typer.Typer, function: Callable[..., Any], group: str, *examples: str, name: str | None = None
) -> None:
    """Add ``function`` to ``app`` as a command of ``group``, with ``examples`` of its use at the end of its help."""
    label = "Example" if len(examples) == 1 else "Examples"
    epilog = "\n\n".join([f"{label}:", *(f"  {example}" for example in examples)])
    app.command(
        name=name or function.__name__.replace("_", "-"), cls=StyledCommand, rich_help_panel=group, epilog=epilog
    )(function)
