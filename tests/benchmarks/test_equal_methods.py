"""The simulation of benchmarks, in its short form."""

from __future__ import annotations

import math

import pytest

from benchmarks.equal_methods import Case, band_coverage, different, simulated_table

SHORT = 60


@pytest.mark.parametrize("case", [Case("four", methods=4, collapses=0.05), Case("studies", studies=7, seeds=2)])
def test_equal_methods_are_rarely_called_different(case: Case) -> None:
    """At most 5 %, plus three standard errors of so few sweeps, although the best one is chosen from the same runs."""
    assert different(case, SHORT) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / SHORT)


def test_of_400_benchmarks_with_two_equal_methods_at_most_5_percent_call_one_better() -> None:
    assert different(Case("two"), 400) <= 0.05
    assert different(Case("two", collapses=0.05), 400) <= 0.05


def test_a_true_lead_is_found() -> None:
    assert different(Case("better", lead=3.0), 20) == 1


def test_bands_cover_the_true_median_best() -> None:
    assert min(band_coverage(SHORT).values()) >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / SHORT)


def test_the_table_has_every_case() -> None:
    table = simulated_table(1)
    assert len(table.rows) == 11
    assert all(isinstance(row.values["found"], float) for row in table.rows)
