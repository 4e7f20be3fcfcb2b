"""A curve as lines of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

SIGNS = {False: ("•", "┤", "─", "└"), True: ("*", "|", "-", "+")}
"""Whether only ASCII is used → the signs of a point, the vertical axis, the horizontal axis, and their corner."""


def line_chart(values: Sequence[float | None], width: int, height: int, *, ascii_only: bool = False) -> list[str]:
    """Return ``values``, one for each epoch from 1 on, as lines of at most ``width`` characters.

    The vertical axis goes from the lowest value to the highest, the horizontal one from epoch 1 to the last one. A
    missing value has no point.
    """
    point, axis, line, corner = SIGNS[ascii_only]
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return []
    low, high = min(known), max(known)
    labels = [f"{high - (high - low) * i / (height - 1):.1f}" for i in range(height)]
    margin = max(map(len, labels))
    columns = max(2, width - margin - 2)
    grid = [[" "] * columns for _ in range(height)]
    for i, value in enumerate(values):
        if value is None or not math.isfinite(value):
            continue
        column = 0 if len(values) == 1 else round(i * (columns - 1) / (len(values) - 1))
        row = 0 if high == low else round((high - value) * (height - 1) / (high - low))
        grid[row][column] = point
    lines = [
        f"{label if i in (0, height - 1, height // 2) else '':>{margin}} {axis}{''.join(row)}".rstrip()
        for i, (label, row) in enumerate(zip(labels, grid, strict=True))
    ]
    last = str(len(values))
    ends = f"1{last:>{columns - 1}}" if len(values) > 1 else "1"
    return [*lines, f"{'':>{margin}} {corner}{line * columns}", f"{'':>{margin}}  {ends}"]
