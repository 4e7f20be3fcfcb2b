"""Where trials can run: the nodes, what each has, and how many trials it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sweep.config.spec import Resources
from sweep.planning.slots import slots_of


@dataclass(frozen=True)
class ClusterSlots:
    """The places for trials on the nodes of a cluster, or on this machine."""

    nodes: Mapping[str, Mapping[str, float]]  # node id → resource → amount
    most_at_a_time: int = 0  # trials that the executor can train at a time; 0: as many as fit

    @property
    def most_threads(self) -> int:
        """The CPUs of the largest node: the most that a trial could get."""
        return max(1, *(int(node.get("CPU", 0)) for node in self.nodes.values()))

    def on(self, node: str, cpus: float, gpus: float) -> int:
        """Return how many trials of ``cpus`` and ``gpus`` a node holds."""
        return slots_of(self.nodes[node], cpus, gpus)

    def in_turn(self, cpus: float, gpus: float) -> list[str]:
        """Return a node for each trial of ``cpus`` and ``gpus``: one of every node, the largest first, and so on."""
        room = sorted(((self.on(node, cpus, gpus), node) for node in self.nodes), key=lambda pair: -pair[0])
        return [node for number in range(room[0][0] if room else 0) for there, node in room if there > number]

    def at_a_time(self, resources: Resources, cpus: float) -> int:
        """Return how many trials of ``cpus`` run at a time."""
        fit = sum(self.on(node, cpus, resources.gpus) for node in self.nodes)
        return min(fit, resources.max_concurrent or fit, self.most_at_a_time or fit)
