"""Sample sizes against published values and against simulated tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from results.metrics.power import paired_t_power, pairs_needed


@pytest.mark.parametrize(("difference", "pairs"), [(0.5, 18), (1.0, 7), (2.0, 4)])
def test_the_pairs_for_an_sd_of_0_7(difference: float, pairs: int) -> None:
    """The values that the tables' definitions give for one comparison."""
    assert pairs_needed(difference, 0.7) == pairs


@pytest.mark.parametrize(("d", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_the_pairs_of_cohens_effects(d: float, pairs: int) -> None:
    """G*Power's and Cohen's (1988) values for a two-sided paired t test, α = 0.05, power 0.8."""
    assert pairs_needed(d, 1.0) == pairs


def test_power_is_the_share_of_simulated_tests_that_reject() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(1.0, 1.2, (20_000, 9))
    rejected = np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue <= 0.05)
    assert paired_t_power(1.0, 1.2, 9) == pytest.approx(rejected, abs=0.01)


def test_more_comparisons_need_more_pairs() -> None:
    assert pairs_needed(1.0, 0.7, 1) < pairs_needed(1.0, 0.7, 7) < pairs_needed(1.0, 0.7, 23)


def test_the_edges() -> None:
    assert pairs_needed(0.0, 0.7) == math.inf
    assert pairs_needed(1e-9, 1.0) == math.inf
    assert pairs_needed(1.0, 0.0) == 2
    with pytest.raises(ValueError, match="sd=-1"):
        pairs_needed(1.0, -1.0)
