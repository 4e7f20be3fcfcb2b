"""How many trials a node has room for."""

from __future__ import annotations

from collections.abc import Mapping

_FUZZ = 1e-9


def slots_of(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    """Return how many trials of ``cpus`` and ``gpus`` a node has room for; a fraction of a GPU lies within one."""
    slots = int(node.get("CPU", 0) / cpus + _FUZZ)
    if gpus:
        there = int(node.get("GPU", 0))
        slots = min(slots, there * int(1 / gpus + _FUZZ) if gpus <= 1 else int(there / gpus))
    return slots
