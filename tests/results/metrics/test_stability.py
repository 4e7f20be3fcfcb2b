from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from results.metrics.stability import at_chance, lr_sensitivity, max_drawdown, stability_class, tail_sd

curves = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 3), st.integers(5, 80)),
    elements=st.integers(0, 5000).map(lambda correct: correct / 50),
)


def test_the_spread_of_a_tail_worked_by_hand():
    """Residuals 1, −2, 0, 2, −1 have sum and slope 0 (−2 + 2 + 0 + 2 − 2): √((1 + 4 + 0 + 4 + 1)/3) = √(10/3)."""
    jitter = np.array([1.0, -2.0, 0.0, 2.0, -1.0])
    climb = np.array([30.0, 31.0, 32.0, 33.0, 34.0])
    np.testing.assert_allclose(tail_sd(np.stack([30.0 + jitter, climb + jitter])), math.sqrt(10 / 3))


@pytest.mark.parametrize(("epochs", "tail"), [(5, 5), (10, 5), (50, 5), (51, 6), (60, 6), (70, 7), (71, 8), (200, 20)])
def test_the_tail_is_the_last_tenth_and_five_epochs_at_least(epochs, tail):
    """Epochs before the tail change nothing, its first epoch does; 70 epochs have a tail of 7, not 8."""
    accuracy = np.random.default_rng(epochs).uniform(30, 40, (1, epochs))
    spread = tail_sd(accuracy)
    polynomial = np.polynomial.Polynomial.fit(np.arange(tail), accuracy[0, -tail:], 1, full=True)
    np.testing.assert_allclose(spread, np.sqrt(polynomial[1][0] / (tail - 2)))
    accuracy[0, :-tail] = 1.0
    np.testing.assert_array_equal(tail_sd(accuracy), spread)
    accuracy[0, -tail] = 90.0
    assert tail_sd(accuracy)[0] > spread[0]


@given(curves)
def test_the_spread_of_a_tail_is_that_of_scipys_regression(accuracy):
    """linregress gives the slope's standard error, s/√Σ(e − ē)², from which s follows; for a flat run it gives NaN."""
    k = max(5, math.ceil(accuracy.shape[1] / 10))
    time = np.arange(k)
    wanted = [stats.linregress(time, run[-k:]).stderr * np.sqrt(((time - time.mean()) ** 2).sum()) for run in accuracy]
    np.testing.assert_allclose(tail_sd(accuracy), np.nan_to_num(wanted), rtol=1e-5, atol=1e-5)


@given(curves, st.floats(-10, 10), st.floats(-5, 5))
def test_a_line_added_to_a_curve_leaves_the_spread_of_its_tail(accuracy, intercept, slope):
    line = intercept + slope * np.arange(accuracy.shape[1])
    np.testing.assert_allclose(tail_sd(accuracy + line), tail_sd(accuracy), atol=1e-6)


@pytest.mark.parametrize("epochs", [1, 4])
def test_fewer_than_five_epochs_have_no_tail(epochs):
    spread = tail_sd(np.full((2, epochs), 1.0))
    assert spread.shape == (2,)
    assert np.isnan(spread).all()


def test_a_drawdown_is_from_the_best_before_to_the_lowest_after():
    """30 → 22 is 8, though 25 → 35 came between 25 and the end; a climb has none; a divergence from 20 to 1 is 19."""
    accuracy = np.array(
        [
            [10.0, 30.0, 22.0, 25.0, 35.0, 33.0],
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            [15.0, 20.0, 1.0, 1.0, 1.0, 1.0],
            [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        ]
    )
    assert list(max_drawdown(accuracy)) == [8.0, 0.0, 19.0, 0.0]
    assert list(max_drawdown(accuracy[:, :1])) == [0.0, 0.0, 0.0, 0.0]


@given(curves)
def test_a_drawdown_is_the_largest_of_all_falls_between_two_epochs(accuracy):
    falls = [max(run[i] - run[j] for i in range(len(run)) for j in range(i, len(run))) for run in accuracy]
    np.testing.assert_array_equal(max_drawdown(accuracy), falls)


def test_below_twice_chance_nothing_was_learned():
    """2 % itself is not below it."""
    assert list(at_chance(np.array([1.0, 1.98, 2.0, 35.0]))) == [True, True, False, False]


@pytest.mark.parametrize(
    ("seed_sd", "word"),
    [
        (0.0, "very high"), (0.5, "very high"), (0.51, "high"), (1.0, "high"), (1.01, "medium"), (2.0, "medium"),
        (2.01, "low"), (15.0, "low"),
    ],
)  # fmt: skip
def test_the_words_for_stability_change_just_above_their_bounds(seed_sd, word):
    assert stability_class(seed_sd, 10, 0.0) == word


def test_one_seed_says_nothing_about_stability():
    assert stability_class(0.3, 9, 0.0) is None
    assert stability_class(0.0, 1, 0.0) is None
    assert stability_class(math.nan, 0, math.nan) is None


def test_a_configuration_at_chance_is_not_stable_however_well_its_runs_agree():
    """All diverged is SD 0; where some learned, the SD is that of two groups."""
    assert stability_class(0.0, 12, 1.0) is None
    assert stability_class(16.7, 12, 2 / 3) is None


def test_lr_sensitivity_is_the_share_of_rates_near_the_best():
    """35 and 33 are within 2 pp of 35, 32.9 and 1 are not: 2/4."""
    assert lr_sensitivity({0.001: 32.9, 0.01: 33.0, 0.1: 35.0, 1.0: 1.0}) == 0.5


def test_a_dead_grid_is_insensitive_and_a_short_one_says_nothing():
    assert lr_sensitivity(dict.fromkeys([0.001, 0.01, 0.1, 1.0], 1.0)) == 1.0
    assert math.isnan(lr_sensitivity({0.01: 33.0, 0.1: 35.0, 1.0: 1.0}))
    assert math.isnan(lr_sensitivity({}))


@given(st.dictionaries(st.floats(1e-6, 10), st.integers(0, 100).map(float), min_size=4, max_size=9))
def test_lr_sensitivity_depends_on_gaps_and_not_on_the_rates(finals):
    share = lr_sensitivity(finals)
    assert 1 / len(finals) <= share <= 1
    assert share == lr_sensitivity({2 * lr: final + 5 for lr, final in finals.items()})
