"""Stability: several measures of the variation of accuracy, over epochs and over configurations.

``accuracy [n, E]`` is in percent, one row per run and one column per epoch, without NaN; it is chance from a
divergence on.
The spread over seeds is :func:`results.metrics.intervals.sd_chi2_interval` of the final accuracies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from results.metrics.intervals import TOLERANCE

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CLASSES = 100
"""Number of classes by default: that of CIFAR-100."""

MIN_TAIL_EPOCHS = 5
"""Minimum number of epochs for a regression line with a residual SD."""

NEAR_BEST = 2.0
"""Maximum distance from the best accuracy, in percentage points, that counts as near it."""

MIN_LEARNING_RATES = 4

MIN_SEEDS_FOR_CLASS = 10
"""With fewer seeds, the class of the SD is often wrong: at n = 3 in about half of all sweeps."""

STABILITY_CLASSES = ((0.5, "very high"), (1.0, "high"), (2.0, "medium"), (math.inf, "low"))
"""The study's classes: (largest SD over seeds in pp, name)."""


def tail_sd(accuracy: Floats) -> Floats:
    """Return the residual SD of each run's last epochs ``[n]``, in pp; NaN for E < 5.

    √(Σ_e (A_r(e) − line_r(e))²/(k − 2)) over the last k = max(5, ⌈0.1·E⌉) epochs, around the
    least-squares line through them, so that a steady increase does not count as variation: the residual standard
    error of a simple regression (Draper and Smith, *Applied Regression Analysis*).
    """
    epochs = accuracy.shape[1]
    if epochs < MIN_TAIL_EPOCHS:
        return np.full(len(accuracy), math.nan)
    k = max(MIN_TAIL_EPOCHS, -(-epochs // 10))  # integer arithmetic: the float 0.1·70 is above 7
    time = np.arange(k) - (k - 1) / 2
    centred = accuracy[:, -k:] - accuracy[:, -k:].mean(axis=1, keepdims=True)
    slopes = centred @ time / (time @ time)
    residuals = centred - slopes[:, None] * time
    deviation: Floats = np.sqrt((residuals**2).sum(axis=1) / (k - 2))
    return deviation


def max_drawdown(accuracy: Floats) -> Floats:
    """Return each run's largest drop ``[n]`` in pp below an earlier accuracy: max_e (max_{e' ≤ e} A_r(e') − A_r(e)).

    The maximum drawdown, as in finance (Magdon-Ismail et al. 2004).
    """
    falls: Floats = (np.maximum.accumulate(accuracy, axis=1) - accuracy).max(axis=1)
    return falls


def chance_limit(classes: int = CLASSES) -> float:
    """Return the accuracy in percent below which a run has not learned: twice chance, 2 % for 100 classes.

    With fewer than ten classes it is chance plus a ninth of the rest, (100 - 100/C)/9, which for ten classes is equal
    to twice chance: twice chance would be 100 % for two classes.
    """
    chance = 100 / classes
    return chance + min(chance, (100 - chance) / 9)


def at_chance(final: Floats, classes: int = CLASSES) -> Bools:
    """Return which runs ``[n]`` have a final accuracy in percent of A_r(E) < :func:`chance_limit`.

    The cause is a plateau, a dead network or a divergence: a diverged run counts as chance.
    """
    return final < chance_limit(classes) - TOLERANCE


def stability_class(seed_sd: float, n: int, at_chance_share: float) -> str | None:
    """Return the study's class of the SD in pp over n seeds: ≤ 0.5 very high, ≤ 1 high, ≤ 2 medium, else low.

    None for n < 10, and if a run is at chance (a share above 0): its distance from the others is not a variation
    over seeds of one process.
    """
    if n < MIN_SEEDS_FOR_CLASS or at_chance_share > 0 or math.isnan(seed_sd):
        return None
    return next(word for most, word in STABILITY_CLASSES if seed_sd <= most + TOLERANCE)


def lr_sensitivity(finals_by_lr: Mapping[float, float]) -> float:
    """Return the share, 0 to 1, of learning rates whose final accuracy in percent is within 2 pp of the best one's.

    #{η : A(η) ≥ max A − 2}/#{η}; NaN for fewer than 4 rates. A high share means an optimizer that is easy to tune: the
    sensitivity plot of Schneider, Balles and Hennig 2019 (DeepOBS) as one number.
    """
    if len(finals_by_lr) < MIN_LEARNING_RATES:
        return math.nan
    finals = np.array(list(finals_by_lr.values()))
    return float(np.mean(finals >= finals.max() - NEAR_BEST - TOLERANCE))
