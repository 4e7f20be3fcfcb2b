"""The probe: training steps timed in as many processes at a time as trials will run, where they will run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from search_spaces import Run
from sweep.config.spec import Resources
from sweep.execution.ray.nodes import alive_nodes
from sweep.planning.planner import StepTimes
from sweep.planning.slots import slots_of

if TYPE_CHECKING:
    from trainables.data.dataset import DataSet

PROBE_SECONDS = 2.0
"""After which no other round begins, once there were enough."""
ROUNDS = 2
"""Fewest that count. In each, every size on every number of threads is timed in turn; one before them warms up."""
PATIENCE_SECONDS = 60.0
"""How long processes are waited for: on a cluster that others use, some places may not be free."""


class ProbeError(Exception):
    """A probe that could not be made, in one line; what keeps it from its end need not keep a trial from it."""


@dataclass(frozen=True)
class Places:
    """Where trials can run: what each node of the cluster has, as Ray counts it."""

    nodes: Mapping[str, Mapping[str, float]]  # node id → resource → amount

    @classmethod
    def of_cluster(cls) -> Places:
        """Ask Ray, to which this process is connected."""
        return cls({node["NodeID"]: node["Resources"] for node in alive_nodes()})

    @property
    def most_threads(self) -> int:
        """The CPUs of the largest node: all that a trial could get."""
        return max(1, *(int(node.get("CPU", 0)) for node in self.nodes.values()))

    def on(self, node: str, cpus: float, gpus: float) -> int:
        """Return how many trials of ``cpus`` and ``gpus`` a node holds."""
        return slots_of(self.nodes[node], cpus, gpus)

    def in_turn(self, cpus: float, gpus: float) -> list[str]:
        """Return a node for each trial of ``cpus`` and ``gpus``: one of every node, the largest first, and so on."""
        room = sorted(((self.on(node, cpus, gpus), node) for node in self.nodes), key=lambda pair: -pair[0])
        return [node for number in range(room[0][0] if room else 0) for there, node in room if there > number]

    def slots(self, resources: Resources, cpus: float) -> int:
        """Return how many trials of ``cpus`` run at a time."""
        fit = sum(self.on(node, cpus, resources.gpus) for node in self.nodes)
        return min(fit, resources.max_concurrent or fit)


def probe(
    places: Places, resources: Resources, data: DataSet, runs: Sequence[Run], sizes: Sequence[int],
    cpus: Mapping[int, float], most: int,
) -> StepTimes:  # fmt: skip
    """Return what a step of packs of ``sizes`` takes, medians over the rounds and the processes at work.

    Args:
        places: the cluster's.
        resources: what a trial asks for.
        data: what it trains on.
        runs: of one seed; they make the packs.
        sizes: runs in a pack.
        cpus: threads of a trial → the CPUs that it asks for.
        most: trials that there are to run: no more are timed at a time.

    Raises:
        ProbeError: a process died or raised, or none found a place.
    """
    from ray.exceptions import RayError

    try:
        return _time_steps(places, resources, data, runs, sizes, cpus, most)
    except RayError as error:
        said = next(iter(str(error).split("\n")), "") or type(error).__name__
        raise ProbeError(f"{said:.100}") from error


def _time_steps(
    places: Places, resources: Resources, data: DataSet, runs: Sequence[Run], sizes: Sequence[int],
    cpus: Mapping[int, float], most: int,
) -> StepTimes:  # fmt: skip
    import ray

    found: dict[tuple[int, int], list[float]] = {(size, threads): [] for threads in cpus for size in sizes}
    with _timers(places, resources, data, runs, min(cpus.values()), most) as timers:
        began = time.monotonic()
        for number in count():
            if number > ROUNDS and time.monotonic() - began > PROBE_SECONDS:
                break
            for size, threads in found:
                busy = _at_work(places, resources, timers, cpus[threads])
                if not busy:  # the processes that found a place are on nodes too small for so many threads
                    continue
                seconds = ray.get([timer.seconds.remote(size, threads) for timer in busy])
                if number:
                    found[size, threads].append(statistics.median(seconds))
    return StepTimes({cell: statistics.median(seconds) for cell, seconds in found.items() if seconds})


def _at_work(places: Places, resources: Resources, timers: Sequence[tuple[str, Any]], cpus: float) -> list[Any]:
    """Return as many of the processes as trials of ``cpus`` would run at a time, node by node."""
    left = {node: places.on(node, cpus, resources.gpus) for node in places.nodes}
    chosen: list[Any] = []
    for node, timer in timers:
        if left[node] and len(chosen) < (resources.max_concurrent or len(timers)):
            left[node] -= 1
            chosen.append(timer)
    return chosen


@contextmanager
def _timers(
    places: Places, resources: Resources, data: DataSet, runs: Sequence[Run], cpus: float, most: int
) -> Iterator[list[tuple[str, Any]]]:
    """Start a process where each trial would run, at most ``most``; yield those that found a place, with their node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from trainables.profiling.probe import StepTimer

    gpus = resources.gpus
    shared, actor = ray.put(data), ray.remote(StepTimer)
    nodes = places.in_turn(cpus, gpus)[: min(most, resources.max_concurrent or most)]
    timers = [
        (
            node,
            actor.options(
                num_cpus=cpus, num_gpus=gpus, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            ).remote(shared, list(runs), gpus > 0),
        )
        for node in nodes
    ]
    try:
        asked = {timer.device.remote(): (node, timer) for node, timer in timers}
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=PATIENCE_SECONDS)
        if not ready:
            raise ProbeError(f"no place was free within {PATIENCE_SECONDS:g} seconds")
        ray.get(ready)
        yield [asked[reference] for reference in asked if reference in set(ready)]
    finally:
        for _, timer in timers:
            ray.kill(timer)
