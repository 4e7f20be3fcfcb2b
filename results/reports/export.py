"""Export of a sweep's data frames and tables as files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pandas as pd

from results.ledger.frames import OF_TUNING, epochs_frame, runs_frame
from results.ledger.ledger import Ledger
from results.ledger.phases import read_phases
from results.reports.received import load_with_received
from results.reports.registry import report_tables
from results.tables.formats import TABLE_WRITERS, as_text_cells
from results.tables.table import Table
from search_spaces.atomic_write import atomic_write
from search_spaces.errors import SweepFolderError, UnknownNameError

T = TypeVar("T")


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a header and one line per row; reading a float gives the same bits. Text is never a formula."""
    as_text_cells(frame).to_csv(path, index=False, lineterminator="\n")


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write every column with its type, including integers with missing values."""
    frame.to_parquet(path, index=False)


def write_json(frame: pd.DataFrame, path: Path) -> None:
    """Write a list of one object per row; missing values are null. (pandas' writer rounds floats to 15 decimals.)"""
    columns = [column.astype(object).where(column.notna(), None) for _, column in frame.items()]
    records = (dict(zip(frame.columns, row, strict=True)) for row in zip(*columns, strict=True))
    lines = (json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records)
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


FRAME_WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "csv": write_csv,
    "parquet": write_parquet,
    "json": write_json,
}
"""Format, also the file's suffix → the function that writes a data frame in it."""


def export(
    ledger_path: Path, out: Path, formats: Sequence[str], *, target: float | None = None,
    more: Mapping[str, Table] | None = None,
) -> list[Path]:  # fmt: skip
    """Write every table of the sweep, and its data frames (:func:`data_frames`), to ``out``; return the files.

    Each file is replaced atomically.

    Args:
        ledger_path: the sweep's ledger; the tables of an unfinished sweep are marked as partial.
        out: the folder; created if it is missing.
        formats: names in ``TABLE_WRITERS``; data frames are written in those that ``FRAME_WRITERS`` has.
        target: replaces the default target, a validation accuracy in percent.
        more: further tables by name, those of the analyses.

    Raises:
        UnknownNameError: an unknown format; no file is written.
        LedgerError: the ledger cannot be read.
        SweepFolderError: the folder cannot be written.
    """
    _check_formats(formats)
    tables = report_tables(load_with_received(ledger_path, target=target))
    return write_results(ledger_path, {**tables, **(more or {})}, out, formats)


def write_results(
    ledger_path: Path, tables: Mapping[str, Table], out: Path, formats: Sequence[str]
) -> list[Path]:  # fmt: skip
    """Write tables that are already made, and the data frames of the ledger, as :func:`export` does; return the files.

    Raises:
        UnknownNameError: an unknown format; no file is written.
        LedgerError: the ledger cannot be read.
        SweepFolderError: the folder cannot be written.
    """
    _check_formats(formats)
    frames = {}
    if set(formats) & set(FRAME_WRITERS):
        with Ledger.open_read_only(ledger_path) as ledger:
            frames = data_frames(ledger)
    written = _write_all(out, formats, FRAME_WRITERS, frames)
    return [*written, *write_tables(tables, out, formats)]


def data_frames(ledger: Ledger) -> dict[str, pd.DataFrame]:
    """Return the data frames of a sweep by the names of their files.

    ``runs`` and ``epochs`` have the planned runs: of a benchmark, those of its present phase. A benchmark also has
    ``tuning_runs`` and ``tuning_epochs``, and ``phases``, which maps every run to its phase, study, method and point.
    """
    frames = {"runs": runs_frame(ledger), "epochs": epochs_frame(ledger)}
    phases = read_phases(ledger)
    if phases.empty:
        return frames
    tuning = {"tuning_runs": runs_frame(ledger, OF_TUNING), "tuning_epochs": epochs_frame(ledger, OF_TUNING)}
    return {**frames, **tuning, "phases": phases.astype(dict.fromkeys(("run_id", "phase", "method"), "string"))}


def write_tables(tables: Mapping[str, Table], out: Path, formats: Sequence[str]) -> list[Path]:
    """Write every table as ``NAME.FORMAT`` in every format; return the files.

    Raises:
        UnknownNameError: a format is not in ``TABLE_WRITERS``; no file is written.
        SweepFolderError: the folder cannot be written.
    """
    _check_formats(formats)
    return _write_all(out, formats, TABLE_WRITERS, tables)


def _check_formats(formats: Sequence[str]) -> None:
    for name in formats:
        if name not in TABLE_WRITERS:
            raise UnknownNameError("format", name, TABLE_WRITERS)


def _write_all(
    out: Path, formats: Sequence[str], writers: Mapping[str, Callable[[T, Path], None]], content: Mapping[str, T]
) -> list[Path]:
    """Write each item of ``content`` in each format that has a writer."""
    written = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in dict.fromkeys(formats):
            for item_name, item in content.items() if name in writers else ():
                path = out / f"{item_name}.{name}"
                with atomic_write(path) as unfinished:
                    writers[name](item, unfinished)
                written.append(path)
    except OSError as error:
        raise SweepFolderError(f"{out}: cannot be written ({error.strerror}); give another folder") from error
    return written
