"""Speed of convergence, from a run's accuracy curve.

``accuracy [n, E]`` is in percent, one row per run and one column per epoch, without NaN; it is chance from a
divergence on.
Epochs are counted from 1 and are floats, because a missed target is ∞.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from results.metrics.intervals import TOLERANCE

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

TARGET_SHARE = 0.95
"""The default target as a share of the best configuration's median final accuracy."""

SPEED_CLASSES = ((0.4, "very fast"), (0.5, "fast"), (0.8, "medium"), (1.0, "slow"))
"""The study's classes: (largest share of the epochs, name)."""

FEWER_THAN_HALF = "fewer than half"


def default_target(best_finals: Floats) -> float:
    """Return the target A* in percent: 0.95·median_r A_r(E) of the best configuration's final accuracies ``[n]``.

    NaN for n = 0. The study's default.
    """
    return TARGET_SHARE * float(np.median(best_finals)) if len(best_finals) else math.nan


def epochs_to_target(accuracy: Floats, target: float, *, diverged: Bools | None = None) -> Floats:
    """Return the epochs ``[n]`` to a target in percent: T_r = min{e : A_r(e) ≥ A* − 10⁻⁹}, ∞ for a miss.

    Time-to-result as in Dahl et al. 2023, *Benchmarking Neural Network Training Algorithms* (AlgoPerf). A run
    with ``diverged [n]`` true is a miss, even if it reached the target before: its final network is unusable.
    """
    reached = accuracy >= target - TOLERANCE
    hit = reached.any(axis=1)
    if diverged is not None:
        hit &= ~diverged
    return np.where(hit, reached.argmax(axis=1) + 1.0, math.inf)


def seconds_to_target(
    accuracy: Floats, epoch_seconds: Floats, target: float, *, diverged: Bools | None = None
) -> Floats:
    """Return the training seconds ``[n]`` to a target in percent: Σ_{e ≤ T_r} s_r(e), ∞ for a miss.

    ``epoch_seconds [n, E]`` are each epoch's seconds without evaluation; those after T_r are not used. T_r and
    ``diverged [n]`` are as in :func:`epochs_to_target` (Dahl et al. 2023, AlgoPerf).
    """
    epochs = epochs_to_target(accuracy, target, diverged=diverged)
    hit = np.isfinite(epochs)
    seconds = np.full(len(epochs), math.inf)
    seconds[hit] = np.cumsum(epoch_seconds, axis=1)[hit, epochs[hit].astype(np.int64) - 1]
    return seconds


def median_with_misses(times: Floats) -> float:
    """Return the median over seeds of ``times [n]``, in their unit, where a miss is ∞; NaN for n = 0.

    For an even n it is the mean of the two middle values, so ∞ if one of them is ∞ (Dahl et al. 2023, AlgoPerf).
    """
    return float(np.median(times)) if len(times) else math.nan


def hits(times: Floats) -> int:
    """Return the number of ``times [n]`` (epochs or seconds) that reached the target: #{r : T_r < ∞} (AlgoPerf)."""
    return int(np.isfinite(times).sum())


def speed_class(median_epochs: float, epochs: int) -> str | None:
    """Return the study's class of median_epochs/epochs: ≤ 0.4 very fast, ≤ 0.5 fast, ≤ 0.8 medium, else slow.

    ``fewer than half`` for a median of ∞, because fewer than half of the runs reach the target; None for NaN.
    """
    if math.isnan(median_epochs):
        return None
    share = median_epochs / epochs - TOLERANCE
    return next((word for most, word in SPEED_CLASSES if share <= most), FEWER_THAN_HALF)


def epochs_to_share_of_final(accuracy: Floats, share: float = 0.95) -> Floats:
    """Return the epochs ``[n]`` to a share of the run's final accuracy: min{e : A_r(e) ≥ share·A_r(E)}, 0 ≤ share ≤ 1.

    The study's measure. Read it together with the final accuracy: a poor optimizer reaches 95 % of a low accuracy fast.
    """
    return (accuracy >= share * accuracy[:, -1:] - TOLERANCE).argmax(axis=1) + 1.0


def area_under_curve(accuracy: Floats) -> Floats:
    """Return each run's mean accuracy ``[n]`` in percent over its epochs: (1/(E − 1))·∫₁ᴱ A_r de; NaN for E = 1.

    By the trapezoid rule, with e in epochs; the study's measure.
    """
    intervals = accuracy.shape[1] - 1
    if intervals < 1:
        return np.full(len(accuracy), math.nan)
    area: Floats = np.trapezoid(accuracy, axis=1) / intervals
    return area


def best(accuracy: Floats) -> tuple[Floats, Floats]:
    """Return each run's best accuracy ``[n]`` in percent, and the first epoch ``[n]`` with this accuracy.

    max_e A_r(e) and min{e : A_r(e) = max A_r}. The maximum of a noisy curve is biased upwards; the study reports
    it in addition to the final accuracy.
    """
    highest = accuracy.max(axis=1)
    return highest, (accuracy >= highest[:, None] - TOLERANCE).argmax(axis=1) + 1.0
