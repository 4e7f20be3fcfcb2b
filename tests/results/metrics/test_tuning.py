"""Tuning curves, sensitivity, ranks and selection, checked with opda, scipy and plain enumerations."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import opda.nonparametric
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from results.metrics.tuning import (
    Crossing,
    best_point,
    crossings,
    mean_over_studies,
    mean_ranks,
    probability_better,
    quantile_bins,
    ranks,
    sensitivity,
    tuning_band,
    tuning_curve,
)

accuracies = st.lists(st.integers(50, 5000).map(lambda correct: correct / 50), min_size=1, max_size=7).map(np.array)


@given(accuracies)
def test_a_tuning_curve_is_the_mean_over_all_subsets(scores):
    wanted = [np.mean([max(subset) for subset in combinations(scores.tolist(), k)]) for k in range(1, len(scores) + 1)]
    np.testing.assert_allclose(tuning_curve(scores), wanted)


def test_a_tuning_curve_is_that_of_opda():
    scores = np.random.default_rng(1).normal(30, 4, 25)
    of_opda = opda.nonparametric.EmpiricalDistribution(scores).u_tuning_curve(np.arange(1, 26))
    np.testing.assert_allclose(tuning_curve(scores), of_opda)


@pytest.mark.parametrize("n", [3, 7, 12, 40])
def test_the_band_is_the_interval_of_the_quantile_of_scipy(n):
    scores = np.random.default_rng(n).normal(30, 4, n)
    low, high = tuning_band(scores)
    for k in range(1, n + 1):
        wanted = scipy.stats.quantile_test(scores, p=0.5 ** (1 / k)).confidence_interval(0.95)
        assert [low[k - 1], high[k - 1]] == [
            -math.inf if math.isnan(wanted.low) else wanted.low,
            math.inf if math.isnan(wanted.high) else wanted.high,
        ]


def test_the_band_covers_the_median_best_of_opda():
    """95 % or more of the bands contain the true median best of k points, which is opda's quantile tuning curve."""
    rng = np.random.default_rng(3)
    true = opda.nonparametric.EmpiricalDistribution(rng.normal(30, 4, 200_000)).quantile_tuning_curve(np.arange(1, 13))
    inside = np.zeros(12)
    for _ in range(400):
        low, high = tuning_band(rng.normal(30, 4, 12))
        inside += (low <= true) & (true <= high)
    assert (inside / 400 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400)).all()


def test_crossings_name_the_methods_and_the_number_of_points():
    curves = {
        "steady": np.array([20.0, 21.0, 22.0, 22.5]),
        "late": np.array([10.0, 21.0, 23.0, 24.0]),
        "low": np.array([5.0, 6.0, 7.0]),
    }
    assert crossings(curves) == [Crossing(3, "steady", "late")]


def test_curves_that_only_touch_do_not_cross():
    assert crossings({"a": np.array([3.0, 4.0, 5.0]), "b": np.array([2.0, 4.0, 4.0])}) == []


def test_the_best_point_has_the_highest_mean_and_did_not_diverge():
    nothing = np.zeros(3, dtype=bool)
    assert best_point(np.array([30.0, 32.0, 31.0]), nothing) == 1
    assert best_point(np.array([30.0, 32.0, 31.0]), np.array([False, True, False])) == 2
    assert best_point(np.array([30.0, 30.0 + 1e-12, 29.0]), nothing) == 0
    assert best_point(np.array([math.nan, 3.0, 1.0]), nothing) == 1
    assert best_point(np.array([30.0]), np.array([True])) is None


def test_the_share_of_the_variance_is_that_of_scipys_analysis_of_variance():
    rng = np.random.default_rng(5)
    values = np.exp(rng.uniform(-8, -3, 24))
    scores = 30 + rng.normal(0, 2, 24) - (np.log(values) + 5) ** 2
    found = sensitivity(values, scores)
    ordered = scores[np.argsort(values)]
    groups = [ordered[:8], ordered[8:16], ordered[16:]]
    f = scipy.stats.f_oneway(*groups).statistic
    assert found.share == pytest.approx(f * 2 / (f * 2 + 21))
    assert found.share_by_chance == pytest.approx(2 / 23)
    means = [group.mean() for group in groups]
    assert found.effect == pytest.approx(max(means) - min(means))
    assert found.spearman == pytest.approx(scipy.stats.spearmanr(np.log(values), scores).statistic)
    assert found.best == (np.sort(values)[8], np.sort(values)[15])


def test_the_mean_share_without_an_effect_is_that_by_chance():
    rng = np.random.default_rng(6)
    found = [sensitivity(rng.uniform(size=12), rng.normal(size=12)) for _ in range(250)]
    assert np.mean([one.share for one in found]) == pytest.approx(found[0].share_by_chance, abs=0.04)


def test_a_hyperparameter_of_one_value_or_of_few_points_has_no_sensitivity():
    assert sensitivity(np.ones(6), np.arange(6.0)) is None
    assert sensitivity(np.arange(3.0), np.arange(3.0)) is None
    equal = sensitivity(np.arange(6.0), np.full(6, 30.0))
    assert equal.effect == 0
    assert math.isnan(equal.share)


@pytest.mark.parametrize(
    ("values", "bins"),
    [
        ([0.9, 0.0, 0.9, 0.5], [2, 0, 2, 1]),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 0, 0, 1, 1, 1, 2, 2, 2]),
        ([4, 3, 2, 1], [1, 1, 0, 0]),
    ],
)
def test_values_are_binned_by_quantiles(values, bins):
    assert quantile_bins(np.array(values, dtype=float)).tolist() == bins


def test_ranks_are_those_of_scipy_with_one_for_the_highest():
    scores = np.array([[30.0, 31.0, 29.0, 31.0 + 1e-12], [20.0, 25.0, 22.0, 21.0]])
    wanted = [scipy.stats.rankdata([-30, -31, -29, -31]), scipy.stats.rankdata([-20, -25, -22, -21])]
    np.testing.assert_array_equal(ranks(scores), wanted)


def test_mean_ranks_have_the_t_interval_over_the_studies():
    scores = np.random.default_rng(7).normal([1.0, 0.0, 0.0], 1.0, (5, 3))
    of_scipy = scipy.stats.rankdata(-scores, axis=1)
    for found, column in zip(mean_ranks(scores), of_scipy.T, strict=True):
        interval = scipy.stats.ttest_1samp(column, 0).confidence_interval()
        assert found.value == pytest.approx(column.mean())
        assert (found.low, found.high) == pytest.approx((max(1, interval.low), min(3, interval.high)))
    assert math.isnan(mean_ranks(scores[:1])[0].low)


def test_the_interval_over_studies_contains_the_variance_of_the_tuning():
    """95 % of the intervals contain the true mean; those over the seeds of one study do so far less often."""
    rng = np.random.default_rng(8)
    inside, of_one = 0, 0
    for _ in range(300):
        studies = [30 + rng.normal(0, 1) + rng.normal(0, 0.5, 8) for _ in range(5)]
        found, one = mean_over_studies(studies), mean_over_studies(studies[:1])
        inside += found.low <= 30 <= found.high
        of_one += one.low <= 30 <= one.high
    assert inside / 300 == pytest.approx(0.95, abs=0.04)
    assert of_one / 300 < 0.6


def test_the_probability_of_being_better_has_the_interval_of_clopper_and_pearson():
    found = probability_better(won=7, tied=0, n=10)
    interval = scipy.stats.beta.ppf([0.025, 0.975], [7, 8], [4, 3])
    assert found.value == 70
    assert (found.low, found.high) == pytest.approx(tuple(100 * interval))
    assert probability_better(won=0, tied=4, n=4).value == 50
