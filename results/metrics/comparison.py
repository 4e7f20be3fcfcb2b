"""Paired comparison of two configurations, with runs paired by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from results.metrics.equivalence import LEVEL, MARGIN, equivalence, mcnemar_p
from results.metrics.intervals import TOLERANCE, Estimate, mean_t_interval

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ALPHA = 0.05
MIN_PAIRS = 6
"""The smallest n with 2^(1−n), the smallest possible p, below 0.05."""

MAX_EXACT_PAIRS = 20
"""Maximum number of pairs for the exact test, which uses all 2^(n−1) sign flips: half a million."""

SIGN_FLIP_RESAMPLES = 99_999

SIGN_FLIP, SIGN_FLIP_DRAWN, MCNEMAR = "sign-flip, exact", "sign-flip, Monte Carlo", "McNemar, exact"

EQUAL, TOO_FEW, NO_DIFFERENCE = "equal", "too few seeds", "no difference shown"
BETTER, WORSE = "better", "worse"
TRAINS_MORE, TRAINS_LESS, SAME_SHARE = "trains more often", "trains less often", "no difference in the share trained"


@dataclass(frozen=True)
class Comparison:
    """Difference of two configurations over n pairs of runs, in pp, first minus second."""

    difference: Estimate  # 95 % paired t interval; without bounds where a run did not train
    test: str  # one of SIGN_FLIP, SIGN_FLIP_DRAWN, MCNEMAR
    won: int  # pairs in which the first one is better by more than 1e-9 pp
    tied: int
    p_value: float  # two-sided, without correction for the family
    smallest_p: float  # smallest p that n pairs can give
    n: int
    sd: float = math.nan  # of the paired differences, in pp
    equivalent: bool = False  # the 90 % interval of the difference lies within ± the margin
    trained: tuple[int, int] = (0, 0)  # runs of the first and of the second one that trained

    @property
    def all_trained(self) -> bool:
        """Whether no run of either side ended at chance, so that mean accuracies can be compared."""
        return self.test != MCNEMAR


def compare_pairs(
    a: Floats, b: Floats, *, trained: tuple[Bools, Bools] | None = None, margin: float = MARGIN,
    level: float = LEVEL, seed: int = 0,
) -> Comparison:  # fmt: skip
    """Compare ``a [n]`` with ``b [n]``, accuracies in percent; a[i] and b[i] were trained under the same seed.

    - difference: mean of d = a − b in pp, with its 95 % interval, Student's t at every n (Student 1908);
    - won, tied: numbers of pairs with d > 0 and d = 0, where differences up to 1e-9 pp are 0;
    - p_value: :func:`sign_flip_p`. Where a run did not train, the sign-flip test's symmetric differences are not
      plausible: p is that of McNemar's exact test of the shares that trained, and the difference has no interval;
    - equivalent: the two one-sided tests of :mod:`results.metrics.equivalence` with ``margin`` in pp.

    Args:
        a: ``[n]``.
        b: ``[n]``.
        trained: for each side ``[n]``, whether the run did not diverge and did not end at chance; None: all trained.
        margin: in pp.
        level: of the tests of equivalence.
        seed: of the random sign flips for more than 20 pairs.

    Raises:
        ValueError: ``a`` and ``b`` have different shapes.
    """
    if a.shape != b.shape:
        raise ValueError(f"a has shape {a.shape} and b {b.shape}; pairs need equal shapes")
    differences = _rounded(a - b)
    n = len(differences)
    difference = mean_t_interval(differences)
    sides = trained or (np.ones(n, dtype=np.bool_), np.ones(n, dtype=np.bool_))
    all_trained = bool(sides[0].all() and sides[1].all())
    if not all_trained:
        difference = Estimate(difference.value, math.nan, math.nan, n)
    drawn = n > MAX_EXACT_PAIRS
    return Comparison(
        difference=difference,
        test=MCNEMAR if not all_trained else SIGN_FLIP_DRAWN if drawn else SIGN_FLIP,
        won=int((differences > TOLERANCE).sum()),
        tied=int((np.abs(differences) <= TOLERANCE).sum()),
        p_value=sign_flip_p(differences, seed=seed) if all_trained else mcnemar_p(*sides),
        smallest_p=smallest_p(n),
        n=n,
        sd=float(np.std(differences, ddof=1)) if n > 1 and all_trained else math.nan,
        equivalent=n > 1 and all_trained and equivalence(differences, margin, level) == "equal",
        trained=(int(sides[0].sum()), int(sides[1].sum())),
    )


def sign_flip_p(differences: Floats, *, seed: int = 0) -> float:
    """Return the two-sided p-value of the sign-flip test of paired ``differences [n]`` in pp (Fisher 1935, § 21).

    p = share of the 2^n sign vectors s with |Σ s_i·d_i| ≥ |Σ d_i|. Exact up to 20 pairs; above, Monte Carlo with
    99,999 random sign vectors from ``seed`` and the observed one, so p is at least 1/100,000
    (Phipson and Smyth 2010). scipy's permutation_test gives the same result, ten times slower. The test assumes
    differences that are symmetric around their mean.
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

    Two of the 2^n sign vectors are then as extreme as the observed one (Fisher 1935, § 21). The same holds for
    McNemar's exact test, if all n pairs are discordant in one direction.
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

    ``equal`` if every difference is 0. ``better`` or ``worse``, by the sign of the mean difference, for
    adjusted_p ≤ alpha. Otherwise ``too few seeds`` if n pairs cannot be significant for any data: 2^(1−n) > 0.05 for
    n < 6 (Fisher 1935, § 21), and m·2^(1−n) > 0.05 in a family of m (Holm 1979). Otherwise ``no difference shown``.
    Where a run did not train, the verdict is on the share of runs that trained.
    """
    n = comparison.n
    if n and comparison.tied == n and comparison.all_trained:
        return EQUAL
    significant = n >= MIN_PAIRS and adjusted_p <= alpha + TOLERANCE
    if significant and not comparison.all_trained:
        return TRAINS_MORE if comparison.trained[0] > comparison.trained[1] else TRAINS_LESS
    if significant:
        return BETTER if comparison.difference.value > 0 else WORSE
    if n < min_pairs(family, alpha):
        return TOO_FEW
    return NO_DIFFERENCE if comparison.all_trained else SAME_SHARE


def _distance(differences: Floats, axis: int) -> Floats:
    """Return the absolute values of the sums of ``differences`` along an axis, in pp."""
    return _rounded(np.abs(differences.sum(axis=axis)))


def _rounded(distances: Floats) -> Floats:
    """Return ``distances`` in pp without floating-point error, so that ties compare equal; one image is ≥ 0.01 pp."""
    return np.round(distances, 9)
