"""Write a table in six formats."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from results.metrics.intervals import Estimate
from results.tables.latex import as_latex
from results.tables.table import Table, Value
from search_spaces.plain_text import plain_text

FORMULA_SIGNS = ("=", "+", "-", "@")

ID_PREFIXES = {"run_id": "r", "run_ids": "r", "configuration_id": "c"}
"""Column of a CSV file → the letter before its ids: an id such as ``39786e2451`` would be read as a number.

Only CSV has no types. The ids in the ledger and in the other formats have no letter, and a command accepts both forms.
"""


def as_csv(table: Table) -> str:
    """One header line, then one line per row; numbers are not rounded, an estimate has four columns."""
    return as_text_cells(table.frame()).to_csv(index=False, lineterminator="\n")


def as_text_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with texts that no program reads as a formula or a number.

    A text that begins with ``=``, ``+``, ``-`` or ``@`` gets an apostrophe before it, and an id gets a letter
    (:data:`ID_PREFIXES`). Numbers are unchanged.
    """
    safe = frame.copy()
    for name in safe.columns:
        if safe[name].dtype != "string":
            continue
        if name in ID_PREFIXES:
            safe[name] = safe[name].str.replace(r"(?<!\S)(?=\S)", ID_PREFIXES[name], regex=True)
        else:
            safe[name] = safe[name].map(plain_text, na_action="ignore").astype("string")
            formula = safe[name].str.startswith(FORMULA_SIGNS).fillna(value=False)
            safe[name] = safe[name].where(~formula, "'" + safe[name])
    return safe


def as_markdown(table: Table) -> str:
    """A pipe table, aligned in its source; text is left-aligned, numbers are right-aligned."""
    cells = [[escape_markdown(column.title) for column in table.printed]]
    cells += [[escape_markdown(text) for text in row] for row in table.text()]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(table.printed))]
    right = _numeric_columns(table)
    rule = ["-" * (width - 1) + ":" if numeric else "-" * width for width, numeric in zip(widths, right, strict=True)]
    padded = [
        [text.rjust(w) if numeric else text.ljust(w) for text, w, numeric in zip(row, widths, right, strict=True)]
        for row in cells
    ]
    lines = ["| " + " | ".join(row) + " |" for row in (padded[0], rule, *padded[1:])]
    notes = [f"- {escape_markdown(note)}" for note in table.notes]
    return "\n".join([f"**{escape_markdown(table.caption)}**", "", *lines, "", *notes]).rstrip() + "\n"


def as_json(table: Table) -> str:
    """Caption, notes, and for each row its values, its printed text and its run ids."""
    rows = [
        {
            "values": {column.key: _plain(row.values.get(column.key)) for column in table.filed},
            "text": dict(zip((column.key for column in table.printed), text, strict=True)),
            "run_ids": list(row.run_ids),
        }
        for row, text in zip(table.rows, table.text(), strict=True)
    ]
    columns = [{"key": column.key, "heading": column.heading, "unit": column.unit} for column in table.columns]
    whole = {
        "name": table.name, "caption": table.caption, "data": table.data, "columns": columns, "rows": rows,
        "notes": list(table.notes),
    }  # fmt: skip
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_html(table: Table) -> str:
    """A ``<table>`` with its caption, and its notes below: an HTML fragment without style."""
    right = _numeric_columns(table)
    head = "".join(f"<th>{html.escape(column.title)}</th>" for column in table.printed)
    rows = [
        "<tr>"
        + "".join(
            f'<td align="right">{html.escape(text)}</td>' if numeric else f"<td>{html.escape(text)}</td>"
            for text, numeric in zip(cells, right, strict=True)
        )
        + "</tr>"
        for cells in table.text()
    ]
    notes = [f"<li>{html.escape(note)}</li>" for note in table.notes]
    lines = [
        f'<table id="{html.escape(table.name)}">', f"<caption>{html.escape(table.caption)}</caption>",
        f"<thead><tr>{head}</tr></thead>", "<tbody>", *rows, "</tbody>", "</table>",
        *(["<ul>", *notes, "</ul>"] if notes else []),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def write_parquet(table: Table, path: Path) -> None:
    """Write every column with its type."""
    table.frame().to_parquet(path, index=False)


def _text_writer(render: Callable[[Table], str]) -> Callable[[Table, Path], None]:
    def write(table: Table, path: Path) -> None:
        path.write_text(render(table), encoding="utf-8")

    return write


TEXT_WRITERS: dict[str, Callable[[Table], str]] = {
    "csv": as_csv,
    "md": as_markdown,
    "tex": as_latex,
    "json": as_json,
    "html": as_html,
}
"""Text format → the function that renders a table in it."""

TABLE_WRITERS: dict[str, Callable[[Table, Path], None]] = {
    **{name: _text_writer(render) for name, render in TEXT_WRITERS.items()},
    "parquet": write_parquet,
}
"""Format, also the file's suffix → the function that writes a table in it."""


def as_document(tables: Sequence[Table], name: str) -> str:
    """Return tables as one document of a text format.

    JSON is a list of the tables. CSV, which has one header, is the first table. The other formats are joined.
    """
    if name == "json":
        return json.dumps([json.loads(as_json(table)) for table in tables], indent=1, ensure_ascii=False) + "\n"
    if name == "csv":
        return as_csv(tables[0])
    return "\n".join(TEXT_WRITERS[name](table) for table in tables)


def _numeric_columns(table: Table) -> list[bool]:
    """Return for each column whether any of its cells is a number: such columns are right-aligned."""
    return [
        any(isinstance(row.values.get(column.key), Estimate | float | int) for row in table.rows)
        for column in table.printed
    ]


def escape_markdown(text: str) -> str:
    """Return ``text`` as one line of Markdown that displays exactly this text."""
    for sign in ("\\", "|", "*", "_", "`", "<"):
        text = text.replace(sign, f"\\{sign}")
    return text.replace("\n", " ")


def _plain(value: Value) -> Any:
    """Return a value for JSON: an estimate as an object, a number that is not finite as null."""
    if isinstance(value, Estimate):
        return {key: _plain(getattr(value, key)) for key in ("value", "low", "high", "n")}
    return None if isinstance(value, float) and not math.isfinite(value) else value
