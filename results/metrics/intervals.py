"""Estimates: a value with its 95 % interval and its n."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CONFIDENCE = 0.95
TOLERANCE = 1e-9
"""In pp: accuracies and thresholds that are equal on paper may differ by this much in floating point."""

FEW_VALUES = 2
"""Up to this n, the values are printed in place of an interval."""

_UPPER_TAIL = (1 + CONFIDENCE) / 2  # the quantile that leaves 2.5 % above it


@dataclass(frozen=True)
class Estimate:
    """An estimate from n values, in their unit, with its 95 % interval; bounds are NaN if there is none.

    ``values`` are for printing: all values where n ≤ 2, and those of the trained runs where some run is at chance.
    """

    value: float
    low: float
    high: float
    n: int
    values: tuple[float, ...] = field(default=(), compare=False)
    n_at_chance: int = 0


def mean_t_interval(values: Floats) -> Estimate:
    """Estimate the mean of normal ``values [n]``, in their unit: mean ± t(97.5 %, n − 1)·SD/√n (Student 1908).

    The bounds are NaN for n < 2, and the mean is NaN for n = 0. Equal values give an interval of width 0.
    """
    n = len(values)
    mean = float(np.mean(values)) if n else math.nan
    if n < 2:
        return Estimate(mean, math.nan, math.nan, n, tuple(map(float, values)))
    # scipy.stats.t.interval returns NaN for a scale of 0.
    half_width = float(scipy.stats.t.ppf(_UPPER_TAIL, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    shown = tuple(map(float, values)) if n <= FEW_VALUES else ()
    return Estimate(mean, mean - half_width, mean + half_width, n, shown)


def mean_over_runs(values: Floats, at_chance: Bools) -> Estimate:
    """Estimate the mean of ``values [n]``, in percent; without an interval where a run is ``at_chance [n]``.

    The runs of such a configuration are two groups, so the mean is not normally distributed. The mean is over all
    runs, as without runs at chance.
    """
    if not at_chance.any():
        return mean_t_interval(values)
    trained = tuple(map(float, values[~at_chance]))
    return Estimate(float(np.mean(values)), math.nan, math.nan, len(values), trained, int(at_chance.sum()))


def sd_chi2_interval(values: Floats) -> Estimate:
    """Estimate the standard deviation (ddof = 1) of normal ``values [n]``, in their unit.

    From SD·√((n − 1)/χ²(97.5 %, n − 1)) to SD·√((n − 1)/χ²(2.5 %, n − 1)), as (n − 1)·SD²/σ² is χ²-distributed with
    n − 1 degrees of freedom (Helmert 1876). Value and bounds are NaN for n < 2.
    """
    n = len(values)
    if n < 2:
        return Estimate(math.nan, math.nan, math.nan, n)
    sd = float(np.std(values, ddof=1))
    low, high = (sd * math.sqrt((n - 1) / scipy.stats.chi2.ppf(q, n - 1)) for q in (_UPPER_TAIL, 1 - _UPPER_TAIL))
    return Estimate(sd, low, high, n)


def binomial_standard_error(accuracy_percent: float, images: int) -> float:
    """Return the standard error in pp of an accuracy in percent: 100·√(p(1 − p)/images), p = accuracy/100.

    The standard deviation of the binomial distribution: the effect of a different sample of images. It does not
    include the effect of another seed.
    """
    p = accuracy_percent / 100
    return 100 * math.sqrt(p * (1 - p) / images)
