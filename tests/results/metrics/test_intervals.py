from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from results.metrics.intervals import Estimate, binomial_standard_error, mean_t_interval, sd_chi2_interval

accuracies = st.lists(st.integers(0, 5000).map(lambda correct: correct / 50), min_size=2, max_size=12).map(np.array)


def test_the_t_interval_of_three_values_worked_by_hand():
    """Mean 36, SD √((4 + 0 + 4)/2) = 2; the t table has 4.303 for 2 degrees: 36 ± 4.303·2/√3 = 36 ± 4.969."""
    estimate = mean_t_interval(np.array([34.0, 36.0, 38.0]))
    assert (estimate.value, estimate.n) == (36.0, 3)
    assert estimate.low == pytest.approx(31.031, abs=1e-3)
    assert estimate.high == pytest.approx(40.969, abs=1e-3)


@given(accuracies)
def test_the_t_interval_is_that_of_scipys_paired_test_against_zero(values):
    if np.ptp(values) == 0:
        return  # scipy has no answer there
    wanted = stats.ttest_rel(values, np.zeros(len(values))).confidence_interval(0.95)
    estimate = mean_t_interval(values)
    np.testing.assert_allclose([estimate.low, estimate.high], [wanted.low, wanted.high], rtol=1e-9, atol=1e-9)


@given(accuracies, st.floats(-50, 50))
def test_a_shift_moves_the_t_interval_and_leaves_the_sd_interval(values, shift):
    here, there = mean_t_interval(values), mean_t_interval(values + shift)
    np.testing.assert_allclose(
        [there.value, there.low, there.high], np.array([here.value, here.low, here.high]) + shift, atol=1e-8
    )
    here, there = sd_chi2_interval(values), sd_chi2_interval(values + shift)
    np.testing.assert_allclose([there.value, there.low, there.high], [here.value, here.low, here.high], atol=1e-8)


def test_equal_values_have_a_t_interval_of_no_width():
    assert mean_t_interval(np.full(4, 1.0)) == Estimate(1.0, 1.0, 1.0, 4)


@pytest.mark.parametrize(("values", "mean"), [([], math.nan), ([35.5], 35.5)])
def test_fewer_than_two_values_have_no_interval(values, mean):
    """One value is still its own mean; a spread it does not have."""
    estimate, spread = mean_t_interval(np.array(values)), sd_chi2_interval(np.array(values))
    np.testing.assert_equal(estimate.value, mean)
    assert estimate.n == spread.n == len(values)
    assert np.isnan([estimate.low, estimate.high, spread.value, spread.low, spread.high]).all()


def test_the_interval_of_an_sd_worked_with_the_chi2_table():
    """SD 2 of 3 values; the table has 7.378 and 0.0506 for 2 degrees: 2·√(2/7.378) = 1.041, 2·√(2/0.0506) = 12.57."""
    estimate = sd_chi2_interval(np.array([34.0, 36.0, 38.0]))
    assert (estimate.value, estimate.n) == (2.0, 3)
    assert estimate.low == pytest.approx(1.041, abs=1e-3)
    assert estimate.high == pytest.approx(12.57, abs=1e-2)


@given(st.integers(2, 60))
def test_the_bounds_of_an_sd_are_where_a_chi2_test_just_rejects(n):
    """The other way round: were σ a bound, the SD that was seen would lie at 2.5 % of its distribution."""
    values = np.random.default_rng(n).normal(35, 1, n)
    estimate = sd_chi2_interval(values)
    seen = (n - 1) * np.var(values, ddof=1)
    assert stats.chi2.sf(seen / estimate.low**2, n - 1) == pytest.approx(0.025)
    assert stats.chi2.cdf(seen / estimate.high**2, n - 1) == pytest.approx(0.025)


def test_seeds_that_agree_have_no_sd():
    assert sd_chi2_interval(np.full(4, 1.0)) == Estimate(0.0, 0.0, 0.0, 4)


@pytest.mark.parametrize(("images", "published"), [(5_000, 0.67), (10_000, 0.48)])
def test_the_binomial_standard_error_near_35_percent_is_what_the_tables_say(images, published):
    """100·√(0.35·0.65/5000) = 0.6745; between two runs 1.96·√2·0.6745 = 1.87 pp, under 1.9."""
    error = binomial_standard_error(35.0, images)
    assert round(error, 2) == published
    assert error == pytest.approx(stats.binom.std(images, 0.35) / images * 100)


def test_an_accuracy_without_doubt_has_no_binomial_error():
    assert binomial_standard_error(0.0, 5_000) == binomial_standard_error(100.0, 5_000) == 0.0
