"""Seeds until decided: the numbers of seeds at which the results are tested (looks), and the level of each look."""

from __future__ import annotations

from results.metrics.comparison import ALPHA

FIRST_LOOK = 10
"""Fewer seeds than this seldom decide anything at the level of one look."""


def looks(max_seeds: int) -> tuple[int, ...]:
    """Return the numbers of seeds after which the comparisons are tested: 10, 15, 22, 33 … and ``max_seeds``.

    Each look has 1.5 times the seeds of the previous look; the second to last has at most ¾ of ``max_seeds``. They
    depend on ``max_seeds`` alone, so they are fixed before the first run.

    Raises:
        ValueError: fewer than 2 seeds.
    """
    if max_seeds < 2:
        raise ValueError(f"max_seeds={max_seeds}: need at least 2 seeds")
    found, seeds = [], FIRST_LOOK
    while 4 * seeds <= 3 * max_seeds:
        found.append(seeds)
        seeds = 3 * seeds // 2
    return (*found, max_seeds)


def look_level(max_seeds: int, alpha: float = ALPHA) -> float:
    """Return the level of each look: ``alpha`` divided by the number of looks (Bonferroni).

    The probability that any comparison is called better or worse at any look, although all are equal, is at most the
    sum of these levels, so at most ``alpha``: Holm's procedure holds each look at its level. ``max_seeds`` 0: no looks,
    and the level is ``alpha``. Group-sequential tests in general: Jennison and Turnbull 2000.
    """
    return alpha / len(looks(max_seeds)) if max_seeds else alpha
