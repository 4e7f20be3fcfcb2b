"""Equivalence and McNemar's test against independent computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from results.metrics.equivalence import equivalence, equivalence_interval, mcnemar_p


def test_the_interval_decides_as_two_one_sided_t_tests() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        differences = rng.normal(rng.uniform(-0.6, 0.6), rng.uniform(0.1, 1.0), rng.integers(2, 25))
        above = stats.ttest_1samp(differences, -0.5, alternative="greater").pvalue
        below = stats.ttest_1samp(differences, 0.5, alternative="less").pvalue
        assert (equivalence(differences) == "equal") == (max(above, below) <= 0.05)


def test_few_pairs_decide_nothing() -> None:
    assert equivalence(np.array([])) == equivalence(np.array([0.0])) == "undecided"
    assert np.isnan(equivalence_interval(np.array([0.1]))).all()


def test_pairs_that_are_all_equal_are_equal() -> None:
    assert equivalence(np.zeros(2)) == "equal"
    assert equivalence(np.full(3, 0.5)) == "equal"  # the margin itself
    assert equivalence(np.full(3, 0.51)) == "undecided"


def test_a_margin_is_above_0() -> None:
    with pytest.raises(ValueError, match="margin=0"):
        equivalence(np.zeros(3), 0)


def test_mcnemar_is_a_sign_test_of_the_discordant_pairs() -> None:
    """Six runs trained under a and not under b, none the other way: p = 2·(1/2)^6."""
    a, b = np.ones(10, dtype=bool), np.array([True] * 4 + [False] * 6)
    assert mcnemar_p(a, b) == pytest.approx(2 * 0.5**6)
    assert mcnemar_p(a, a) == 1.0
    assert mcnemar_p(b, a) == mcnemar_p(a, b)
    with pytest.raises(ValueError, match="pairs"):
        mcnemar_p(a, b[:3])
