"""Learning-rate range tests: steepest decrease of the loss, divergence, and the suggested learning rates.

L. N. Smith, *Cyclical Learning Rates for Training Neural Networks* (2017); the rules are those of
fastai's ``lr_find``, adapted to a loss that starts at chance: ln C for C classes, 4.6 for 100.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

BETA = 0.9
CHANCE = math.log(100)
"""Cross-entropy of a uniform guess over 100 classes, the default; a network with dead units has this loss."""
MIN_FALL = 0.01
"""Minimum relative decrease of the smoothed loss for a usable slope."""
DIVERGENCE_RISE = 0.05
"""Relative increase above the minimum that counts as divergence.

fastai uses 3, which a loss that starts at 4.6 may never reach.
"""
NORMAL_ABS_MEDIAN = 0.6745
"""The median of |z| for a standard normal z."""
NOISE_SDS = 6.0
"""A decrease or a divergence must also exceed this many standard deviations of the batch noise."""


def smooth_loss(loss: Array, beta: float = BETA) -> Array:
    """Return the bias-corrected EWMA ``[S]`` of the finite losses; NaN where a loss is not finite.

    v_t = β v_{t−1} + (1 − β) l_t, corrected v_t/(1 − β^t), as in Kingma and Ba, *Adam* (2015).
    """
    average, taken, out = 0.0, 0, np.full(len(loss), np.nan)
    for i, value in enumerate(loss):
        if math.isfinite(value):
            taken += 1
            average = beta * average + (1 - beta) * value
            out[i] = average / (1 - beta**taken)
    return out


def first_used_step(smooth: Array) -> int:
    """Return the first step that is used, after a tenth of all steps as in fastai: earlier averages have few values."""
    return len(smooth) // 10


def divergence_step(smooth: Array, chance: float = CHANCE) -> int | None:
    """Return the first step at which the smoothed loss ``[S]`` diverges, else None.

    It diverges if it is not finite; or 5 % and six noise SDs above its minimum so far; or at chance again after it was
    1 % below.
    """
    lowest, noise = math.inf, batch_noise_sd(smooth)
    for i, value in enumerate(smooth):
        if not math.isfinite(value):
            return i
        if i < first_used_step(smooth):
            continue
        if value > lowest + max(DIVERGENCE_RISE * lowest, NOISE_SDS * noise) or (
            is_below_chance(lowest, chance) and value >= chance
        ):
            return i
        lowest = min(lowest, float(value))
    return None


def is_below_chance(loss: float, chance: float = CHANCE) -> bool:
    """Return whether a loss is clearly below chance; otherwise a divergence is detected too late."""
    return loss < (1 - MIN_FALL) * chance


def batch_noise_sd(smooth: Array) -> float:
    """Return the SD of smoothed white noise whose increments have the size of those of ``smooth`` ``[S]``.

    For v_t = β v_{t−1} + (1 − β) l_t with Var l = σ², Var v = σ²(1 − β)/(1 + β) and Var(v_t − v_{t−1}) =
    2(1 − β)·Var v. The SD of the increments is estimated from their median absolute value, which is robust to
    few large changes.
    """
    increments = np.abs(np.diff(smooth[first_used_step(smooth) :]))
    known = increments[np.isfinite(increments)]
    return float(np.median(known)) / NORMAL_ABS_MEDIAN / math.sqrt(2 * (1 - BETA)) if len(known) else 0.0


def divergence_point(lr: Array, smooth: Array, chance: float = CHANCE) -> float | None:
    """Return the learning rate at :func:`divergence_step`, else None."""
    step = divergence_step(smooth, chance)
    return None if step is None else float(lr[step])


def suggest_steepest(lr: Array, smooth: Array, chance: float = CHANCE) -> float | None:
    """Return the learning rate of the steepest decrease over log lr, before the minimum; fastai's ``steep``.

    None if the loss never decreased by 1 % and by six noise SDs: the slope is then noise.
    """
    begin, end = first_used_step(smooth), divergence_step(smooth, chance)
    counted = smooth[begin:end]
    if len(counted) < 2:
        return None
    lowest = int(counted.argmin())
    if counted[0] - counted[lowest] < max(MIN_FALL * counted[0], NOISE_SDS * batch_noise_sd(smooth)):
        return None
    slope = np.gradient(counted, np.log(lr[begin:end]))
    return float(lr[begin + int(slope[: lowest + 1].argmin())])


def suggest_tenth(lr: Array, smooth: Array, chance: float = CHANCE) -> float | None:
    """Return a tenth of the learning rate at which the loss diverged.

    None if it did not diverge within the range, or was never below chance: divergence is then detected too late.
    """
    step = divergence_step(smooth, chance)
    if not step or not is_below_chance(float(smooth[:step].min()), chance):
        return None
    return float(lr[step]) / 10
