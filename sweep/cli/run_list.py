"""`sweep runs` and the results of `sweep query`: rows as a table for a terminal, as CSV or as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from results.ledger.frames import runs_frame
from results.ledger.ledger import Ledger
from results.ledger.queries import run_names
from results.tables.formats import as_text_cells
from search_spaces.errors import UnknownNameError
from sweep.cli.answer_screen import print_table
from sweep.folder.paths import SweepFolder
from sweep.progress.console import PlainConsole

SHORT_ID = 8
"""Characters of a run id that a table shows; the beginning of an id identifies a run."""
ACCURACIES = {"final_val_acc": "Final\nval. (%)", "best_val_acc": "Best\nval. (%)", "test_acc": "Test (%)"}


def list_runs(folder: SweepFolder, sort: str, top: int, ascending: bool, form: str) -> str:
    """Return the runs of a sweep as text, sorted by the column ``sort`` of runs.csv; ``top`` 0: all of them.

    Raises:
        UnknownNameError: there is no such column.
    """
    with Ledger.open_read_only(folder.ledger) as ledger:
        frame, names = runs_frame(ledger), run_names(ledger)
    if sort and sort not in frame.columns:
        raise UnknownNameError("column", sort, map(str, frame.columns))
    if sort:
        numeric = pd.api.types.is_numeric_dtype(frame[sort].dtype)
        frame = frame.sort_values(sort, ascending=ascending or not numeric, kind="stable", na_position="last")
    frame = frame.head(top) if top else frame
    if form == "csv":
        return as_text_cells(frame).to_csv(index=False, lineterminator="\n")
    if form == "json":
        return _json(list(map(str, frame.columns)), frame.astype(object).where(frame.notna(), None).to_numpy().tolist())
    extra = [sort] if sort and sort not in (*ACCURACIES, "run_id", "seed", "status", "epochs") else []
    rows = [
        [
            str(row["run_id"])[:SHORT_ID], names[str(row["run_id"])], row["status"],
            *(_number(row[name]) for name in ACCURACIES), *(_number(row[name]) for name in extra),
        ]
        for _, row in frame.iterrows()
    ]  # fmt: skip
    return _table(["Run", "Configuration, seed", "Status", *ACCURACIES.values(), *extra], rows, wide=1)


def as_text(columns: Sequence[str], rows: Iterable[Sequence[Any]], form: str) -> str:
    """Return rows as ``table``, ``csv`` or ``json``."""
    if form == "json":
        return _json(columns, rows)
    if form == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        return text.getvalue()
    return _table(columns, [["" if cell is None else str(cell) for cell in row] for row in rows])


def _json(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    records = [dict(zip(columns, map(_plain, row), strict=True)) for row in rows]
    return json.dumps(records, indent=2, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if hasattr(value, "item"):  # a NumPy number
        return value.item()
    return value


def _number(value: Any) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], wide: int | None = None) -> str:
    """Return a table as wide as the terminal; the column ``wide`` is the one that is folded first."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        number = "(%)" in column
        table.add_column(
            Text(column), justify="right" if number else "left", overflow="fold", no_wrap=False,
            ratio=1 if place == wide else None,
        )  # fmt: skip
    for row in rows:
        table.add_row(*map(Text, row))
    text = io.StringIO()
    print_table(PlainConsole(file=text), table)
    return text.getvalue()
