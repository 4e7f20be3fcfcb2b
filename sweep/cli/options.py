"""Arguments and options that several verbs share, and how they name a file to the user."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

EXIT_FAILED = 1
"""Some run failed."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="The sweep's name, as `sweep status` lists it.")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="The folder that holds the sweeps' folders.")]
Data = Annotated[
    str | None, typer.Option(help="cifar100, synthetic, or a folder with CIFAR-100 (Parquet or official archive).")
]

Auto = Any
"""A number or ``auto``. Typer has no type for the two together: a ``parser`` of an option returns one or the other."""


def whole_or_auto(text: str) -> int | str:
    """Parse a whole number or ``auto``; the spec checks its range.

    Raises:
        typer.BadParameter: neither of them.
    """
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number or 'auto'") from None


def number_or_auto(text: str) -> float | str:
    """Parse a number or ``auto``; the spec checks its range.

    Raises:
        typer.BadParameter: neither of them.
    """
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number or 'auto'") from None


def near(path: Path) -> Path:
    """Return ``path`` relative to where the user is, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
