"""Arguments and options that several verbs share, and how they name a file to the user."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXIT_FAILED = 1
"""Some run failed."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="The sweep's name, as `sweep status` lists it.")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="The folder that holds the sweeps' folders.")]
Data = Annotated[
    str | None, typer.Option(help="cifar100, synthetic, or a folder with CIFAR-100 (Parquet or official archive).")
]


def near(path: Path) -> Path:
    """Return ``path`` relative to where the user is, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
