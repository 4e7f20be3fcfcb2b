"""Publishes the status of a running sweep: runs, rate, time left, and the slots of the cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweep.config.spec import Resources
from sweep.folder.control import PUBLISH_SECONDS, Control
from sweep.folder.status import ClusterSlots, NodeStatus, Rate
from sweep.planning.slots import slots_of
from sweep.progress.live_view import Progress


def describe_nodes(nodes: Sequence[Mapping[str, Any]], resources: Resources) -> list[NodeStatus]:
    """Return each living node of ``nodes``, which is the list that ``ray.nodes()`` returns."""
    return [
        NodeStatus(
            node=node["NodeID"][:8],
            host=node["NodeManagerHostname"],
            address=node["NodeManagerAddress"],
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            slots=slots_of(node["Resources"], resources.cpus, resources.gpus),
        )
        for node in nodes
        if node["Alive"]
    ]


class StatusPublisher:
    """Publishes through a :class:`sweep.folder.control.Control`, every few seconds."""

    def __init__(
        self, control: Control, progress: Progress, resources: Resources,
        nodes: Callable[[], Sequence[Mapping[str, Any]]], clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """``nodes`` is ``ray.nodes``."""
        self._control = control
        self._progress = progress
        self._resources = resources
        self._nodes = nodes
        self._clock = clock
        self._published_at: float | None = None

    def publish(self, trials: int) -> None:
        """Publish the status, with ``trials`` running trials, unless it was published a moment ago."""
        now = self._clock()
        if self._published_at is not None and now - self._published_at < PUBLISH_SECONDS:
            return
        self._published_at = now
        nodes = describe_nodes(self._nodes(), self._resources)
        slots = sum(node.slots for node in nodes)
        used = ClusterSlots(nodes=nodes, slots_used=trials, slots=min(slots, self._resources.max_concurrent or slots))
        self._control.publish(self._progress.counts(), self._progress.speed(), used)

    def close(self) -> None:
        """Publish the status after the last trial has ended."""
        counts = self._progress.counts()
        ended = {"interrupted": counts.interrupted + counts.running, "running": 0}
        self._control.publish(counts.model_copy(update=ended), Rate())
