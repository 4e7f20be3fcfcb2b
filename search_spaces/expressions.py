"""Schedule lengths that follow the sweep's: ``"0.3 epochs"``, ``"steps"``, ``"0.1 lr"``.

A spec that is trained for another number of epochs keeps the shape of its schedules: milestones and step
sizes scale with it. Counts of epochs and steps are rounded, at least 1, and a list of them rises strictly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from search_spaces.errors import SpecError

_EXPRESSION = re.compile(r"^\s*(?P<factor>[0-9.eE+-]+)?\s*\*?\s*(?P<unit>epochs|steps|lr)\s*$")
LARGEST_FACTOR = 1e9


@dataclass(frozen=True)
class Quantities:
    """What an expression may be a multiple of."""

    epochs: float  # epochs that the schedule lasts: all of them, less the warm-up
    steps: int  # the same in optimizer steps (mini-batches)
    lr: float | None  # the configuration's own learning rate


def is_expression(value: Any) -> bool:
    """Tell whether ``value`` is a multiple of a quantity, or a list that holds one."""
    if isinstance(value, list | tuple):
        return any(is_expression(item) for item in value)
    return isinstance(value, str) and _EXPRESSION.match(value) is not None


def evaluate(value: Any, quantities: Quantities, where: str) -> Any:
    """Return ``value`` with each expression in it replaced by its number; anything else comes back as it is.

    Raises:
        SpecError: a factor that is no number or too large a one, something else among counts, or ``lr`` where the
            configuration has none.
    """
    if isinstance(value, list | tuple):
        numbers = [evaluate(item, quantities, where) for item in value]
        if is_expression(value):
            for item, number in zip(value, numbers, strict=True):
                if isinstance(number, bool) or not isinstance(number, int | float):
                    raise SpecError(where, f"{item!r} stands among counts", 'say for instance "0.3 epochs"')
            for i in range(1, len(numbers)):
                numbers[i] = max(numbers[i], numbers[i - 1] + 1)
        return numbers
    match = _EXPRESSION.match(value) if isinstance(value, str) else None
    if match is None:
        return value
    try:
        factor = float(match["factor"] or 1)
    except ValueError:
        raise SpecError(where, f"{value!r} cannot be read", 'say for instance "0.3 epochs"') from None
    if not abs(factor) < LARGEST_FACTOR:
        raise SpecError(where, f"{value!r} is too large", 'say for instance "0.3 epochs"')
    if match["unit"] == "lr":
        if quantities.lr is None:
            raise SpecError(where, f"{value!r} asks for a learning rate that the optimizer does not set")
        return factor * quantities.lr
    return max(1, round(factor * getattr(quantities, match["unit"])))
