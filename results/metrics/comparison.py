"""Who is better, and how sure: two configurations, their runs paired by seed."""

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

BOOTSTRAP_FROM = 10
"""Pairs; below it a bootstrap's intervals are too narrow, and Student's t is used."""

ALPHA = 0.05
FEWEST_PAIRS = 6
"""The fewest pairs whose smallest p, 2^(1−n), is below 0.05."""

MOST_EXACT_PAIRS = 20
"""Pairs whose 2^(n−1) sign flips are all looked at: half a million."""

BOOTSTRAP_RESAMPLES = 9_999
SIGN_FLIP_RESAMPLES = 99_999


@dataclass(frozen=True)
class Comparison:
    """How a configuration differs from another one over n pairs of runs: differences in pp, first minus second."""

    difference: Estimate
    method: Literal["paired t", "bootstrap"]  # of the difference's interval
    wins: float  # share of pairs that the first one won, a tie ½; NaN for n = 0
    p_value: float  # two-sided, not yet corrected for the family
    smallest_p: float  # that n pairs can reach at all
    n: int


def compare_pairs(a: Floats, b: Floats, *, seed: int = 0) -> Comparison:
    """Compare ``a [n]`` with ``b [n]``, accuracies in percent; a[i] and b[i] were trained under the same seed.

    - difference: mean of d = a − b in pp; its 95 % interval is Student's t for n < 10 and from 10 on the percentile
      bootstrap (Efron and Tibshirani 1993);
    - wins: (#{d > 0} + ½·#{d = 0})/n, the paired probability of improvement (Agarwal et al. 2021, rliable);
    - p_value: :func:`sign_flip_p`.

    ``seed`` seeds what is drawn: the bootstrap's resamples, and the sign flips above 20 pairs.

    Raises:
        ValueError: ``a`` and ``b`` are not pairs.
    """
    if a.shape != b.shape:
        raise ValueError(f"a has shape {a.shape} and b {b.shape}; pairs need the same")
    differences = a - b
    n = len(differences)
    bootstrap = n >= BOOTSTRAP_FROM
    return Comparison(
        difference=_bootstrap_interval(differences, seed) if bootstrap else mean_t_interval(differences),
        method="bootstrap" if bootstrap else "paired t",
        wins=float(np.mean((np.sign(differences) + 1) / 2)) if n else math.nan,
        p_value=sign_flip_p(differences, seed=seed),
        smallest_p=smallest_p(n),
        n=n,
    )


def sign_flip_p(differences: Floats, *, seed: int = 0) -> float:
    """Return the two-sided p-value of paired ``differences [n]`` in pp having no side (Fisher 1935, § 21).

    p = share of the 2^n ways s to choose their signs with |Σ s_i·d_i| ≥ |Σ d_i|. Exact up to 20 pairs; above,
    Monte Carlo with 99,999 sign flips drawn from ``seed`` and the flip that was seen, so p is never below 1/100,000
    (Phipson and Smyth 2010). scipy's permutation_test gives the same, ten times slower.
    """
    n = len(differences)
    if n > MOST_EXACT_PAIRS:
        rng, as_far = np.random.default_rng(seed), 1
        for drawn in np.array_split(np.arange(SIGN_FLIP_RESAMPLES), 10):
            signs = 2.0 * rng.integers(0, 2, (len(drawn), n), dtype=np.int8) - 1
            as_far += int((_rounded(np.abs(signs @ differences)) >= _distance(differences, axis=0)).sum())
        return as_far / (SIGN_FLIP_RESAMPLES + 1)
    sums = differences[:1] if n else np.zeros(1)  # the first sign stays: flipping all of them changes no |sum|
    for difference in differences[1:]:
        sums = np.concatenate([sums + difference, sums - difference])
    return float(np.mean(_rounded(np.abs(sums)) >= _distance(differences, axis=0)))


def smallest_p(n: int) -> float:
    """Return the smallest two-sided p that n pairs can reach: 2^(1−n), all differences on one side; 1 for n < 2.

    Two of the 2^n sign flips are then as extreme as what was seen (Fisher 1935, § 21).
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


def fewest_pairs(family: int, alpha: float = ALPHA) -> int:
    """Return the fewest pairs whose smallest p, 2^(1−n), times the family's size is not above ``alpha`` (Holm 1979)."""
    return max(FEWEST_PAIRS, 1 + math.ceil(math.log2(max(family, 1) / alpha)))


def verdict(comparison: Comparison, adjusted_p: float, family: int = 1, alpha: float = ALPHA) -> str:
    """Say what the first one of a comparison is, given its p-value adjusted for a family of that size.

    ``better`` or ``worse`` for adjusted_p ≤ alpha by the sign of the mean difference, ``no difference shown`` above,
    and ``n too small to reject`` where n pairs alone could not have been rejected: below 6 pairs, 2^(1−n) > 0.05
    (Fisher 1935, § 21), and in a family of m where m·2^(1−n) > 0.05 (Holm 1979).
    """
    if comparison.n >= FEWEST_PAIRS and adjusted_p <= alpha:
        return "better" if comparison.difference.value > 0 else "worse"
    return "n too small to reject" if comparison.n < fewest_pairs(family, alpha) else "no difference shown"


def _distance(differences: Floats, axis: int) -> Floats:
    """Return how far from 0 the sums of ``differences`` along an axis are, in pp, on either side."""
    return _rounded(np.abs(differences.sum(axis=axis)))


def _rounded(distances: Floats) -> Floats:
    """Return ``distances`` in pp such that those that are equal on paper are equal; images are 0.01 pp and more."""
    return np.round(distances, 9)


def _bootstrap_interval(differences: Floats, seed: int) -> Estimate:
    """Estimate the mean of ``differences [n]``: from the 2.5 % to the 97.5 % quantile of the resamples' means."""
    interval = stats.bootstrap(
        (differences,), np.mean, confidence_level=CONFIDENCE, method="percentile", n_resamples=BOOTSTRAP_RESAMPLES,
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Estimate(float(np.mean(differences)), float(interval.low), float(interval.high), len(differences))
