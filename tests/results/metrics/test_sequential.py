"""Looks and their level; the error over all looks is simulated by ``benchmarks/until_decided.py``."""

from __future__ import annotations

import pytest

from benchmarks.until_decided import CASES, simulate, until_decided
from results.metrics.comparison import ALPHA
from results.metrics.sequential import look_level, looks


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (2, (2,)), (10, (10,)), (13, (13,)), (14, (10, 14)), (16, (10, 16)), (30, (10, 15, 22, 30)),
        (100, (10, 15, 22, 33, 49, 73, 100)),
    ],
)  # fmt: skip
def test_looks_grow_by_a_half_and_end_at_the_largest_number(most: int, expected: tuple[int, ...]) -> None:
    assert looks(most) == expected


@pytest.mark.parametrize("most", range(2, 200))
def test_looks_increase_and_their_levels_sum_up_to_alpha(most: int) -> None:
    found = looks(most)
    assert list(found) == sorted(set(found))
    assert found[-1] == most
    assert look_level(most) * len(found) == pytest.approx(ALPHA)


def test_a_fixed_number_of_seeds_has_the_whole_level() -> None:
    assert look_level(0) == ALPHA
    with pytest.raises(ValueError, match="max_seeds=1"):
        looks(1)


def test_of_equal_configurations_few_are_called_different_and_a_large_difference_is_found_early() -> None:
    """The short form of the simulation, with the same seed of its random numbers on every machine."""
    equal, _, _, better = CASES
    assert simulate(equal, 15, 60)["decided"] <= 0.05
    found = simulate(better, 15, 20)
    assert found["decided"] == 1
    assert found["seeds"] < 14


def test_a_difference_that_every_pair_shows_ends_at_the_first_look() -> None:
    import numpy as np

    finals = np.array([[34.0 + seed / 10 for seed in range(30)]] * 3)
    finals[1:] += 3
    assert until_decided(finals, 30) == (["worse", "worse"], 10)
