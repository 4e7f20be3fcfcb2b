"""How fast: what a run's accuracy curve says about the way to its end.

``accuracy [n, E]`` is in percent, a row a run and a column an epoch, with chance from a divergence on and without NaN.
Epochs count from 1 and are floats, because a target that is never reached takes ∞ of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

TARGET_SHARE = 0.95
"""What share of the best configuration's median final accuracy is the target, unless a number is given."""

SPEED_WORDS = ((0.4, "very fast"), (0.5, "fast"), (0.8, "medium"), (1.0, "slow"))
"""The study's classes: the largest share of the epochs that a word stands for."""


def default_target(finals_by_configuration: Sequence[Floats]) -> float:
    """Return the target A* in percent from the final accuracies ``[n]`` in percent of each configuration.

    A* = 0.95·median_r A_r(E) of the best configuration, the one with the highest mean final accuracy (the first of
    equals). Configurations without a run do not count; NaN where none has one. The study's own default.
    """
    best = max((finals for finals in finals_by_configuration if len(finals)), key=np.mean, default=None)
    return math.nan if best is None else TARGET_SHARE * float(np.median(best))


def epochs_to_target(accuracy: Floats, target: float, *, diverged: Bools | None = None) -> Floats:
    """Return the epochs ``[n]`` to a target in percent: T_r = min{e : A_r(e) ≥ A*}, ∞ for a miss.

    Time-to-result as in Dahl et al. 2023, *Benchmarking Neural Network Training Algorithms* (AlgoPerf). Where
    ``diverged [n]`` is true, the run is a miss whatever it reached before: nobody can use a network that was lost
    afterwards.
    """
    reached = accuracy >= target
    hit = reached.any(axis=1)
    if diverged is not None:
        hit &= ~diverged
    return np.where(hit, reached.argmax(axis=1) + 1.0, math.inf)


def seconds_to_target(
    accuracy: Floats, epoch_seconds: Floats, target: float, *, diverged: Bools | None = None
) -> Floats:
    """Return the training seconds ``[n]`` to a target in percent: Σ_{e ≤ T_r} s_r(e), ∞ for a miss.

    ``epoch_seconds [n, E]`` are each epoch's seconds without evaluation, which matter up to T_r alone; T_r and
    ``diverged [n]`` are those of :func:`epochs_to_target` (Dahl et al. 2023, AlgoPerf).
    """
    epochs = epochs_to_target(accuracy, target, diverged=diverged)
    hit = np.isfinite(epochs)
    seconds = np.full(len(epochs), math.inf)
    seconds[hit] = np.cumsum(epoch_seconds, axis=1)[hit, epochs[hit].astype(np.int64) - 1]
    return seconds


def median_with_misses(times: Floats) -> float:
    """Return the median over seeds of ``times [n]``, in their unit, with each miss as ∞; NaN for n = 0.

    The mean of the two in the middle for an even n, hence ∞ where one of them is (Dahl et al. 2023, AlgoPerf).
    """
    return float(np.median(times)) if len(times) else math.nan


def hits(times: Floats) -> int:
    """Return how many of ``times [n]`` (epochs or seconds) reached the target: #{r : T_r < ∞} (AlgoPerf)."""
    return int(np.isfinite(times).sum())


def speed_word(median_epochs: float, epochs: int) -> str:
    """Return the study's word for median_epochs/epochs: ≤ 0.4 very fast, ≤ 0.5 fast, ≤ 0.8 medium, else slow.

    ``never`` for a median of ∞, ``n/a`` for NaN (no runs).
    """
    if math.isnan(median_epochs):
        return "n/a"
    return next((word for most, word in SPEED_WORDS if median_epochs / epochs <= most), "never")


def epochs_to_share_of_final(accuracy: Floats, share: float = 0.95) -> Floats:
    """Return the epochs ``[n]`` to a share of the run's own end: min{e : A_r(e) ≥ share·A_r(E)}, for 0 ≤ share ≤ 1.

    The study's own measure. Never to be read alone: a bad optimizer reaches 95 % of little very fast.
    """
    return (accuracy >= share * accuracy[:, -1:]).argmax(axis=1) + 1.0


def area_under_curve(accuracy: Floats) -> Floats:
    """Return each run's mean accuracy ``[n]`` in percent over its way: (1/(E − 1))·∫₁ᴱ A_r de; NaN for E = 1.

    By the trapezoid rule, an epoch the unit of e; the study's own measure.
    """
    intervals = accuracy.shape[1] - 1
    if intervals < 1:
        return np.full(len(accuracy), math.nan)
    area: Floats = np.trapezoid(accuracy, axis=1) / intervals
    return area


def best(accuracy: Floats) -> tuple[Floats, Floats]:
    """Return each run's best accuracy ``[n]`` in percent and the first epoch ``[n]`` that has it.

    max_e A_r(e) and min{e : A_r(e) = max A_r}. The maximum of a noisy curve is optimistic; the study reports it
    beside the final accuracy, never in its place.
    """
    return accuracy.max(axis=1), accuracy.argmax(axis=1) + 1.0
