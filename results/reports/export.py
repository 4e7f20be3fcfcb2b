"""The tidy frames and the tables of a sweep as files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pandas as pd

from results.ledger.arrays import load_sweep
from results.ledger.frames import epochs_frame, runs_frame
from results.ledger.ledger import Ledger
from results.reports.registry import report_tables
from results.tables.formats import TABLE_WRITERS
from results.tables.table import Table
from search_spaces.atomic_write import atomic_write
from search_spaces.errors import SweepFolderError, UnknownNameError

T = TypeVar("T")


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a header and one line a row; a float is written so that reading it gives the same bits."""
    frame.to_csv(path, index=False, lineterminator="\n")


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write every column with its type; a missing whole number stays one."""
    frame.to_parquet(path, index=False)


def write_json(frame: pd.DataFrame, path: Path) -> None:
    """Write a list of one object a row; what is missing is null. (pandas' own writer cuts floats to 15 decimals.)"""
    columns = [column.astype(object).where(column.notna(), None) for _, column in frame.items()]
    records = (dict(zip(frame.columns, row, strict=True)) for row in zip(*columns, strict=True))
    lines = (json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records)
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


FRAME_WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "csv": write_csv,
    "parquet": write_parquet,
    "json": write_json,
}
"""Format, which is also the file's suffix → what writes a frame in it; a frame is for programs, not for readers."""


def export(
    ledger_path: Path, out: Path, formats: Sequence[str], *, target: float | None = None,
    more: Mapping[str, Table] | None = None,
) -> list[Path]:  # fmt: skip
    """Write every table of the sweep, and the frames ``runs`` and ``epochs``, into ``out``; return the files.

    Each file is written aside and then renamed, so a reader sees the old one or the new one, whole.

    Args:
        ledger_path: the sweep's ledger; one that is still being written exports too, marked partial.
        out: a folder, made where it is missing.
        formats: of ``TABLE_WRITERS``; the frames are written in those that are in ``FRAME_WRITERS``, too.
        target: validation accuracy in percent to reach, in place of the default.
        more: tables by name that go with them: those of the analyses.

    Raises:
        UnknownNameError: a format that there is not; nothing has been written then.
        LedgerError: a ledger that cannot be read.
        SweepFolderError: a folder that cannot be written.
    """
    _check_formats(formats)
    tables = {**report_tables(load_sweep(ledger_path, target=target)), **(more or {})}
    frames = {}
    if set(formats) & set(FRAME_WRITERS):
        with Ledger.open_read_only(ledger_path) as ledger:
            frames = {"runs": runs_frame(ledger), "epochs": epochs_frame(ledger)}
    written = _write_all(out, formats, FRAME_WRITERS, frames)
    return [*written, *write_tables(tables, out, formats)]


def write_tables(tables: Mapping[str, Table], out: Path, formats: Sequence[str]) -> list[Path]:
    """Write every table under its name in every format; return the files.

    Raises:
        UnknownNameError: a format that is not in ``TABLE_WRITERS``; nothing has been written then.
        SweepFolderError: a folder that cannot be written.
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
    """Write each of ``content`` in each of the formats that there is a writer for."""
    written = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in dict.fromkeys(formats):
            for noun, one in content.items() if name in writers else ():
                path = out / f"{noun}.{name}"
                with atomic_write(path) as unfinished:
                    writers[name](one, unfinished)
                written.append(path)
    except OSError as error:
        raise SweepFolderError(f"{out}: cannot be written ({error.strerror}); name another folder") from error
    return written
