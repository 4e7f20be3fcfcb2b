"""Values relative to the sweep: ``"0.3 epochs"``, ``"steps"``, ``"0.1 lr"``.

Milestones and step sizes scale with the number of epochs, so a schedule keeps its shape in a longer or shorter sweep.
Counts of epochs and steps are rounded and at least 1; a list of them increases strictly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from search_spaces.errors import SpecError, shown

_EXPRESSION = re.compile(r"^\s*(?P<factor>[0-9.eE+-]+)?\s*\*?\s*(?P<unit>epochs|steps|lr)\s*$")
LARGEST_FACTOR = 1e9


@dataclass(frozen=True)
class Quantities:
    """The quantities that an expression may be a multiple of."""

    epochs: float  # epochs of the schedule: all epochs minus the whole epochs of the warm-up
    steps: int  # optimizer steps (mini-batches) of the schedule: all steps minus those of the warm-up
    lr: float | None  # learning rate of the configuration


def is_expression(value: Any) -> bool:
    """Return whether ``value`` is a multiple of a quantity, or a list that contains one."""
    if isinstance(value, list | tuple):
        return any(is_expression(item) for item in value)
    return isinstance(value, str) and _EXPRESSION.match(value) is not None


def evaluate(value: Any, quantities: Quantities, where: str) -> Any:
    """Return ``value`` with each expression replaced by its number; other values are returned unchanged.

    Raises:
        SpecError: a factor that is not a number or too large, a list of counts with another item, or ``lr`` where the
            configuration has none.
    """
    if isinstance(value, list | tuple):
        numbers = [evaluate(item, quantities, where) for item in value]
        if is_expression(value):
            for item, number in zip(value, numbers, strict=True):
                if isinstance(number, bool) or not isinstance(number, int | float):
                    raise SpecError(where, f"{shown(item)} is not a count", 'for example "0.3 epochs"')
            for i in range(1, len(numbers)):
                numbers[i] = max(numbers[i], numbers[i - 1] + 1)
        return numbers
    match = _EXPRESSION.match(value) if isinstance(value, str) else None
    if match is None:
        return value
    try:
        factor = float(match["factor"] or 1)
    except ValueError:
        raise SpecError(where, f"{shown(value)} cannot be read", 'for example "0.3 epochs"') from None
    if not abs(factor) < LARGEST_FACTOR:
        raise SpecError(where, f"{shown(value)} is too large", 'for example "0.3 epochs"')
    if match["unit"] == "lr":
        if quantities.lr is None:
            raise SpecError(
                where, f"{shown(value)} is a multiple of the learning rate, which the optimizer does not set"
            )
        return factor * quantities.lr
    return max(1, round(factor * getattr(quantities, match["unit"])))
