"""Equivalence: whether two configurations differ by less than a margin."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from results.metrics.intervals import TOLERANCE

Floats = npt.NDArray[np.float64]

MARGIN = 0.5
"""In pp: smaller differences of accuracy count as none."""
LEVEL = 0.05


def equivalence_interval(differences: Floats, level: float = LEVEL) -> tuple[float, float]:
    """Return the (1 − 2·level) t interval of the mean of paired ``differences [n]`` in pp; NaN for n < 2.

    The two one-sided tests (TOST) reject a difference of at least the margin at ``level`` exactly where this interval
    lies within ± margin (Schuirmann 1987).
    """
    n = len(differences)
    if n < 2:
        return float("nan"), float("nan")
    mean = float(np.mean(differences))
    half_width = float(scipy.stats.t.ppf(1 - level, n - 1)) * float(np.std(differences, ddof=1)) / float(np.sqrt(n))
    return mean - half_width, mean + half_width


def equivalence(differences: Floats, margin: float = MARGIN, level: float = LEVEL) -> Literal["equal", "undecided"]:
    """Return ``equal`` where the interval of the mean difference lies within ± ``margin`` pp, else ``undecided``.

    The interval is that of :func:`equivalence_interval`: 90 % for the default level.

    Raises:
        ValueError: a margin that is not above 0.
    """
    if not margin > 0:
        raise ValueError(f"margin={margin}: need a margin above 0 pp")
    low, high = equivalence_interval(differences, level)
    return "equal" if low >= -margin - TOLERANCE and high <= margin + TOLERANCE else "undecided"


def mcnemar_p(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    """Return the exact two-sided p-value of McNemar's test for paired outcomes ``a [n]`` and ``b [n]``.

    Only discordant pairs count: under the null hypothesis each goes either way with probability ½ (McNemar 1947).
    Without a discordant pair p is 1. Used for "trained" against "ended at chance".

    Raises:
        ValueError: ``a`` and ``b`` are not pairs.
    """
    if a.shape != b.shape:
        raise ValueError(f"a has shape {a.shape} and b {b.shape}; pairs need the same")
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(scipy.stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)
