"""Short names for configurations: what tells them apart, and nothing that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search_spaces.canonical import one_spelling
from search_spaces.configuration import NO_SCHEDULER, Configuration

QUIET: tuple[Any, ...] = (None, 0, False)
"""Values that a label need not tell: they switch a thing off."""


def configuration_labels(configurations: Sequence[Configuration]) -> dict[str, str]:
    """Return a short name for each configuration, by its id, unique among them.

    Optimizer and learning rate are always told, the scheduler where there is one, any other parameter only where
    two configurations with the same optimizer (or scheduler) differ in it: ``SGD lr=0.01 momentum=0.9 · StepLR``.
    """
    # Where one says 1 and another 1.0 they do not differ.
    columns = [
        {key: one_spelling(value) for key, value in configuration.columns().items()} for configuration in configurations
    ]
    return {
        configuration.configuration_id: _label(row, columns)
        for configuration, row in zip(configurations, columns, strict=True)
    }


def _label(row: dict[str, Any], columns: Sequence[dict[str, Any]]) -> str:
    parts = [_part(row, "optimizer", columns)]
    if row["scheduler"] != NO_SCHEDULER:
        parts.append(_part(row, "scheduler", columns))
    if row["warmup"]:
        parts.append(f"warmup={row['warmup']:g}")
    return " · ".join(parts)


def _part(row: dict[str, Any], group: str, columns: Sequence[dict[str, Any]]) -> str:
    """Name one optimizer or scheduler: its class, and where its parameters set it apart from its like."""
    alike = [other for other in columns if other[group] == row[group]]
    words = [str(row[group]).rpartition(":")[2]]
    for key, value in row.items():
        if not key.startswith(f"{group}."):
            continue
        name = key.partition(".")[2]
        differs = len({str(other.get(key)) for other in alike}) > 1
        follows_lr = group == "scheduler" and _moves_with_lr(key, alike)
        if key == "optimizer.lr" or (differs and value not in QUIET and not follows_lr):
            words.append(name if value is True else f"{name}={_shown(value)}")
    return " ".join(words)


def _moves_with_lr(key: str, alike: Sequence[dict[str, Any]]) -> bool:
    """Tell whether a scheduler's rate (``max_lr``) is the same multiple of the optimizer's in all of ``alike``."""
    ratios = set()
    for other in alike:
        value, lr = other.get(key), other.get("optimizer.lr")
        if not isinstance(value, int | float) or isinstance(value, bool) or not lr:
            return False
        ratios.add(round(value / lr, 6))
    return len(ratios) == 1


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(_shown(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
