"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

EXIT_FAILED = 1
"""Exit code: some runs have no result, or a check failed."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the sweep (see `sweep status`).")]
NameOrAddress = Annotated[
    str, typer.Argument(metavar="NAME|PLACE/NAME", help="Name of the sweep, or its address in its storage.")
]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Folder that contains the sweeps.")]
Data = Annotated[
    str | None,
    typer.Option(help="cifar100, cifar10, svhn, fashion-mnist, synthetic, or a folder of images (docs/own_data.md)."),
]

Auto = Any
"""A number or ``auto``. Typer has no type for both; the option's ``parser`` returns one of them."""


def whole_or_auto(text: str) -> int | str:
    """Parse a whole number or ``auto``; the spec validates the range.

    Raises:
        typer.BadParameter: it is neither.
    """
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number or 'auto'") from None


def number_or_auto(text: str) -> float | str:
    """Parse a number or ``auto``; the spec validates the range.

    Raises:
        typer.BadParameter: it is neither.
    """
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number or 'auto'") from None


def near(path: Path) -> Path:
    """Return ``path`` relative to the working directory if it is below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
