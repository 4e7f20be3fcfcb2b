from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import integrate

from results.metrics.convergence import (
    area_under_curve,
    best,
    default_target,
    epochs_to_share_of_final,
    epochs_to_target,
    hits,
    median_with_misses,
    seconds_to_target,
    speed_class,
)

INF = math.inf
CURVES = np.array(
    [
        [10.0, 20.0, 30.0, 25.0],  # falls at the end
        [5.0, 10.0, 15.0, 20.0],
        [8.0, 19.0, 1.0, 1.0],  # diverges in epoch 3
    ]
)
DIVERGED = np.array([False, False, True])

curves = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 12)),
    elements=st.integers(1, 5000).map(lambda correct: correct / 50),
)


def test_epochs_to_target_count_from_one_and_a_miss_is_infinite():
    """20 is reached exactly in epochs 2 and 4, and never by the third run."""
    assert list(epochs_to_target(CURVES, 20.0)) == [2.0, 4.0, INF]
    assert list(epochs_to_target(CURVES, 30.1)) == [INF, INF, INF]


def test_a_diverged_run_is_a_miss_whatever_it_reached_before():
    """Also of a target at or below chance, which its curve keeps after the divergence."""
    assert list(epochs_to_target(CURVES, 15.0)) == [2.0, 3.0, 2.0]
    assert list(epochs_to_target(CURVES, 15.0, diverged=DIVERGED)) == [2.0, 3.0, INF]
    assert list(epochs_to_target(CURVES, 0.5, diverged=DIVERGED)) == [1.0, 1.0, INF]
    assert list(seconds_to_target(CURVES, np.ones((3, 4)), 15.0, diverged=DIVERGED)) == [2.0, 3.0, INF]


@given(curves, st.floats(0, 110), st.floats(0, 110))
def test_a_higher_target_is_never_reached_sooner(accuracy, one, other):
    low, high = sorted([one, other])
    assert (epochs_to_target(accuracy, low) <= epochs_to_target(accuracy, high)).all()


@given(curves, st.floats(0, 110))
def test_epochs_to_target_are_those_of_a_walk_along_the_curve(accuracy, target):
    walked = [next((e for e, a in enumerate(run, start=1) if a >= target), INF) for run in accuracy]
    assert list(epochs_to_target(accuracy, target)) == walked


@given(curves, st.floats(0, 110))
def test_epochs_of_a_second_each_take_as_many_seconds(accuracy, target):
    seconds = seconds_to_target(accuracy, np.ones_like(accuracy), target)
    np.testing.assert_array_equal(seconds, epochs_to_target(accuracy, target))


def test_seconds_to_target_include_the_epoch_that_reaches_it():
    """0.5 + 0.25 = 0.75 for two epochs; 4·0.25 = 1 for four. What was not measured later on does not matter."""
    seconds = np.array([[0.5, 0.25, np.nan, np.nan], [0.25] * 4, [1.0, 1.0, np.nan, np.nan]])
    assert list(seconds_to_target(CURVES, seconds, 20.0)) == [0.75, 1.0, INF]


@pytest.mark.parametrize(
    ("times", "median", "reached"),
    [
        ([3.0, INF, 5.0], 5.0, 2),
        ([3.0, INF, INF], INF, 1),
        ([3.0, 5.0, INF, INF], INF, 2),  # (5 + ∞)/2
        ([2.0, 3.0, 5.0, INF], 4.0, 3),
        ([INF, INF], INF, 0),
        ([7.0], 7.0, 1),
        ([], math.nan, 0),
    ],
)
def test_misses_enter_the_median_as_infinity(times, median, reached):
    np.testing.assert_equal(median_with_misses(np.array(times)), median)
    assert hits(np.array(times)) == reached


@pytest.mark.parametrize(
    ("median", "word"),
    [
        (1.0, "very fast"), (20.0, "very fast"), (20.5, "fast"), (25.0, "fast"), (25.5, "medium"), (40.0, "medium"),
        (40.5, "slow"), (50.0, "slow"), (INF, "fewer than half"), (math.nan, None),
    ],
)  # fmt: skip
def test_the_words_for_speed_change_just_above_their_bounds(median, word):
    """Of 50 epochs, 0.4 are 20, 0.5 are 25 and 0.8 are 40."""
    assert speed_class(median, 50) == word


def test_epochs_to_95_percent_of_the_final_accuracy_refer_to_the_same_run():
    """0.95·25 = 23.75 is passed in epoch 3; 0.95·20 = 19 in epoch 4; a run that ends at chance is there at once."""
    assert list(epochs_to_share_of_final(CURVES)) == [3.0, 4.0, 1.0]


def test_exactly_the_share_is_enough():
    """0.5·20 = 10 is what the second run has in epoch 2."""
    assert epochs_to_share_of_final(CURVES[1:2], share=0.5)[0] == 2.0


@given(curves, st.floats(0, 1), st.floats(0, 1))
def test_a_share_of_the_end_is_always_reached_and_a_larger_one_never_sooner(accuracy, one, other):
    small, large = sorted([one, other])
    sooner, later = epochs_to_share_of_final(accuracy, small), epochs_to_share_of_final(accuracy, large)
    assert (sooner <= later).all()
    assert (later <= accuracy.shape[1]).all()


def test_the_area_under_a_curve_worked_by_hand():
    """(15 + 25 + 27.5)/3 = 22.5; (7.5 + 12.5 + 17.5)/3 = 12.5; (13.5 + 10 + 1)/3 = 24.5/3."""
    np.testing.assert_allclose(area_under_curve(CURVES), [22.5, 12.5, 24.5 / 3])


@given(curves)
def test_the_area_is_scipys_and_lies_between_the_least_and_the_best(accuracy):
    area = area_under_curve(accuracy)
    if accuracy.shape[1] == 1:
        assert np.isnan(area).all()
        return
    wanted = [integrate.trapezoid(run, dx=1.0) / (len(run) - 1) for run in accuracy]
    np.testing.assert_allclose(area, wanted)
    assert (area >= accuracy.min(axis=1) - 1e-9).all()
    assert (area <= accuracy.max(axis=1) + 1e-9).all()


def test_the_best_accuracy_comes_with_the_first_epoch_that_has_it():
    value, epoch = best(np.array([[10.0, 30.0, 30.0, 20.0], [1.0, 1.0, 1.0, 1.0]]))
    assert list(value) == [30.0, 1.0]
    assert list(epoch) == [2.0, 1.0]


def test_one_epoch_is_a_curve_too():
    """All measures but the area have an answer."""
    accuracy = np.array([[4.0], [1.0]])
    assert list(epochs_to_target(accuracy, 4.0)) == [1.0, INF]
    assert list(epochs_to_share_of_final(accuracy)) == [1.0, 1.0]
    assert [list(part) for part in best(accuracy)] == [[4.0, 1.0], [1.0, 1.0]]
    assert np.isnan(area_under_curve(accuracy)).all()


def test_the_default_target_is_95_percent_of_the_median():
    assert default_target(np.array([36.0, 10.0, 40.0])) == pytest.approx(34.2)
    assert math.isnan(default_target(np.array([])))


def test_thresholds_are_reached_on_paper():
    """0.95 · 33.2 is 31.54, and in floating point a little more."""
    accuracy = np.array([[10.0, 31.54, 33.2]])
    assert 0.95 * 33.2 > 31.54
    assert epochs_to_target(accuracy, 0.95 * 33.2).tolist() == [2]
    assert epochs_to_share_of_final(accuracy).tolist() == [2]
