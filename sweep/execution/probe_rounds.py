"""The schedule of a probe: rounds over all sizes and threads, until the times are good enough."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import count

from sweep.execution.executor import StepsToTime
from sweep.planning.planner import StepTimes

PROBE_SECONDS = 2.0
"""No further round begins after this time, if there were enough."""
ROUNDS = 2
"""Rounds that are needed. Each times every size on every number of threads; one round before them warms up."""


def time_in_rounds(steps: StepsToTime, measure: Callable[[int, int], Sequence[float]]) -> StepTimes:
    """Return the medians over the rounds.

    ``measure(size, threads)`` returns the seconds of a step in each process; none where no process has the threads.
    A size with infinite seconds does not fit into the memory: it is left out, and not tried again.
    """
    found: dict[tuple[int, int], list[float]] = {(size, on): [] for on in steps.cpus for size in steps.sizes}
    began = time.monotonic()
    for number in count():
        if number > ROUNDS and time.monotonic() - began > PROBE_SECONDS:
            break
        for size, threads in list(found):
            seconds = measure(size, threads)
            if math.inf in seconds:
                del found[size, threads]
            elif number and seconds:
                found[size, threads].append(statistics.median(seconds))
    return StepTimes({cell: statistics.median(seconds) for cell, seconds in found.items() if seconds})
