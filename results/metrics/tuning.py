"""Tuning: selection of a method's best point, tuning curves, sensitivity to hyperparameters, ranks over studies.

A point is one configuration drawn from a method's search space; its score is its mean validation accuracy in percent
over the tuning seeds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from results.metrics.intervals import CONFIDENCE, TOLERANCE, Estimate, mean_t_interval

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MIN_POINTS = 4
"""Fewest points for a sensitivity."""

MAX_BINS = 3
MIN_PER_BIN = 2


def best_point(scores: Floats, diverged: Bools) -> int | None:
    """Return the index of the point with the highest score; the first one of those equal within 1e-9 pp.

    A point with a diverged run is never chosen, whatever its mean over the other seeds.

    Args:
        scores: ``[points]``, in percent; NaN for a point without a result.
        diverged: ``[points]``, whether any run of the point diverged.

    Returns:
        None where every point diverged or has no result.
    """
    eligible = np.isfinite(scores) & ~diverged
    if not eligible.any():
        return None
    highest = float(scores[eligible].max())
    return int(np.flatnonzero(eligible & (scores >= highest - TOLERANCE))[0])


def tuning_curve(scores: Floats) -> Floats:
    """Return the expected best score ``[N]`` of k = 1 … N points, in the unit of ``scores [N]``.

    E[best of k] = Σ_i y_(i)·C(i − 1, k − 1)/C(N, k) with y_(1) ≤ … ≤ y_(N): the mean of the maximum over all subsets of
    k of the N points. It is unbiased for independent points (Lourie et al. 2023, *Show Your Work with Confidence*, the
    U-statistic; ``u_tuning_curve`` of their package opda), and its last value is the best score found.
    """
    n = len(scores)
    ordered = np.sort(scores)
    ranks, spent = np.arange(1, n + 1), np.arange(1, n + 1)[:, None]
    weights = scipy.special.comb(ranks - 1, spent - 1) / scipy.special.comb(n, spent)  # [k, i]
    curve: Floats = weights @ ordered
    return curve


def tuning_band(scores: Floats) -> tuple[Floats, Floats]:
    """Return pointwise 95 % intervals ``([N], [N])`` of the median best score of k = 1 … N points.

    The best of k independent points is below y with probability F(y)^k, so its median is the quantile q = ½^(1/k) of
    one point (the median tuning curve of Lourie et al. 2023, *Show Your Work with Confidence*). The interval of a
    quantile is distribution-free: from the order statistic y_(r) to y_(s) with the largest r and the smallest s for
    which P(Bin(N, q) < r) ≤ 2.5 % and P(Bin(N, q) ≥ s) ≤ 2.5 % (Conover 1999, section 3.2). Few points say little
    about better points that were not drawn: the upper limit is +∞ from about k = N/5 on, and the lower one can be −∞.
    A bootstrap has an upper limit there, but covers the true value in half of all cases for k = N.
    """
    n = len(scores)
    ordered = np.concatenate([[-math.inf], np.sort(scores), [math.inf]])
    tail = (1 - CONFIDENCE) / 2
    lows, highs = [], []
    for k in range(1, n + 1):
        below = scipy.stats.binom.cdf(np.arange(-1, n + 1), n, 0.5 ** (1 / k))  # P(Bin < r) for r = 0 … n + 1
        lows.append(ordered[int(np.flatnonzero(below[: n + 1] <= tail)[-1])])
        highs.append(ordered[int(np.flatnonzero(1 - below <= tail)[0])])
    return np.array(lows), np.array(highs)


@dataclass(frozen=True)
class Crossing:
    """Two tuning curves that change their order: ``before`` leads up to ``points`` − 1, ``after`` from there on."""

    points: int
    before: str
    after: str


def crossings(curves: Mapping[str, Floats]) -> list[Crossing]:
    """Return where tuning curves, one ``[N]`` per method, change their order, by number of points.

    Curves that are equal within 1e-9 pp at some k have no order there, so a curve that only touches another one does
    not cross it. Curves of different lengths are compared up to the shorter one.
    """
    found = []
    for (a, first), (b, second) in itertools.combinations(curves.items(), 2):
        length = min(len(first), len(second))
        difference = first[:length] - second[:length]
        order = np.where(np.abs(difference) <= TOLERANCE, 0, np.sign(difference))
        places = np.flatnonzero(order)
        for earlier, later in itertools.pairwise(places):
            if order[earlier] != order[later]:
                before, after = (a, b) if order[earlier] > 0 else (b, a)
                found.append(Crossing(int(later) + 1, before, after))
    return sorted(found, key=lambda crossing: crossing.points)


@dataclass(frozen=True)
class Sensitivity:
    """Effect of one hyperparameter on the scores of a method's points."""

    n: int  # points
    spearman: float  # rank correlation of value and score; 0 for a best value in the middle of the range
    effect: float  # largest minus smallest mean score of the bins, in pp
    share: float  # η², the share of the variance of the scores between the bins, 0 … 1
    share_by_chance: float  # the mean of η² without any effect
    best: tuple[float, float]  # lowest and highest value in the bin with the highest mean score


def sensitivity(values: Floats, scores: Floats) -> Sensitivity | None:
    """Return the effect of a hyperparameter's ``values [N]`` on the ``scores [N]``, in percent.

    The values are sorted into at most three bins of equal size (quantiles; equal values share a bin). ``effect`` is the
    main effect of design of experiments, the range of the bin means (Montgomery 2017, chapter 6). ``share`` is the
    correlation ratio η² = SS_between/SS_total of a one-way analysis of variance (Fisher 1925, § 45), whose mean without
    an effect is (bins − 1)/(N − 1). ``spearman`` is Spearman's ρ (1904), which shows the direction.

    Returns:
        None for fewer than 4 points, or for values in a single bin.
    """
    known = np.isfinite(values) & np.isfinite(scores)
    values, scores = values[known], scores[known]
    n = len(values)
    if n < MIN_POINTS:
        return None
    bins = quantile_bins(values)
    labels = np.unique(bins)
    if len(labels) < 2:
        return None
    means = np.array([scores[bins == label].mean() for label in labels])
    sizes = np.array([(bins == label).sum() for label in labels])
    total = float(((scores - scores.mean()) ** 2).sum())
    between = float((sizes * (means - scores.mean()) ** 2).sum())
    flat = total <= n * TOLERANCE**2
    inside = values[bins == labels[int(means.argmax())]]
    return Sensitivity(
        n=n,
        spearman=math.nan if flat else float(scipy.stats.spearmanr(values, scores).statistic),
        effect=float(means.max() - means.min()),
        share=math.nan if flat else between / total,
        share_by_chance=(len(labels) - 1) / (n - 1),
        best=(float(inside.min()), float(inside.max())),
    )


def quantile_bins(values: Floats) -> npt.NDArray[np.int64]:
    """Return the bin of each of ``values [N]``: their distinct values if these are at most 3, else 3 of equal size.

    There are fewer bins where a bin would have less than two values.
    """
    distinct, inverse = np.unique(values, return_inverse=True)
    if len(distinct) <= MAX_BINS:
        return inverse.astype(np.int64)
    count = max(1, min(MAX_BINS, len(values) // MIN_PER_BIN))
    edges = np.quantile(values, np.arange(1, count) / count)
    return np.searchsorted(edges, values, side="left").astype(np.int64)


def ranks(scores: Floats) -> Floats:
    """Return the ranks ``[studies, methods]`` of ``scores [studies, methods]``: 1 is the highest, ties share the mean.

    Scores that are equal after rounding to 1e-9 pp are ties.
    """
    found: Floats = scipy.stats.rankdata(-np.round(scores, 9), axis=1)
    return found


def mean_ranks(scores: Floats) -> list[Estimate]:
    """Return the mean rank of each method over the studies, with its 95 % t interval, from ``[studies, methods]``.

    The interval is within 1 … number of methods; it has no bounds for one study.
    """
    methods = scores.shape[1]
    found = []
    for column in ranks(scores).T:
        mean = mean_t_interval(column)
        low, high = (float(np.clip(bound, 1, methods)) for bound in (mean.low, mean.high))
        found.append(Estimate(mean.value, low, high, mean.n, mean.values))
    return found


def mean_over_studies(studies: Sequence[Floats]) -> Estimate:
    """Estimate the mean accuracy of a method that is tuned again in each study, in percent.

    With the evaluation accuracies a_s ``[n_s]`` of study s and their mean m_s, the estimate is the mean of the S study
    means, and its variance Var = SD²(m_1, …, m_S)/S, whose expectation is (σ²_tuning + σ²_seed/n)/S: it contains the
    variance of the tuning, which evaluation seeds of a single study do not (Bouthillier et al. 2021, *Accounting for
    Variance in Machine Learning Benchmarks*, section 3). The interval is mean ± t(97.5 %, S − 1)·√Var. For a single
    study it is the t interval over its evaluation seeds, without the variance of the tuning.
    """
    present = [study for study in studies if len(study)]
    if len(present) == 1:
        return mean_t_interval(present[0])
    return mean_t_interval(np.array([study.mean() for study in present]))


def probability_better(won: int, tied: int, n: int) -> Estimate:
    """Estimate the probability that the first of two methods is better under a new seed, in percent.

    The share of the n pairs won, a tie counts ½ (the P(A > B) of Bouthillier et al. 2021), with the exact interval of
    Clopper and Pearson 1934, whose bounds use the pairs won without ties below, and with ties above.
    """
    if not n:
        return Estimate(math.nan, math.nan, math.nan, 0)
    low = scipy.stats.binomtest(won, n).proportion_ci(CONFIDENCE).low
    high = scipy.stats.binomtest(won + tied, n).proportion_ci(CONFIDENCE).high
    return Estimate(100 * (won + tied / 2) / n, 100 * float(low), 100 * float(high), n)
