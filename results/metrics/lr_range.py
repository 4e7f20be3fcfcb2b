"""Learning-rate range tests: where the loss falls steepest, where it bursts, and what that suggests.

L. N. Smith, *Cyclical Learning Rates for Training Neural Networks* (2017); the rules are fastai's ``lr_find``, changed
where a loss that starts at chance, ln 100 = 4.6, asks for it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

BETA = 0.9
CHANCE = math.log(100)
"""The cross-entropy of guessing among 100 classes; a network whose units have died sits there."""
LEAST_FALL = 0.01
"""Share by which a smoothed loss must fall before its slope says anything."""
BURST = 0.05
"""Share above its lowest at which a loss has burst. fastai says 3, which a loss that starts at 4.6 need not reach."""
NORMAL_MEDIAN = 0.6745
"""The median of |z| for a standard normal z."""
NOISES = 6.0
"""A fall or a burst is also more than so many standard deviations of what single batches do to the smoothed loss."""


def smoothed(loss: Array, beta: float = BETA) -> Array:
    """Return the bias-corrected exponential average ``[S]`` of the finite losses; NaN where a loss is not finite.

    v_t = β v_{t−1} + (1 − β) l_t, corrected v_t/(1 − β^t), as Kingma and Ba, *Adam* (2015).
    """
    average, taken, out = 0.0, 0, np.full(len(loss), np.nan)
    for i, value in enumerate(loss):
        if math.isfinite(value):
            taken += 1
            average = beta * average + (1 - beta) * value
            out[i] = average / (1 - beta**taken)
    return out


def settled_step(smooth: Array) -> int:
    """Return the step from which a smoothed loss counts: a tenth of all, as fastai; the first averages are of few."""
    return len(smooth) // 10


def divergence_step(smooth: Array) -> int | None:
    """Return the first step whose smoothed loss ``[S]`` has burst; None where none has.

    That is: not finite; or 5 % (and six noises) above its lowest so far; or back at chance after it was 1 % below.
    """
    lowest, noise = math.inf, batch_noise(smooth)
    for i, value in enumerate(smooth):
        if not math.isfinite(value):
            return i
        if i < settled_step(smooth):
            continue
        if value > lowest + max(BURST * lowest, NOISES * noise) or (has_learned(lowest) and value >= CHANCE):
            return i
        lowest = min(lowest, float(value))
    return None


def has_learned(loss: float) -> bool:
    """Tell whether a loss is clearly below chance; a network that never was cannot be seen to burst in time."""
    return loss < (1 - LEAST_FALL) * CHANCE


def batch_noise(smooth: Array) -> float:
    """Return the standard deviation of a smoothed loss of white noise that moves as ``smooth`` ``[S]`` mostly does.

    For v_t = β v_{t−1} + (1 − β) l_t with Var l = σ², Var v = σ²(1 − β)/(1 + β) and Var(v_t − v_{t−1}) =
    2(1 − β)·Var v. The increments' SD is estimated by their median: bursts and falls are few.
    """
    increments = np.abs(np.diff(smooth[settled_step(smooth) :]))
    known = increments[np.isfinite(increments)]
    return float(np.median(known)) / NORMAL_MEDIAN / math.sqrt(2 * (1 - BETA)) if len(known) else 0.0


def divergence_point(lr: Array, smooth: Array) -> float | None:
    """Return the rate of :func:`divergence_step`."""
    step = divergence_step(smooth)
    return None if step is None else float(lr[step])


def suggest_steepest(lr: Array, smooth: Array) -> float | None:
    """Return the rate where the smoothed loss falls fastest over log lr, before its lowest; fastai's ``steep``.

    None where it never fell by 1 % and six noises: what looks like a slope there is noise.
    """
    begin, end = settled_step(smooth), divergence_step(smooth)
    counted = smooth[begin:end]
    if len(counted) < 2:
        return None
    lowest = int(counted.argmin())
    if counted[0] - counted[lowest] < max(LEAST_FALL * counted[0], NOISES * batch_noise(smooth)):
        return None
    slope = np.gradient(counted, np.log(lr[begin:end]))
    return float(lr[begin + int(slope[: lowest + 1].argmin())])


def suggest_tenth(lr: Array, smooth: Array) -> float | None:
    """Return a tenth of the rate at which the loss burst.

    None where it did not within the range, or where it had never been below chance: a burst is seen too late then.
    """
    step = divergence_step(smooth)
    if not step or not has_learned(float(smooth[:step].min())):
        return None
    return float(lr[step]) / 10
