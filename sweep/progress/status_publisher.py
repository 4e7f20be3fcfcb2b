"""How a sweep goes, as its driver publishes it: runs, rate, time left, and the places of the cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweep.config.spec import Resources
from sweep.folder.control import PUBLISH_SECONDS, Control
from sweep.planning.slots import slots_of
from sweep.progress.live_view import Progress


def describe_nodes(nodes: Sequence[Mapping[str, Any]], resources: Resources) -> list[dict[str, Any]]:
    """Return what there is of each of Ray's ``nodes`` that is alive."""
    return [
        {
            "node": node["NodeID"][:8],
            "host": node["NodeManagerHostname"],
            "address": node["NodeManagerAddress"],
            "cpus": node["Resources"].get("CPU", 0.0),
            "gpus": node["Resources"].get("GPU", 0.0),
            "slots": slots_of(node["Resources"], resources.cpus, resources.gpus),
        }
        for node in nodes
        if node["Alive"]
    ]


class Bulletin:
    """Tells whoever watches, every few seconds."""

    def __init__(
        self, control: Control, progress: Progress, resources: Resources,
        nodes: Callable[[], Sequence[Mapping[str, Any]]], clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """``nodes`` returns what Ray says of its nodes."""
        self._control = control
        self._progress = progress
        self._resources = resources
        self._nodes = nodes
        self._clock = clock
        self._posted_at: float | None = None

    def post(self, trials: int) -> None:
        """Tell how things stand, with ``trials`` trials at work, unless that was told a moment ago."""
        now = self._clock()
        if self._posted_at is not None and now - self._posted_at < PUBLISH_SECONDS:
            return
        self._posted_at = now
        nodes = describe_nodes(self._nodes(), self._resources)
        slots = sum(node["slots"] for node in nodes)
        most = self._resources.max_concurrent or slots
        self._control.tell(
            {**self._progress.numbers(), "nodes": nodes, "slots_used": trials, "slots": min(slots, most)}
        )

    def close(self) -> None:
        """Tell how things stand when no trial is at work any more."""
        numbers = self._progress.numbers()
        numbers["interrupted"] += numbers["running"]
        self._control.tell({**numbers, "running": 0, "rate": None, "seconds_left": None})
