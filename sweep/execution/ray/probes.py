"""The probe: training steps timed in as many processes at a time as trials will run, where they will run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sweep.config.spec import Resources
from sweep.execution.cluster_slots import ClusterSlots
from sweep.execution.executor import ProbeError, StepsToTime
from sweep.execution.probe_rounds import time_in_rounds
from sweep.planning.planner import StepTimes

if TYPE_CHECKING:
    from trainables.data.dataset import DataSet

PATIENCE_SECONDS = 60.0
"""How long the probe waits for its processes; on a shared cluster some places may not be free."""


def probe(slots: ClusterSlots, resources: Resources, data: DataSet, steps: StepsToTime) -> StepTimes:
    """Return the seconds of a step, medians over the rounds and the processes.

    Args:
        slots: the cluster's.
        resources: what a trial requests.
        data: what it trains on.
        steps: what is timed.

    Raises:
        ProbeError: a process died or raised, or no place was free.
    """
    import ray

    def measure(size: int, threads: int) -> Sequence[float]:
        busy = _at_work(slots, resources, timers, steps.cpus[threads])
        return list(ray.get([timer.seconds_or_infinity.remote(size, threads) for timer in busy]))

    try:
        with _timers(slots, resources, data, steps) as timers:
            return time_in_rounds(steps, measure)
    except ray.exceptions.RayError as error:
        message = next(iter(str(error).split("\n")), "") or type(error).__name__
        raise ProbeError(f"{message:.100}") from error


def _at_work(slots: ClusterSlots, resources: Resources, timers: Sequence[tuple[str, Any]], cpus: float) -> list[Any]:
    """Return as many of the processes as trials of ``cpus`` would run at a time, node by node."""
    left = {node: slots.on(node, cpus, resources.gpus) for node in slots.nodes}
    chosen: list[Any] = []
    for node, timer in timers:
        if left[node] and len(chosen) < (resources.max_concurrent or len(timers)):
            left[node] -= 1
            chosen.append(timer)
    return chosen


@contextmanager
def _timers(
    slots: ClusterSlots, resources: Resources, data: DataSet, steps: StepsToTime
) -> Iterator[list[tuple[str, Any]]]:
    """Start a process where each trial would run; yield those that got a place, each with its node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from trainables.profiling.probe import StepTimer

    cpus, gpus, most = min(steps.cpus.values()), resources.gpus, steps.most
    shared, actor = ray.put(data), ray.remote(StepTimer)
    nodes = slots.in_turn(cpus, gpus)[: min(most, resources.max_concurrent or most)]
    timers = [
        (
            node,
            actor.options(
                num_cpus=cpus, num_gpus=gpus, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            ).remote(shared, list(steps.runs), gpus > 0, steps.kernels),
        )
        for node in nodes
    ]
    try:
        asked = {timer.device.remote(): (node, timer) for node, timer in timers}
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=PATIENCE_SECONDS)
        if not ready:
            raise ProbeError(f"no slot was free within {PATIENCE_SECONDS:g} seconds")
        ray.get(ready)
        yield [asked[reference] for reference in asked if reference in set(ready)]
    finally:
        for _, timer in timers:
            ray.kill(timer)
