"""Paired comparison of two configurations, with runs paired by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from results.metrics.intervals import CONFIDENCE, Estimate, mean_t_interval

Floats = npt.NDArray[np.float64]

MIN_BOOTSTRAP_PAIRS = 10
"""Minimum number of pairs for a bootstrap interval; with fewer it is too narrow, and Student's t is used."""

ALPHA = 0.05
MIN_PAIRS = 6
"""The smallest n with 2^(1−n), the smallest possible p, below 0.05."""

MAX_EXACT_PAIRS = 20
"""Maximum number of pairs for the exact test, which uses all 2^(n−1) sign flips: half a million."""

BOOTSTRAP_RESAMPLES = 9_999
SIGN_FLIP_RESAMPLES = 99_999


@dataclass(frozen=True)
class Comparison:
    """Difference of two configurations over n pairs of runs, in pp, first minus second."""

    difference: Estimate
    method: Literal["paired t", "bootstrap"]  # of the difference's interval
    wins: float  # share of pairs in which the first one is better, a tie counts ½; NaN for n = 0
    p_value: float  # two-sided, without correction for the family
    smallest_p: float  # smallest p that n pairs can give
    n: int


def compare_pairs(a: Floats, b: Floats, *, seed: int = 0) -> Comparison:
    """Compare ``a [n]`` with ``b [n]``, accuracies in percent; a[i] and b[i] were trained under the same seed.

    - difference: mean of d = a − b in pp; its 95 % interval is Student's t for n < 10, and the percentile bootstrap
      for n ≥ 10 (Efron and Tibshirani 1993);
    - wins: (#{d > 0} + ½·#{d = 0})/n, the paired probability of improvement (Agarwal et al. 2021, rliable);
    - p_value: :func:`sign_flip_p`.

    ``seed`` seeds the bootstrap's resamples, and the random sign flips for more than 20 pairs.

    Raises:
        ValueError: ``a`` and ``b`` have different shapes.
    """
    if a.shape != b.shape:
        raise ValueError(f"a has shape {a.shape} and b {b.shape}; pairs need equal shapes")
    differences = a - b
    n = len(differences)
    bootstrap = n >= MIN_BOOTSTRAP_PAIRS
    return Comparison(
        difference=_bootstrap_interval(differences, seed) if bootstrap else mean_t_interval(differences),
        method="bootstrap" if bootstrap else "paired t",
        wins=float(np.mean((np.sign(differences) + 1) / 2)) if n else math.nan,
        p_value=sign_flip_p(differences, seed=seed),
        smallest_p=smallest_p(n),
        n=n,
    )


def sign_flip_p(differences: Floats, *, seed: int = 0) -> float:
    """Return the two-sided p-value of the sign-flip test of paired ``differences [n]`` in pp (Fisher 1935, § 21).

    p = share of the 2^n sign vectors s with |Σ s_i·d_i| ≥ |Σ d_i|. Exact up to 20 pairs; above, Monte Carlo with
    99,999 random sign vectors from ``seed`` and the observed one, so p is at least 1/100,000
    (Phipson and Smyth 2010). scipy's permutation_test gives the same result, ten times slower.
    """
    n = len(differences)
    if n > MAX_EXACT_PAIRS:
        rng, extreme = np.random.default_rng(seed), 1
        for drawn in np.array_split(np.arange(SIGN_FLIP_RESAMPLES), 10):
            signs = 2.0 * rng.integers(0, 2, (len(drawn), n), dtype=np.int8) - 1
            extreme += int((_rounded(np.abs(signs @ differences)) >= _distance(differences, axis=0)).sum())
        return extreme / (SIGN_FLIP_RESAMPLES + 1)
    sums = differences[:1] if n else np.zeros(1)  # the first sign is fixed: flipping all signs does not change |sum|
    for difference in differences[1:]:
        sums = np.concatenate([sums + difference, sums - difference])
    return float(np.mean(_rounded(np.abs(sums)) >= _distance(differences, axis=0)))


def smallest_p(n: int) -> float:
    """Return the smallest two-sided p that n pairs can give: 2^(1−n), if all differences have one sign; 1 for n < 2.

    Two of the 2^n sign vectors are then as extreme as the observed one (Fisher 1935, § 21).
    """
    return 2.0 ** min(0, 1 - n)


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Return the p-values ``[m]`` of a family adjusted for its size ``[m]``, in the same order (Holm 1979).

    With p_(1) ≤ … ≤ p_(m): adjusted p_(i) = max_{j ≤ i} min(1, (m − j + 1)·p_(j)).
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order]))
    return adjusted


def min_pairs(family: int, alpha: float = ALPHA) -> int:
    """Return the smallest n with 2^(1−n) · ``family`` ≤ ``alpha``, where a Holm-corrected p can be significant."""
    return max(MIN_PAIRS, 1 + math.ceil(math.log2(max(family, 1) / alpha)))


def verdict(comparison: Comparison, adjusted_p: float, family: int = 1, alpha: float = ALPHA) -> str:
    """Return the verdict on the first configuration, from its p-value adjusted for a family of this size.

    ``better`` or ``worse``, by the sign of the mean difference, for adjusted_p ≤ alpha. Otherwise ``too few seeds`` if
    n pairs cannot be significant for any data: 2^(1−n) > 0.05 for n < 6 (Fisher 1935, § 21), and m·2^(1−n) > 0.05 in
    a family of m (Holm 1979). Otherwise ``no difference shown``.
    """
    if comparison.n >= MIN_PAIRS and adjusted_p <= alpha:
        return "better" if comparison.difference.value > 0 else "worse"
    return "too few seeds" if comparison.n < min_pairs(family, alpha) else "no difference shown"


def _distance(differences: Floats, axis: int) -> Floats:
    """Return the absolute values of the sums of ``differences`` along an axis, in pp."""
    return _rounded(np.abs(differences.sum(axis=axis)))


def _rounded(distances: Floats) -> Floats:
    """Return ``distances`` in pp without floating-point error, so that ties compare equal; one image is ≥ 0.01 pp."""
    return np.round(distances, 9)


def _bootstrap_interval(differences: Floats, seed: int) -> Estimate:
    """Estimate the mean of ``differences [n]``: from the 2.5 % to the 97.5 % quantile of the resamples' means."""
    interval = stats.bootstrap(
        (differences,), np.mean, confidence_level=CONFIDENCE, method="percentile", n_resamples=BOOTSTRAP_RESAMPLES,
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Estimate(float(np.mean(differences)), float(interval.low), float(interval.high), len(differences))
