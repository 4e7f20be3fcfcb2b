"""A table: rows of values with their intervals, n and run ids. All formats are written from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from results.metrics.intervals import Estimate

NOT_AVAILABLE = "n/a"

ZERO_WIDTH = 1e-9
"""Half-width of an interval below which it is rounding error: the values are equal."""

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

    def text(self) -> list[list[str]]:
        """Return the printed cells, one list per row."""
        return [[cell_text(row.values.get(column.key), column) for column in self.columns] for row in self.rows]

    def frame(self) -> pd.DataFrame:
        """Return the cells as numbers: an estimate has four columns (``key``, ``key_low``, ``key_high``, ``key_n``).

        A plain value in such a column is in ``key``, without bounds. The last two columns are the data set, and the
        run ids of the row, separated by spaces.
        """
        columns: dict[str, list[Scalar]] = {}
        for column in self.columns:
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


def cell_text(value: Value, column: Column) -> str:
    """Return the printed form of a value.

    A symmetric interval is printed as ``28.0 ± 0.6``, any other as ``0.5 [0.3, 3.3]``, an estimate without an
    interval (n = 1) as a plain number, and infinity as ``∞``.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOT_AVAILABLE
    if isinstance(value, Estimate):
        return estimate_text(value, column.decimals)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if math.isinf(value):
            return "-∞" if value < 0 else "∞"
        return f"{value:.4g}" if column.general else _rounded(value, column.decimals)
    return str(value)


def estimate_text(estimate: Estimate, decimals: int) -> str:
    """Return an estimate rounded to the decimal place of the first significant digit of its interval's half-width."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if math.isnan(value):
        return NOT_AVAILABLE
    if not (math.isfinite(low) and math.isfinite(high)):
        return _rounded(value, decimals)
    half = (high - low) / 2
    if half < ZERO_WIDTH:
        return f"{_rounded(value, decimals)} ± 0"
    if math.isclose(high - value, value - low, rel_tol=1e-6):
        places = decimal_places(half)
        return f"{_rounded(value, places)} ± {_rounded(half, places)}"
    places = max(decimal_places(abs(bound - value) or half) for bound in (low, high))
    return f"{_rounded(value, places)} [{_rounded(low, places)}, {_rounded(high, places)}]"


def decimal_places(half_width: float) -> int:
    """Return the decimal place of the first significant digit: 0.6 → 1, 3 → 0; integers are not rounded further.

    The half-width is rounded first, so that 0.096, which is printed as 0.1, is rounded to tenths.
    """
    place = -math.floor(math.log10(half_width))
    return max(0, place if round(half_width, place) < 10 ** (1 - place) else place - 1)


def _rounded(value: float, places: int) -> str:
    return f"{round(value, places) + 0.0:.{places}f}"  # + 0.0: no negative zero


def _one_type(values: Sequence[Scalar]) -> pd.Series:
    """Return a column of one type, as Parquet needs it: integers, booleans, floats or text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        return pd.Series(values, dtype="Int64")
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean")
    if not kinds or kinds <= {int, float, bool}:
        return pd.Series(values, dtype="float64")
    return pd.Series([None if value is None or value != value else str(value) for value in values], dtype="string")
