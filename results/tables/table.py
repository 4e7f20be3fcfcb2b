"""A table: rows of values with their intervals, n and run ids. All formats are written from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from results.metrics.intervals import Estimate
from results.tables.numbers import estimate_text, places_of, rounded
from search_spaces.plain_text import plain_text

NOT_AVAILABLE = "n/a"

Scalar = float | int | str | None
Value = Estimate | Scalar
"""The value of a cell; None and NaN are printed as ``n/a``."""


@dataclass(frozen=True)
class Column:
    """A column: its key in files, its printed heading, its unit, and the decimals of a plain number."""

    key: str
    heading: str
    unit: str = ""
    decimals: int = 2
    general: bool = False  # up to four significant digits instead of ``decimals``, for learning rates
    where: Literal["everywhere", "text", "files"] = "everywhere"  # printed tables, files for programs, or both
    infinite: str = "∞"  # printed for ∞, such as ``> 50`` for a target that was missed
    least: float = 0.0  # a smaller number is printed as ``< least``
    of: str = "runs"  # what the n values of an estimate are

    @property
    def title(self) -> str:
        """The heading with its unit."""
        return f"{self.heading} ({self.unit})" if self.unit else self.heading


@dataclass(frozen=True)
class Row:
    """One row: values by column key, and the ids of the runs that they are computed from."""

    values: Mapping[str, Value]
    run_ids: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """A table with its name, its caption, and the notes below it."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=tuple)
    data: str = ""  # the data set, marked if it is synthetic

    @property
    def printed(self) -> list[Column]:
        """The columns of a printed table."""
        return [column for column in self.columns if column.where != "files"]

    @property
    def filed(self) -> list[Column]:
        """The columns of a file for programs."""
        return [column for column in self.columns if column.where != "text"]

    def column_text(self, column: Column) -> list[str]:
        """Return the printed cells of a column: a value without an interval has the decimals of its neighbours."""
        values = [row.values.get(column.key) for row in self.rows]
        places = [places_of(value, column.decimals) for value in values if isinstance(value, Estimate)]
        known = [place for place in places if place is not None]
        return [cell_text(value, column, max(known, default=None)) for value in values]

    def text(self) -> list[list[str]]:
        """Return the printed cells, one list per row."""
        return [list(cells) for cells in zip(*map(self.column_text, self.printed), strict=True)]

    def frame(self) -> pd.DataFrame:
        """Return the cells as numbers: an estimate has four columns (``key``, ``key_low``, ``key_high``, ``key_n``).

        A plain value in such a column is in ``key``, without bounds. The last two columns are the data set, and the
        run ids of the row, separated by spaces.
        """
        columns: dict[str, list[Scalar]] = {}
        for column in self.filed:
            values = [row.values.get(column.key) for row in self.rows]
            if any(isinstance(value, Estimate) for value in values):
                parts = [value if isinstance(value, Estimate) else None for value in values]
                columns[column.key] = [value.value if isinstance(value, Estimate) else value for value in values]
                columns[f"{column.key}_low"] = [part.low if part else None for part in parts]
                columns[f"{column.key}_high"] = [part.high if part else None for part in parts]
                columns[f"{column.key}_n"] = [part.n if part else None for part in parts]
            else:
                columns[column.key] = [value for value in values if not isinstance(value, Estimate)]
        columns["data"] = [self.data for _ in self.rows]
        columns["run_ids"] = [" ".join(row.run_ids) for row in self.rows]
        return pd.DataFrame({key: _one_type(values) for key, values in columns.items()})


def cell_text(value: Value, column: Column, places: int | None = None) -> str:
    """Return the printed form of a value.

    A symmetric interval is printed as ``28.0 ± 0.6``, any other as ``0.5 [0.3, 3.3]``, an estimate without an
    interval (n = 1) as a plain number with ``places`` decimals, and infinity as ``column.infinite``.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOT_AVAILABLE
    if isinstance(value, Estimate):
        text = estimate_text(value, column.decimals, places=places, of=column.of)
        return NOT_AVAILABLE if text is None else text
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if math.isinf(value):
            return f"-{column.infinite}" if value < 0 else column.infinite
        if column.least and value < column.least:
            return f"< {column.least:g}"
        return f"{value:.4g}" if column.general else rounded(value, column.decimals)
    return plain_text(str(value))


def _one_type(values: Sequence[Scalar]) -> pd.Series:
    """Return a column of one type, as Parquet needs it: integers, booleans, floats or text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        return pd.Series(values, dtype="Int64")
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean")
    if not kinds or kinds <= {int, float, bool}:
        return pd.Series(values, dtype="float64")
    return pd.Series(
        [None if value is None or value != value else plain_text(str(value)) for value in values], dtype="string"
    )
