"""`sweep export`: tables as files, and copies of the measurements for trackers and for Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from results.reports.export import export
from results.tables.formats import TABLE_WRITERS
from search_spaces.errors import SpecError, UnknownNameError
from sweep.folder.paths import SweepFolder
from sweep.process.output import say
from sweep.tracking.registry import TRACKERS, check_trackers

OPTUNA = "optuna"


def export_sweep(folder: SweepFolder, formats: Sequence[str], out: Path | None, target: float | None) -> list[Path]:
    """Write the sweep in every format; return the files, for a tracker its folder or database.

    Raises:
        UnknownNameError: an unknown format; nothing is written.
        SpecError: a tracker's package is missing, or ``out`` is given for a tracker.
    """
    for name in formats:
        if name not in (*TABLE_WRITERS, *TRACKERS, OPTUNA):
            raise UnknownNameError("format", name, [*TABLE_WRITERS, *TRACKERS, OPTUNA])
    trackers = [name for name in formats if name in TRACKERS]
    check_trackers(trackers)
    if trackers and out is not None:
        raise SpecError("--out", f"{out}, but {trackers[0]} is written to {folder.tracking}", "leave it out")
    written = []
    if tables := [name for name in formats if name in TABLE_WRITERS]:
        from results.analyses.captures import load_analyses

        more = load_analyses(folder.analyses).tables()
        written += export(folder.ledger, out or folder.tables, tables, target=target, more=more)
    if OPTUNA in formats:
        from sweep.tracking.optuna_study import write_study

        written.append(write_study(folder, out or folder.tracking))
    if trackers:
        from sweep.tracking.of_sweep import export_to_trackers

        failed: list[str] = []
        written += export_to_trackers(folder, trackers, failed.append)
        for line in failed:
            say(line, error=True)
        if failed:
            import typer

            from sweep.cli.options import EXIT_FAILED

            raise typer.Exit(EXIT_FAILED)
    return written
