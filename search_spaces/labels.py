"""Short labels for configurations: the parameters in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search_spaces.canonical import one_spelling
from search_spaces.configuration import NO_SCHEDULER, Configuration

OMITTED: tuple[Any, ...] = (None, 0, False)
"""Values that a label omits: they switch an option off."""


def configuration_labels(configurations: Sequence[Configuration]) -> dict[str, str]:
    """Return ``{configuration id: label}``; the labels are unique.

    A label has the optimizer, its learning rate and the scheduler if there is one. Another parameter is added only
    where two configurations with the same optimizer (or scheduler) differ in it: ``SGD lr=0.01 momentum=0.9 · StepLR``.
    """
    # 1 and 1.0 are not a difference.
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
    """Return the class of the optimizer or scheduler and the parameters that differ between configurations."""
    same_class = [other for other in columns if other[group] == row[group]]
    words = [_class_name(row[group], {str(other[group]) for other in columns})]
    for key, value in row.items():
        if not key.startswith(f"{group}."):
            continue
        name = key.partition(".")[2]
        differs = len({str(other.get(key)) for other in same_class}) > 1
        proportional = group == "scheduler" and _proportional_to_lr(key, same_class)
        if key == "optimizer.lr" or (differs and value not in OMITTED and not proportional):
            words.append(name if value is True else f"{name}={_shown(value)}")
    return " ".join(words)


def _proportional_to_lr(key: str, same_class: Sequence[dict[str, Any]]) -> bool:
    """Return whether a rate of the scheduler (``max_lr``) is the same multiple of ``lr`` in all of ``same_class``."""
    ratios = set()
    for other in same_class:
        value, lr = other.get(key), other.get("optimizer.lr")
        if not isinstance(value, int | float) or isinstance(value, bool) or not lr:
            return False
        ratios.add(round(value / lr, 6))
    return len(ratios) == 1


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(_shown(item) for item in value) + "]"
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)  # six digits, or all where six do not tell the value


def _class_name(name: Any, names: set[str]) -> str:
    """Return the class of ``module:Class``, or the whole name where another class of the sweep has the same name."""
    short = str(name).rpartition(":")[2]
    return str(name) if sum(other.rpartition(":")[2] == short for other in names) > 1 else short
