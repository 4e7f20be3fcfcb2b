"""The number of trials that fit on a node."""

from __future__ import annotations

from collections.abc import Mapping

_ROUNDING = 1e-9


def slots_of(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    """Return how many trials with ``cpus`` and ``gpus`` fit on a node; a fraction of a GPU is on one GPU."""
    slots = int(node.get("CPU", 0) / cpus + _ROUNDING)
    if gpus:
        there = int(node.get("GPU", 0))
        slots = min(slots, there * int(1 / gpus + _ROUNDING) if gpus <= 1 else int(there / gpus))
    return slots
