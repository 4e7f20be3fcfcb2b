"""How many runs a pack holds and how many threads train it, from what a step of each was measured to take.

A plan is as long as its last slot works: packs go to whichever slot is free, longest first. The planner predicts that
for every pack size and number of threads and takes the shortest plan. Two that the probe's noise cannot tell apart
count as equal, and of these the one with fewer threads wins, then the one with fewer packs: noise seldom decides.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sweep.planning.plan import even_sizes

NOISE = 1.05
"""What a plan must be shorter by, as a factor, to be worth more threads or smaller packs."""


@dataclass(frozen=True)
class StepTimes:
    """Seconds that a training step of a pack takes while all slots are at work, by (runs in the pack, threads)."""

    seconds: Mapping[tuple[int, int], float] = field(default_factory=dict)

    @property
    def sizes(self) -> list[int]:
        """The sizes that were measured, the smallest first."""
        return sorted({size for size, _ in self.seconds})

    def knows(self, threads: int) -> bool:
        """Tell whether a pack on so many threads was measured."""
        return any(on == threads for _, on in self.seconds)

    def of(self, size: int, threads: int) -> float:
        """Return the seconds of a step of ``size`` runs: measured, on the line between two that were, else to scale.

        Raises:
            LookupError: nothing was measured on so many ``threads`` (see :meth:`knows`).
        """
        known = sorted((runs, seconds) for (runs, on), seconds in self.seconds.items() if on == threads)
        if not known:
            raise LookupError(f"no step of a pack on {threads} threads was measured")
        below = max((point for point in known if point[0] <= size), default=known[0])
        above = min((point for point in known if point[0] >= size), default=known[-1])
        if below == above:
            return below[1] * (size / below[0])
        return below[1] + (above[1] - below[1]) * (size - below[0]) / (above[0] - below[0])

    def to_list(self) -> list[list[float]]:
        """Return ``[runs, threads, seconds]`` of each, for JSON."""
        return [[size, threads, seconds] for (size, threads), seconds in sorted(self.seconds.items())]

    @classmethod
    def from_list(cls, rows: Iterable[Sequence[float]]) -> StepTimes:
        """Read what :meth:`to_list` returned."""
        return cls({(int(size), int(threads)): float(seconds) for size, threads, seconds in rows})


def makespan(packs: Iterable[int], slots: int, times: StepTimes, threads: int) -> float:
    """Return how long ``slots`` are at work, in seconds for each training step of a run.

    Args:
        packs: the number of runs in each pack; the longest is begun first.
        slots: packs that are trained at a time.
        times: what a step takes.
        threads: of each pack.
    """
    ends = [0.0] * slots
    for seconds in sorted((times.of(size, threads) for size in packs), reverse=True):
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def choose(
    groups: Sequence[int], begun: Sequence[int], times: StepTimes, slots: Mapping[int, int], sizes: Iterable[int]
) -> tuple[int, int]:
    """Return the pack size and the number of threads of the shortest plan; see the top of this file for ties.

    Whatever noise may hide, the plan is not longer than that of the smallest size by the same times.

    Args:
        groups: how many runs of each group are to be packed; packs do not mix groups.
        begun: the sizes of the packs that are taken up as they are.
        times: what a step takes, measured for every number of threads in ``slots``.
        slots: number of threads → how many packs of so many are trained at a time, at least one.
        sizes: what a pack may hold at most.
    """
    lengths: dict[tuple[int, int], float] = {}
    counts: dict[int, int] = {}
    for size in sorted(set(sizes)):
        packs = [*begun, *(part for group in groups for part in even_sizes(group, size))]
        counts[size] = len(packs)
        for threads, at_a_time in slots.items():
            lengths[size, threads] = makespan(packs, at_a_time, times, threads)
    smallest = min(size for size, _ in lengths)
    longest = min(min(lengths.values()) * NOISE, *(length for cell, length in lengths.items() if cell[0] == smallest))
    good = [cell for cell, length in lengths.items() if length <= longest]
    return min(good, key=lambda cell: (cell[1], counts[cell[0]], cell[0]))
