"""The two tidy frames as files for other programs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from results.frames import epochs_frame, runs_frame
from results.ledger import Ledger
from search_spaces.errors import SweepFolderError, UnknownNameError


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


WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "csv": write_csv,
    "parquet": write_parquet,
    "json": write_json,
}
"""Format, which is also the file's suffix → what writes a frame in it."""


def export(ledger_path: Path, out: Path, formats: Sequence[str]) -> list[Path]:
    """Write ``runs`` and ``epochs`` into the folder ``out``, once a format; return the files.

    Each file is written aside and then renamed, so a reader sees the old one or the new one, whole.

    Raises:
        UnknownNameError: a format that is not in ``WRITERS``; nothing has been written then.
        LedgerError: a ledger that cannot be read.
        SweepFolderError: a folder that cannot be written.
    """
    for name in formats:
        if name not in WRITERS:
            raise UnknownNameError("format", name, WRITERS)
    with Ledger.open_read_only(ledger_path) as ledger:
        frames = {"runs": runs_frame(ledger), "epochs": epochs_frame(ledger)}
    try:
        out.mkdir(parents=True, exist_ok=True)
        return [
            _write_aside(frame, out / f"{noun}.{name}", WRITERS[name])
            for name in dict.fromkeys(formats)
            for noun, frame in frames.items()
        ]
    except OSError as error:
        raise SweepFolderError(f"{out}: cannot be written ({error.strerror}); name another folder") from error


def _write_aside(frame: pd.DataFrame, path: Path, write: Callable[[pd.DataFrame, Path], None]) -> Path:
    aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
    try:
        write(frame, aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path
