"""Cells as a reader sees them, and as numbers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from results.metrics.intervals import Estimate, mean_over_runs, mean_t_interval
from results.tables.numbers import decimal_places, estimate_text, rounded
from results.tables.table import Column, Row, Table, cell_text

NAN = math.nan
COLUMN = Column("x", "X", "%")


def around(value: float, half: float, n: int = 3) -> Estimate:
    return Estimate(value, value - half, value + half, n)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (around(28.04, 0.6), "28.0 ± 0.6"),
        (around(27.96, 0.6), "28.0 ± 0.6"),
        (around(28.44, 3.2), "28.4 ± 3.2"),
        (around(28.44, 0.096), "28.44 ± 0.10"),
        (around(28.4444, 0.0096), "28.444 ± 0.010"),
        (around(28.444, 0.25), "28.44 ± 0.25"),
        (around(28.44, 0.4), "28.4 ± 0.4"),
        (around(28.4, 0.96), "28.4 ± 1.0"),
        (around(0.5, 0.496), "0.500 ± 0.496"),
        (around(-0.5, 0.496), "-0.500 ± 0.496"),
        (around(0.5, 0.504), "0.5 ± 0.5"),
        (around(28.45, 0.5), "28.5 ± 0.5"),
        (around(-28.45, 0.5), "-28.5 ± 0.5"),
        (around(28.46, 0.94), "28.5 ± 0.9"),
        (around(4.4, 15.2), "4 ± 15"),
        (around(123.4, 99.6), "123 ± 100"),
        (around(0.01, 9.97), "0 ± 10"),
        (around(-12.34, 0.5), "-12.3 ± 0.5"),
    ],
)
def test_a_mean_ends_at_the_last_significant_digit_of_its_interval(estimate, text):
    """Two digits for 1, 2 and 3; half away from zero; an interval that excludes 0 does not touch it."""
    assert estimate_text(estimate, 2) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.52, 0.27, 3.3, 3), "0.52 [0.27, 3.30]"),
        (Estimate(0.523, 0.493, 0.61, 12), "0.523 [0.493, 0.610]"),
        (Estimate(14.2, 7.4, 89.2, 3), "14 [7, 89]"),
        (Estimate(-0.51, -0.92, -0.22, 12), "-0.51 [-0.92, -0.22]"),
        (Estimate(2.0, 2.0, 2.3, 12), "2.00 [2.00, 2.30]"),
    ],
)
def test_bounds_at_unequal_distances_are_both_printed(estimate, text):
    """To the digits that the nearer one needs."""
    assert estimate_text(estimate, 2) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(28.044, NAN, NAN, 1), "28.04"),
        (Estimate(-0.001, NAN, NAN, 1), "0.00"),
        (Estimate(NAN, NAN, NAN, 0), None),
        (Estimate(NAN, NAN, NAN, 3), None),
        (Estimate(1.0, 1.0, 1.0, 3), "1.00 (all 3 runs equal)"),
        (around(-0.0, 0.0, 2), "0.00 (both runs equal)"),
        (around(28.1, 1e-14), "28.10 (all 3 runs equal)"),
        (around(-0.04, 0.5), "0.0 ± 0.5"),
    ],
)
def test_an_estimate_without_a_width_claims_none(estimate, text):
    """One value, none, or equal ones; a zero has no sign."""
    assert estimate_text(estimate, 2) == text


@pytest.mark.parametrize(
    ("half", "places"), [(0.6, 1), (3, 1), (4, 0), (0.3, 2), (0.1 + 0.3, 1), (0.096, 2), (9.6, 0), (15, 0), (1e-4, 5)]
)
def test_decimal_places_are_those_of_the_significant_digits(half, places):
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
        (7.005, "7.01"),
        (-0.001, "0.00"),
        ("2 of 3", "2 of 3"),
        (around(28, 5), "28 ± 5"),
    ],
)
def test_a_cell_says_what_it_holds(value, text):
    """The missing as n/a, the infinite as ∞."""
    assert cell_text(value, COLUMN) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([17.2, 17.9], "17.2, 17.9"),
        ([17.24], "17.24"),
        ([0.5, 0.5], "0.50 (both runs equal)"),
        ([34.0, 33.9, 34.1, 1.0, 1.0, 0.9], "3 of 6 trained: 34.00 (33.90 to 34.10); 3 at chance"),
        ([33.0, 35.5, 35.5, 1.0, 1.0, 0.9], "3 of 6 trained: 34.7 (33.0 to 35.5); 3 at chance"),
        ([34.0, 1.0], "1 of 2 trained: 34.0; 1 at chance"),
        ([1.0, 1.0], "0 of 2 trained; 2 at chance"),
    ],
)
def test_few_values_and_runs_at_chance_have_no_interval(values, text):
    finals = np.array(values)
    assert (
        estimate_text(mean_over_runs(finals, finals < 2 if min(values) == 1.0 or 0.9 in values else finals < 0), 2)
        == text
    )


def test_a_single_value_has_the_place_of_its_neighbours():
    rows = [Row({"x": mean_t_interval(np.array(values))}) for values in ([17.238], [17.0, 20.0, 26.0], [5.0])]
    assert [cells[0] for cells in Table("t", "", (COLUMN,), rows).text()] == ["17", "21 ± 11", "5"]


def test_a_small_p_is_below_a_thousandth():
    column = Column("p", "p", decimals=3, least=0.001)
    assert [cell_text(p, column) for p in (0.0004, 0.001, 0.0625)] == ["< 0.001", "0.001", "0.063"]


def test_a_miss_is_infinite_in_files_and_a_bound_in_print():
    column = Column("epochs", "Epochs", infinite="> 50")
    table = Table("t", "", (column, Column("hit", "Hit", where="files")), [Row({"epochs": math.inf, "hit": False})])
    assert table.text() == [["> 50"]]
    assert table.frame()[["epochs", "hit"]].loc[0].tolist() == [math.inf, False]


def test_a_number_is_rounded_half_away_from_zero():
    assert [rounded(x, 2) for x in (0.285, -0.285, 1.005, -0.001)] == ["0.29", "-0.29", "1.01", "0.00"]
    assert rounded(3e38, 3) == "3e+38"


def test_a_plain_number_has_its_columns_decimals():
    assert cell_text(0.012345, Column("lr", "Rate", decimals=4)) == "0.0123"


def test_a_unit_is_in_the_title():
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
