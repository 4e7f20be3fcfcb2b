"""The simulation of the statistics, in its short form."""

from __future__ import annotations

import pytest

from benchmarks.statistics import coverage, false_verdicts, simulated_table

SHORT = 300


@pytest.mark.parametrize("n", [5, 10, 20])
def test_printed_intervals_cover_the_mean(n: int) -> None:
    """At least 93 %, less three standard errors of so few sweeps."""
    assert coverage(n, SHORT) >= 0.93 - 3 * (0.93 * 0.07 / SHORT) ** 0.5


def test_equal_configurations_are_rarely_better() -> None:
    """At most 5 % against a reference and on fresh seeds, plus three standard errors."""
    found = false_verdicts(100)
    limit = 0.05 + 3 * (0.05 * 0.95 / 100) ** 0.5
    assert found["reference"] <= limit
    assert found["fresh seeds"] <= limit


def test_the_table_has_every_quantity() -> None:
    table = simulated_table(10)
    assert len(table.rows) == 6
    assert all(isinstance(row.values["found"], float) for row in table.rows)
