"""Chooses the pack size and the threads of a pack from measured step times.

Packs start on the next free slot, the longest first. The length of a plan is the time at which its last slot ends. The
planner predicts it for every pack size and number of threads, and takes the shortest plan. Plans within the noise of
the measurement count as equal; then fewer threads win, then fewer packs, so noise rarely changes the choice.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sweep.planning.plan import even_sizes

NOISE = 1.05
"""Plans whose lengths differ by less than this factor count as equal."""


@dataclass(frozen=True)
class StepTimes:
    """Seconds per training step of a pack while all slots are busy, by (runs in the pack, threads)."""

    seconds: Mapping[tuple[int, int], float] = field(default_factory=dict)

    @property
    def sizes(self) -> list[int]:
        """The measured pack sizes, the smallest first."""
        return sorted({size for size, _ in self.seconds})

    def knows(self, threads: int) -> bool:
        """Return whether a pack was measured with ``threads``."""
        return any(on == threads for _, on in self.seconds)

    def of(self, size: int, threads: int) -> float:
        """Return the seconds per step of ``size`` runs: measured, interpolated linearly, or scaled beyond the ends.

        Raises:
            LookupError: nothing was measured with ``threads`` (see :meth:`knows`).
        """
        known = sorted((runs, seconds) for (runs, on), seconds in self.seconds.items() if on == threads)
        if not known:
            raise LookupError(f"no step was measured with {threads} threads")
        below = max((point for point in known if point[0] <= size), default=known[0])
        above = min((point for point in known if point[0] >= size), default=known[-1])
        if below == above:
            return below[1] * (size / below[0])
        return below[1] + (above[1] - below[1]) * (size - below[0]) / (above[0] - below[0])

    def to_list(self) -> list[list[float]]:
        """Return a list of ``[runs, threads, seconds]``, for JSON."""
        return [[size, threads, seconds] for (size, threads), seconds in sorted(self.seconds.items())]

    @classmethod
    def from_list(cls, rows: Iterable[Sequence[float]]) -> StepTimes:
        """Return the step times from the list of :meth:`to_list`."""
        return cls({(int(size), int(threads)): float(seconds) for size, threads, seconds in rows})


def makespan(packs: Iterable[int], slots: int, times: StepTimes, threads: int) -> float:
    """Return the length of a plan, in seconds per training step of a run.

    Args:
        packs: the number of runs in each pack; the longest starts first.
        slots: number of packs that train at the same time.
        times: the measured step times.
        threads: threads of each pack.
    """
    ends = [0.0] * slots
    for seconds in sorted((times.of(size, threads) for size in packs), reverse=True):
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def choose(
    groups: Sequence[int], begun: Sequence[int], times: StepTimes, slots: Mapping[int, int], sizes: Iterable[int]
) -> tuple[int, int]:
    """Return the pack size and the number of threads of the shortest plan; the module describes ties.

    The predicted plan is never longer than the one with the smallest size.

    Args:
        groups: number of runs in each group; a pack has runs of one group only.
        begun: sizes of the packs that are continued unchanged.
        times: step times, measured for every number of threads in ``slots``.
        slots: number of threads → number of such packs that train at the same time, at least one.
        sizes: the pack sizes to choose from.
    """
    lengths: dict[tuple[int, int], float] = {}
    counts: dict[int, int] = {}
    for size in sorted(set(sizes)):
        packs = [*begun, *(part for group in groups for part in even_sizes(group, size))]
        counts[size] = len(packs)
        for threads, count in slots.items():
            lengths[size, threads] = makespan(packs, count, times, threads)
    smallest = min(size for size, _ in lengths)
    longest = min(min(lengths.values()) * NOISE, *(length for cell, length in lengths.items() if cell[0] == smallest))
    good = [cell for cell, length in lengths.items() if length <= longest]
    return min(good, key=lambda cell: (cell[1], counts[cell[0]], cell[0]))
