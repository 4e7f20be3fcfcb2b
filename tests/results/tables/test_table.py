"""Cells as a reader sees them, and as numbers."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from results.metrics.intervals import Estimate
from results.tables.table import Column, Row, Table, cell_text, decimal_places, estimate_text

NAN = math.nan
COLUMN = Column("x", "X", "%")


def around(value: float, half: float, n: int = 3) -> Estimate:
    return Estimate(value, value - half, value + half, n)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (around(28.04, 0.6), "28.0 ± 0.6"),
        (around(27.96, 0.6), "28.0 ± 0.6"),
        (around(28.4, 3.2), "28 ± 3"),
        (around(28.44, 0.096), "28.4 ± 0.1"),
        (around(28.444, 0.0096), "28.44 ± 0.01"),
        (around(28.4, 0.96), "28 ± 1"),
        (around(28.46, 0.94), "28.5 ± 0.9"),
        (around(4.4, 15.2), "4 ± 15"),
        (around(123.4, 99.6), "123 ± 100"),
        (around(0.01, 9.97), "0 ± 10"),
        (around(-12.34, 0.5), "-12.3 ± 0.5"),
    ],
)
def test_a_mean_ends_at_the_first_significant_digit_of_its_interval(estimate, text):
    """The half-width is rounded before it is looked at; whole numbers stay whole."""
    assert estimate_text(estimate, 2) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.52, 0.27, 3.3, 3), "0.5 [0.3, 3.3]"),
        (Estimate(0.523, 0.493, 0.61, 12), "0.52 [0.49, 0.61]"),
        (Estimate(14.2, 7.4, 89.2, 3), "14 [7, 89]"),
        (Estimate(-0.51, -0.92, -0.22, 12), "-0.5 [-0.9, -0.2]"),
        (Estimate(2.0, 2.0, 2.3, 12), "2.0 [2.0, 2.3]"),
    ],
)
def test_bounds_at_unequal_distances_are_both_printed(estimate, text):
    """To the place that the nearer of the two asks for."""
    assert estimate_text(estimate, 2) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(28.044, NAN, NAN, 1), "28.04"),
        (Estimate(-0.001, NAN, NAN, 1), "0.00"),
        (Estimate(NAN, NAN, NAN, 0), "n/a"),
        (Estimate(NAN, NAN, NAN, 3), "n/a"),
        (Estimate(1.0, 1.0, 1.0, 3), "1.00 ± 0"),
        (around(-0.0, 0.0), "0.00 ± 0"),
        (around(28.1, 1e-14), "28.10 ± 0"),
        (around(-0.04, 0.5), "0.0 ± 0.5"),
    ],
)
def test_an_estimate_without_a_width_claims_none(estimate, text):
    """One value, none, or equal ones; a zero has no sign."""
    assert estimate_text(estimate, 2) == text


@pytest.mark.parametrize(("half", "places"), [(0.6, 1), (3, 0), (0.096, 1), (0.094, 2), (9.6, 0), (15, 0), (1e-4, 4)])
def test_decimal_places_are_those_of_the_first_digit(half, places):
    assert decimal_places(half) == places


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (NAN, "n/a"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (True, "yes"),
        (False, "no"),
        (7, "7"),
        (7.005, "7.00"),
        (-0.001, "0.00"),
        ("2 of 3", "2 of 3"),
        (around(28, 3), "28 ± 3"),
    ],
)
def test_a_cell_says_what_it_holds(value, text):
    """The missing as n/a, the infinite as ∞."""
    assert cell_text(value, COLUMN) == text


def test_a_plain_number_has_its_columns_decimals():
    assert cell_text(0.012345, Column("lr", "Rate", decimals=4)) == "0.0123"


def test_a_unit_stands_in_the_title():
    assert (COLUMN.title, Column("n", "Pairs").title) == ("X (%)", "Pairs")


def a_table(rows: list[Row]) -> Table:
    return Table("t", "Caption", (Column("name", "Name"), Column("x", "X", "%"), Column("n", "N")), rows, data="here")


def test_an_estimate_is_four_columns():
    """Value, bounds and n, to the last bit; where a row has none, all four are missing."""
    frame = a_table([Row({"name": "a", "x": around(0.1 + 0.2, 0.5)}, ("r1", "r2")), Row({"name": "b"})]).frame()
    assert list(frame.columns) == ["name", "x", "x_low", "x_high", "x_n", "n", "data", "run_ids"]
    assert frame.loc[0, ["x", "x_low", "x_high", "x_n"]].tolist() == [0.1 + 0.2, 0.1 + 0.2 - 0.5, 0.1 + 0.2 + 0.5, 3]
    assert frame.loc[1, ["x", "x_low", "x_high", "x_n"]].isna().all()
    assert frame["run_ids"].tolist() == ["r1 r2", ""]
    assert frame["data"].tolist() == ["here", "here"]


def test_a_plain_value_among_estimates_is_kept():
    """Under the key, without bounds: nothing is dropped silently."""
    frame = a_table([Row({"x": around(2, 1)}), Row({"x": 5.0})]).frame()
    assert frame["x"].tolist() == [2.0, 5.0]
    assert frame["x_low"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("values", "dtype", "missing"),
    [
        ([1, None, 3], "Int64", [False, True, False]),
        ([1, 2.5, None], "float64", [False, False, True]),
        ([1.0, math.inf, NAN], "float64", [False, False, True]),
        ([True, None, False], "boolean", [False, True, False]),
        (["> 10", 7.0, None], "string", [False, False, True]),
        (["> 10", NAN, 7.0], "string", [False, True, False]),
        ([None, None, None], "float64", [True, True, True]),
    ],
)
def test_a_column_has_one_type(values, dtype, missing):
    """And what is missing in the cells is missing in it."""
    column = a_table([Row({"n": value}) for value in values]).frame()["n"]
    assert column.dtype == dtype
    assert column.isna().tolist() == missing


def test_a_table_without_rows_has_its_columns():
    frame = a_table([]).frame()
    assert list(frame.columns) == ["name", "x", "n", "data", "run_ids"]
    pd.testing.assert_index_equal(frame.index, pd.RangeIndex(0))
