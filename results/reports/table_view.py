"""A table as the template of the report page needs it: cells with sort keys, column heads with their descriptions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from results.metrics.intervals import Estimate
from results.reports.column_texts import column_text
from results.tables.table import NOT_AVAILABLE, Column, Row, Table, Value

WIDE_TABLE = 10  # columns; wider tables have a smaller font
LONG_TABLE = 30  # rows; longer tables scroll in a frame


@dataclass(frozen=True)
class Head:
    """The head of a column: its heading, its unit, its description, and whether it has only numbers."""

    key: str
    heading: str
    unit: str
    text: str
    is_numeric: bool


@dataclass(frozen=True)
class Cell:
    """Printed text, and its sort key: a number, ``inf``, empty for n/a, or None to sort by the text."""

    text: str
    sort_value: str | None


def table_view(table: Table, *, all_columns: bool = False) -> dict[str, Any]:
    """Return the table for the template; ``rows`` are (cells, run ids).

    Args:
        table: the table.
        all_columns: whether columns with one text in all rows stay; otherwise a note has their text.
    """
    texts = {column.key: table.column_text(column) for column in table.printed}
    first, *others = table.printed
    several = len(table.rows) > 1 and not all_columns
    same = [column for column in others if several and len({*texts[column.key]}) == 1]
    shown = [first, *(column for column in others if column not in same)]
    return {
        "heads": [_head(table, column) for column in shown],
        "rows": [
            ([_cell(row.values.get(column.key), texts[column.key][i]) for column in shown], row.run_ids)
            for i, row in enumerate(table.rows)
        ],
        "has_runs": any(row.run_ids for row in table.rows),
        "is_wide": len(shown) > WIDE_TABLE,
        "is_long": len(table.rows) > LONG_TABLE,
        "notes": [*_notes_on_same([(column, texts[column.key][0]) for column in same]), *table.notes],
    }


def _notes_on_same(columns: Sequence[tuple[Column, str]]) -> list[str]:
    """Return a note with the columns that have one text in all rows, and one with those that have no value."""
    known = [f"{column.title}: {text}" for column, text in columns if text != NOT_AVAILABLE]
    unknown = [column.heading for column, text in columns if text == NOT_AVAILABLE]
    return [
        *([f"The same in every row: {'; '.join(known)}."] if known else []),
        *([f"Not available in any row: {'; '.join(unknown)}."] if unknown else []),
    ]


def _head(table: Table, column: Column) -> Head:
    text = column_text(table.name, column.key, {other.key: other.heading for other in table.columns})
    if text[:1].isascii():  # η² stays small
        text = text[:1].upper() + text[1:]
    return Head(column.key, column.heading, column.unit, text, _is_numeric(table.rows, column))


def _cell(value: Value, text: str) -> Cell:
    number = value.value if isinstance(value, Estimate) else value
    if text == NOT_AVAILABLE or number is None:
        return Cell(text, "")
    if isinstance(number, str):
        return Cell(text, "inf" if _is_miss(number) else None)
    return Cell(text, repr(float(number)))


def _is_miss(text: str) -> bool:
    """Return whether ``text`` is a missed target, such as ``> 50``, which sorts as ∞."""
    return re.fullmatch(r"> \d+", text) is not None


def _is_numeric(rows: Sequence[Row], column: Column) -> bool:
    """Return whether a column has only numbers, which are right-aligned."""
    values = [row.values.get(column.key) for row in rows]
    return any(value not in (None, NOT_AVAILABLE) for value in values) and all(
        value in (None, NOT_AVAILABLE)
        or (isinstance(value, Estimate | float | int) and not isinstance(value, bool))
        or (isinstance(value, str) and _is_miss(value))
        for value in values
    )
