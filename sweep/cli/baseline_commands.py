"""The commands about published benchmarks: challenge, and the export of a benchmark as a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweep.cli.options import EXIT_FAILED, Name, RunsDir, near
from sweep.cli.styled_help import RESULTS, add_command
from sweep.folder.paths import DEFAULT_RUNS_DIR, SweepFolder
from sweep.process.output import say


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    add_command(app, baseline, RESULTS, "sweep baseline optimizers-tuned FOLDER")
    add_command(app, challenge, RESULTS, "sweep challenge optimizers_tuned --data FOLDER")


def challenge(
    place: Annotated[
        str, typer.Argument(metavar="RUN|BASELINE", help="Id of a published run, the name of a baseline, or a folder.")
    ],
    data: Annotated[str, typer.Option(help="The data of the baseline, as for `sweep run`.")] = "cifar100",
) -> None:
    """Train a published run again. Says whether it is the same to the bit, within its interval, or outside."""
    from sweep.driver.challenge import challenge as train_again

    found = train_again(place, data, say)
    say(found.sentence())
    if not found.holds:
        raise typer.Exit(EXIT_FAILED)


def baseline(
    name: Name,
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the baseline.")],
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Write an evaluated benchmark as a baseline: its runs as Parquet, its facts and its spec."""
    from results.reports.baseline import write_baseline

    for path in write_baseline(SweepFolder.existing(runs_dir, name).ledger, out):
        say(near(path))
