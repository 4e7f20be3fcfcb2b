"""Sample size: how many seeds a paired comparison needs."""

from __future__ import annotations

import math

import scipy

POWER = 0.8
ALPHA = 0.05
MOST_PAIRS = 100_000
"""Larger answers are reported as infinite: no sweep trains as many seeds."""


def paired_t_power(difference: float, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Return the power of a two-sided paired t test, from the noncentral t distribution (Cohen 1988, chapter 2).

    Args:
        difference: true mean of the paired differences, in pp.
        sd: standard deviation of the paired differences, in pp, above 0.
        n: pairs; fewer than 2 have no power.
        alpha: level of the test, after any correction for several comparisons.
    """
    if n < 2:
        return 0.0
    noncentrality = abs(difference) / sd * math.sqrt(n)
    critical = scipy.stats.t.ppf(1 - alpha / 2, n - 1)
    upper = scipy.stats.nct.sf(critical, n - 1, noncentrality)
    lower = scipy.stats.nct.cdf(-critical, n - 1, noncentrality)
    return float(upper) + (float(lower) if math.isfinite(lower) else 0.0)


def pairs_needed(difference: float, sd: float, comparisons: int = 1, power: float = POWER) -> float:
    """Return the fewest pairs with which a paired t test finds ``difference`` with probability ``power``.

    The level is 0.05 divided by ``comparisons`` (Bonferroni, which Holm's procedure uses for its smallest p-value).

    Returns:
        A whole number as a float; ``inf`` for a difference of 0, or where more than 100,000 pairs would be needed.

    Raises:
        ValueError: an SD below 0, no comparison, or a power outside (0, 1).
    """
    if sd < 0 or comparisons < 1 or not 0 < power < 1:
        raise ValueError(
            f"sd={sd}, comparisons={comparisons}, power={power}: need sd >= 0, comparisons >= 1, 0 < power < 1"
        )
    if difference == 0:
        return math.inf
    if sd == 0:
        return 2.0
    alpha = ALPHA / comparisons
    low, high = 1, 2
    while paired_t_power(difference, sd, high, alpha) < power:
        low, high = high, 2 * high
        if high > MOST_PAIRS:
            return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        if paired_t_power(difference, sd, middle, alpha) < power:
            low = middle
        else:
            high = middle
    return float(high)
