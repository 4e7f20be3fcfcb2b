"""How steady: things that the one word hides, each as a number of its own.

``accuracy [n, E]`` is in percent, a row a run and a column an epoch, with chance from a divergence on and without NaN.
The spread over seeds is :func:`results.metrics.intervals.sd_chi2_interval` of the final accuracies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

AT_CHANCE = 2.0
"""Percent, twice the chance among 100 classes: a run that ends below it has learned nothing."""

SHORTEST_TAIL = 5
"""Epochs; fewer leave no line to measure a spread around."""

NEAR_BEST = 2.0
"""Percentage points below the best that still count as near it."""

FEWEST_LEARNING_RATES = 4

STABILITY_WORDS = ((0.5, "very high"), (1.0, "high"), (2.0, "medium"), (math.inf, "low"))
"""The study's classes: the largest SD over seeds, in pp, that a word stands for."""


def tail_sd(accuracy: Floats) -> Floats:
    """Return how much each run still jitters at its end ``[n]``, in pp; NaN for E < 5.

    √(Σ_e (A_r(e) − line_r(e))²/(k − 2)) over the last k = max(5, ⌈0.1·E⌉) epochs, the least-squares line through
    them taken away, so that a run that still climbs steadily is steady: the residual standard error of a simple
    regression (Draper and Smith, *Applied Regression Analysis*).
    """
    epochs = accuracy.shape[1]
    if epochs < SHORTEST_TAIL:
        return np.full(len(accuracy), math.nan)
    k = max(SHORTEST_TAIL, -(-epochs // 10))  # in whole numbers: 0.1·70 is above 7
    time = np.arange(k) - (k - 1) / 2
    centred = accuracy[:, -k:] - accuracy[:, -k:].mean(axis=1, keepdims=True)
    slopes = centred @ time / (time @ time)
    residuals = centred - slopes[:, None] * time
    deviation: Floats = np.sqrt((residuals**2).sum(axis=1) / (k - 2))
    return deviation


def max_drawdown(accuracy: Floats) -> Floats:
    """Return each run's deepest fall ``[n]`` in pp below what it had before: max_e (max_{e' ≤ e} A_r(e') − A_r(e)).

    The maximum drawdown of finance (Magdon-Ismail et al. 2004).
    """
    falls: Floats = (np.maximum.accumulate(accuracy, axis=1) - accuracy).max(axis=1)
    return falls


def at_chance(final: Floats) -> Bools:
    """Return which runs ``[n]`` have a final accuracy in percent of A_r(E) < 2: twice chance (the study's threshold).

    A plateau or a dead network, not a crash; a diverged run, which counts as 1 %, is among them.
    """
    return final < AT_CHANCE


def stability_word(seed_sd: float, n: int, at_chance_share: float) -> str:
    """Return the study's word for the SD in pp over n seeds: ≤ 0.5 very high, ≤ 1 high, ≤ 2 medium, else low.

    ``n/a`` for n < 2 and where all runs are at chance (a share of 1): nothing learned is not stability. Where only
    some of them learned, the seeds do decide, and the SD says so.
    """
    if n < 2 or at_chance_share >= 1 or math.isnan(seed_sd):
        return "n/a"
    return next(word for most, word in STABILITY_WORDS if seed_sd <= most)


def lr_sensitivity(finals_by_lr: Mapping[float, float]) -> float:
    """Return the share, 0 to 1, of learning rates whose final accuracy in percent is within 2 pp of the best one's.

    #{η : A(η) ≥ max A − 2}/#{η}; NaN for fewer than 4 rates. A high share is an optimizer that is easy to tune: the
    sensitivity plot of Schneider, Balles and Hennig 2019 (DeepOBS) as one number.
    """
    if len(finals_by_lr) < FEWEST_LEARNING_RATES:
        return math.nan
    finals = np.array(list(finals_by_lr.values()))
    return float(np.mean(finals >= finals.max() - NEAR_BEST))
