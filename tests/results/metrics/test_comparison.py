from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from results.metrics.comparison import Comparison, compare_pairs, holm, min_pairs, sign_flip_p, smallest_p, verdict
from results.metrics.intervals import Estimate

TIES = st.lists(st.integers(-6, 6).map(lambda images: images / 50), min_size=2, max_size=9).map(np.array)


def pairs(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    b = generator.normal(35, 1, n).round(2)
    return b + generator.normal(0.5, 1, n).round(2), b


def test_four_pairs_worked_by_hand():
    """d = 1, 2, 3, −1: mean 1.25, SD √(8.75/3) = 1.708, t(3) = 3.182: ± 3.182·1.708/2 = 2.717; 3 of 4 won.

    Of the 8 ways to sign 1, 2, 3, 1 up to a flip of all, |sum| is 7, 5, 5, 3, 3, 1, 1, 1: 3 reach the 5 that was seen.
    """
    comparison = compare_pairs(np.array([36.0, 37.0, 38.0, 34.0]), np.full(4, 35.0))
    assert comparison.test == "sign-flip, exact"
    assert comparison.difference.value == 1.25
    assert comparison.difference.low == pytest.approx(1.25 - 2.717, abs=2e-3)
    assert comparison.difference.high == pytest.approx(1.25 + 2.717, abs=2e-3)
    assert (comparison.won, comparison.p_value, comparison.smallest_p, comparison.n) == (3, 3 / 8, 0.125, 4)


@pytest.mark.parametrize("n", [*range(2, 13), 25])
def test_the_interval_is_that_of_scipys_paired_t_test_at_every_n(n):
    a, b = pairs(n)
    comparison = compare_pairs(a, b)
    wanted = stats.ttest_rel(a, b).confidence_interval(0.95)
    np.testing.assert_allclose([comparison.difference.low, comparison.difference.high], [wanted.low, wanted.high])


def test_random_sign_flips_follow_from_the_seed():
    """More than 20 pairs are Monte Carlo, and the comparison names it."""
    a, b = pairs(21)
    assert compare_pairs(a, b, seed=3) == compare_pairs(a, b, seed=3)
    assert compare_pairs(a, b, seed=3).p_value != compare_pairs(a, b, seed=4).p_value
    assert compare_pairs(a, b).test == "sign-flip, Monte Carlo"


def test_with_a_run_at_chance_the_shares_that_trained_are_compared():
    """Six pairs, of which the second side trained in none: McNemar's p is 2/64, and there is no interval."""
    a, b = np.full(7, 34.0), np.array([1.0] * 6 + [34.5])
    comparison = compare_pairs(a, b, trained=(np.ones(7, bool), b > 2))
    assert comparison.test == "McNemar, exact"
    assert comparison.p_value == stats.binomtest(6, 6, 0.5).pvalue == 2 / 64
    assert comparison.trained == (7, 1)
    assert math.isnan(comparison.difference.low)
    assert verdict(comparison, comparison.p_value) == "trains more often"
    assert verdict(comparison, 0.2) == "no difference in the share trained"
    swapped = compare_pairs(b, a, trained=(b > 2, np.ones(7, bool)))
    assert verdict(swapped, swapped.p_value) == "trains less often"


def test_a_small_difference_is_equal_within_the_margin():
    """The 90 % interval of ± 0.1 pp lies within ± 0.5 pp, that of ± 2 pp does not."""
    b = np.full(8, 30.0)
    signs = np.array([1.0, -1.0] * 4)
    assert compare_pairs(b + 0.1 * signs, b).equivalent
    assert not compare_pairs(b + 2.0 * signs, b).equivalent


@pytest.mark.parametrize("n", [2, 5, 6, 9, 10, 20, 21, 25])
def test_identical_runs_show_no_difference(n):
    """p is 1 and the interval has no width, by each of the methods."""
    a = np.full(n, 35.1)
    comparison = compare_pairs(a, a.copy())
    assert comparison.difference == Estimate(0.0, 0.0, 0.0, n)
    assert (comparison.won, comparison.tied, comparison.p_value) == (0, n, 1.0)
    assert verdict(comparison, 1.0) == "equal"


@pytest.mark.parametrize("n", [0, 1])
def test_a_single_pair_proves_nothing(n):
    comparison = compare_pairs(np.full(n, 36.0), np.full(n, 35.0))
    assert (comparison.p_value, comparison.smallest_p, comparison.n) == (1.0, 1.0, n)
    assert np.isnan([comparison.difference.low, comparison.difference.high]).all()
    np.testing.assert_equal([comparison.difference.value, comparison.won], [1.0, 1] if n else [math.nan, 0])


def test_what_is_not_paired_is_refused():
    with pytest.raises(ValueError, match="pairs"):
        compare_pairs(np.ones(3), np.ones(1))


@given(TIES)
@settings(deadline=None)
def test_the_sign_flip_p_is_scipys(differences):
    """With ties and zeros: scipy enumerates all 2^n sign flips, too; of whole images, for equal sums to be equal."""
    images = np.round(50 * differences)
    wanted = stats.permutation_test((images,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(differences) == pytest.approx(wanted.pvalue)


def test_sums_that_are_equal_but_for_rounding_count_as_equal():
    """−0.04 − 0.06 + 0.04 + 0.06 is not 0 in floats, though no sign flip is nearer to it; with 22 pairs, too."""
    even = np.array([-0.04, -0.06, 0.04, 0.06])
    assert sign_flip_p(even) == 1.0
    assert sign_flip_p(np.concatenate([even * k for k in range(1, 6)] + [[0.14, -0.14]])) == 1.0


def test_above_twenty_pairs_the_p_is_close_to_the_exact_one():
    """All 2^22 sums from two halves; within four standard errors √(p(1 − p)/100,000) of what is drawn.

    Twenty pairs are still exact: all on one side is 2^−19. Drawn, no p is below 1/100,000.
    """
    a, b = pairs(22, seed=5)
    d = a - b
    signs = 1 - 2 * ((np.arange(2**11)[:, None] >> np.arange(11)) & 1)
    sums = np.add.outer(signs @ d[:11], signs @ d[11:])
    exact = (np.abs(sums) >= abs(d.sum()) - 1e-9).mean()
    assert 0.0005 < exact < 0.9
    assert sign_flip_p(d) == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 100_000))
    assert sign_flip_p(np.ones(20)) == 2.0**-19
    assert sign_flip_p(np.ones(40)) == pytest.approx(1e-5)


@given(TIES, st.integers(1, 8))
def test_the_sign_flip_p_does_not_depend_on_side_scale_or_order(differences, scale):
    p = sign_flip_p(differences)
    assert p == sign_flip_p(-differences) == sign_flip_p(scale * differences) == sign_flip_p(differences[::-1])
    assert smallest_p(len(differences)) <= p <= 1


@given(TIES)
def test_turning_a_comparison_round_turns_its_numbers_round(differences):
    one = compare_pairs(35 + differences, np.full(len(differences), 35.0))
    other = compare_pairs(np.full(len(differences), 35.0), 35 + differences)
    assert one.won + other.won + one.tied == len(differences)
    assert one.p_value == other.p_value
    np.testing.assert_allclose(
        [other.difference.value, other.difference.low, other.difference.high],
        [-one.difference.value, -one.difference.high, -one.difference.low],
    )


def test_ties_are_counted_within_a_tolerance():
    """Won, tied, tied, lost, won; 0.1 + 0.2 equals 0.3."""
    comparison = compare_pairs(np.array([2.0, 0.1 + 0.2, 1.0, 0.0, 3.0]), np.array([1.0, 0.3, 1.0, 1.0, 1.0]))
    assert (comparison.won, comparison.tied, comparison.n) == (2, 2, 5)


@pytest.mark.parametrize(("n", "published"), [(4, 0.125), (5, 0.0625), (6, 0.031)])
def test_the_smallest_p_is_what_the_tables_say_and_what_a_clean_sweep_reaches(n, published):
    assert smallest_p(n) == pytest.approx(published, abs=5e-4)
    assert sign_flip_p(np.arange(1.0, n + 1)) == smallest_p(n)


def test_holm_adjusts_a_family_worked_by_hand():
    """p = 0.01, 0.04, 0.03, 0.005: 4·0.005 = 0.02, 3·0.01 = 0.03, 2·0.03 = 0.06, and 0.04 not below its forerunner."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_a_family_of_one_and_never_exceeds_one():
    assert list(holm([0.04])) == [0.04]
    assert list(holm([0.6, 1.0, 0.7])) == [1.0, 1.0, 1.0]
    assert holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_bonferroni_on_every_family_within_the_family(p_values):
    """Closed testing (Marcus, Peritz and Gabriel 1976): the worst Bonferroni p of all subsets that hold the one."""
    indices = range(len(p_values))
    subsets = [subset for size in indices for subset in combinations(indices, size + 1)]
    wanted = [max(min(1.0, len(s) * min(p_values[j] for j in s)) for s in subsets if i in s) for i in indices]
    np.testing.assert_allclose(holm(p_values), wanted)


@pytest.mark.parametrize(("family", "pairs"), [(0, 6), (1, 6), (2, 7), (3, 7), (4, 8), (25, 10)])
def test_a_larger_family_needs_more_pairs(family, pairs):
    """The fewest n with family·2^(1−n) ≤ 0.05: Holm's first step multiplies the smallest p by the family's size."""
    assert min_pairs(family) == pairs
    if family:
        assert family * smallest_p(pairs) <= 0.05
        assert pairs == 6 or family * smallest_p(pairs - 1) > 0.05


def test_what_could_never_be_rejected_is_no_verdict():
    """Three comparisons over six pairs: even the smallest p, 0.031, is 0.094 after Holm."""
    comparison = Comparison(Estimate(1.0, 0.5, 1.5, 6), "sign-flip, exact", 6, 0, 2**-5, 2**-5, 6)
    assert verdict(comparison, 3 * 2**-5, family=3) == "too few seeds"
    assert verdict(replace(comparison, n=7), 3 * 2**-6, family=3) == "better"
    assert verdict(comparison, 0.04, family=3) == "better"  # after another one with more pairs was rejected first


def test_a_verdict_needs_six_pairs_and_an_adjusted_p():
    comparison = Comparison(Estimate(1.0, 0.5, 1.5, 6), "sign-flip, exact", 6, 0, 2**-5, 2**-5, 6)
    assert verdict(comparison, 0.031) == "better"
    assert verdict(comparison, 0.05) == "better"
    assert verdict(comparison, 0.051) == "no difference shown"
    assert verdict(comparison, 0.031, alpha=0.01) == "too few seeds"
    assert verdict(replace(comparison, difference=Estimate(-1.0, -1.5, -0.5, 6)), 0.031) == "worse"
    assert verdict(replace(comparison, n=5), 0.0) == "too few seeds"
