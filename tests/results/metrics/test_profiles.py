from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from results.metrics.profiles import expected_best_of, interquartile_mean, performance_profile, profile_targets

INF = math.inf
times = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 6)),
    elements=st.one_of(st.integers(1, 50).map(float), st.just(INF)),
)
accuracies = st.lists(st.integers(50, 2500).map(lambda correct: correct / 50), min_size=1, max_size=5).map(np.array)


def test_a_performance_profile_worked_by_hand():
    """Ratios: 1, 1, ∞, unsolved by all; and 2, 1, 1, unsolved by all. Within 1: 2/4 and 2/4; within 2: 2/4 and 3/4."""
    profile = performance_profile(
        np.array([[2.0, 6.0, INF, INF], [4.0, 6.0, 10.0, INF]]), np.array([1.0, 1.9, 2.0, 100.0])
    )
    assert profile.tolist() == [[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.75, 0.75]]


def test_what_is_never_solved_counts_as_unsolved_within_any_ratio():
    assert performance_profile(np.full((2, 3), INF), np.array([1.0, INF])).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@given(times, st.lists(st.floats(1, 60), min_size=1, max_size=5))
def test_a_performance_profile_is_that_of_the_definition_counted_out(measured, taus):
    """It does not depend on the unit of time: powers of two scale without rounding."""
    best = [min(column) for column in measured.T]
    wanted = [[sum(t < INF and t / b <= tau for t, b in zip(row, best, strict=True)) / len(row) for tau in taus]
              for row in measured]  # fmt: skip
    profile = performance_profile(measured, np.array(taus))
    np.testing.assert_allclose(profile, wanted)
    np.testing.assert_array_equal(performance_profile(measured * 4, np.array(taus)), profile)


@given(times)
def test_a_performance_profile_rises_to_the_share_that_was_solved_at_all(measured):
    profile = performance_profile(measured, np.array([1.0, 2.0, 10.0, 50.0]))
    assert (np.diff(profile, axis=1) >= 0).all()
    np.testing.assert_allclose(profile[:, -1], np.isfinite(measured).mean(axis=1))
    assert profile[:, 0].sum() >= np.isfinite(measured).any(axis=0).mean() - 1e-9  # each solved problem has a best one


@pytest.mark.parametrize("time", [0.0, -1.0, math.nan])
def test_a_profile_refuses_what_is_no_time(time):
    with pytest.raises(ValueError, match="above 0"):
        performance_profile(np.array([[time, 1.0]]), np.array([1.0]))


def test_a_profiles_targets_run_from_half_of_the_best_to_the_best():
    np.testing.assert_allclose(profile_targets(40.0), [20, 24, 28, 32, 36, 40])


@given(st.floats(1, 100))
def test_the_best_run_reaches_the_last_target(best_accuracy):
    """To the last bit, or a profile's end would depend on rounding."""
    assert profile_targets(best_accuracy)[-1] == best_accuracy


def test_the_expected_best_of_two_worked_by_hand():
    """Of 10 and 20: one draw has mean 15; of two draws, only 10-10 has maximum 10: (10 + 3·20)/4 = 17.5; then 18.75."""
    np.testing.assert_allclose(expected_best_of(np.array([20.0, 10.0]), 3), [15.0, 17.5, 18.75])


@given(accuracies)
def test_the_expected_best_is_the_mean_maximum_of_all_tuples(finals):
    """Ties among them."""
    wanted = [np.mean([max(draw) for draw in product(finals, repeat=m)]) for m in (1, 2, 3, 4)]
    np.testing.assert_allclose(expected_best_of(finals, 4), wanted)


@given(accuracies, st.integers(1, 30))
def test_the_expected_best_rises_from_the_mean_and_never_beyond_the_best(finals, most):
    expected = expected_best_of(finals, most)
    assert expected.shape == (most,)
    assert expected[0] == pytest.approx(finals.mean())
    assert (np.diff(expected) >= -1e-9).all()
    assert (expected <= finals.max() + 1e-9).all()


def test_the_best_of_nothing_is_unknown():
    assert np.isnan(expected_best_of(np.array([]), 2)).tolist() == [True, True]


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([100.0, 2.0, 4.0, 1.0], 3.0),  # (2 + 4)/2
        ([9.0, 1.0, 2.0, 3.0, 4.0], 3.0),  # (2 + 3 + 4)/3: ⌊5/4⌋ = 1 left out on each side
        ([1.0, 1.0, 2.0, 3.0, 5.0, 6.0, 90.0, 99.0], 4.0),  # (2 + 3 + 5 + 6)/4
        ([1.0] * 4, 1.0),
        ([1.0, 2.0, 3.0], math.nan),
        ([], math.nan),
    ],
)
def test_the_interquartile_mean_leaves_out_a_quarter_on_each_side(values, mean):
    np.testing.assert_equal(interquartile_mean(np.array(values)), mean)
