"""Aggregates of many results: performance profiles, expected best of m configurations, interquartile mean."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy

Floats = npt.NDArray[np.float64]

TARGET_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

MIN_RUNS_FOR_IQM = 4


def profile_targets(best_accuracy: float) -> Floats:
    """Return the targets ``[6]`` in percent that are the problems of a profile: 50, 60 … 100 % of the best accuracy.

    A sweep has one workload, so the problems in the sense of Dolan and Moré 2002 are its targets (the study's choice).
    """
    return np.array(TARGET_SHARES) * best_accuracy


def performance_profile(times: Floats, taus: Floats) -> Floats:
    """Return ρ ``[configurations, K]``, the share of problems that a configuration solves within τ times the best.

    ρ_c(τ) = #{p : t_{c,p} ≤ τ·min_c' t_{c',p}}/#problems (Dolan and Moré 2002, *Benchmarking optimization software
    with performance profiles*). A problem without a solution counts as unsolved for every configuration.

    Args:
        times: ``[configurations, problems]``, both at least 1, in any unit of time; ∞ if not solved.
        taus: ``[K]``, ratios ≥ 1.

    Raises:
        ValueError: a time is not above 0.
    """
    if not (times > 0).all():
        raise ValueError("a performance profile needs times above 0 (∞: not solved)")
    solved = np.isfinite(times)
    best = times.min(axis=0)
    ratios = np.divide(times, best, out=np.full_like(times, math.inf), where=solved)  # [configurations, problems]
    within = solved[:, :, None] & (ratios[:, :, None] <= taus)
    profile: Floats = within.mean(axis=1)
    return profile


def expected_best_of(finals: Floats, max_m: int) -> Floats:
    """Return the expected best ``[max_m]`` of m = 1 … max_m configurations tried, from N final accuracies ``[N]``.

    E[max of m] = Σ_i a_(i)·((i/N)^m − ((i − 1)/N)^m), a_(1) ≤ … ≤ a_(N): the maximum of m draws with replacement from
    the N values (Dodge et al. 2019, *Show Your Work*). In percent as ``finals``; NaN for N = 0. It cannot
    exceed the best of the N values, so it is of little use for m > N.
    """
    n = len(finals)
    if n == 0:
        return np.full(max_m, math.nan)
    below = (np.arange(n + 1) / n) ** np.arange(1, max_m + 1)[:, None]  # [max_m, N + 1]: P(max ≤ a_(i))
    expected: Floats = np.diff(below, axis=1) @ np.sort(finals)
    return expected


def interquartile_mean(values: Floats) -> float:
    """Return the mean of the middle half of ``values [n]``, in their unit; NaN for n < 4.

    The ⌊n/4⌋ smallest and the ⌊n/4⌋ largest values are excluded (Agarwal et al. 2021, *Deep Reinforcement Learning at
    the Edge of the Statistical Precipice*).
    """
    if len(values) < MIN_RUNS_FOR_IQM:
        return math.nan
    return float(scipy.stats.trim_mean(values, 0.25))
