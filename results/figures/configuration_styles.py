"""One style for each configuration of a sweep, the same in all of its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from results.figures.selection import optimizer_family, select_lines
from results.figures.style import LINESTYLES, MARKERS, PALETTE, Style
from results.ledger.arrays import SweepData
from results.tables.schedulers import scheduler_name
from search_spaces import NO_SCHEDULER

Columns = Mapping[str, Any]
"""A configuration, flat: ``optimizer``, ``optimizer.lr``, …"""


def sweep_styles(sweep: SweepData) -> dict[str, Style]:
    """Return the style of every configuration, and of every method of a benchmark, in all figures of the sweep.

    With more optimizers than colours, those of the best configurations have colours of their own.
    """
    members = _members(sweep)
    selected = select_lines(sweep).best
    return configuration_styles(members, [name for name in members if name in selected])


def configuration_styles(members: Mapping[str, Columns | None], best: Sequence[str] = ()) -> dict[str, Style]:
    """Return the style of every name.

    The colour is that of the optimizer (:func:`optimizer_family`), the line style that of the scheduler, solid for a
    constant learning rate. Markers distinguish names of one colour.

    Args:
        members: name → its configuration; None: unknown, a colour for this name.
        best: the names whose optimizers have colours of their own if there are more optimizers than colours.
    """
    first = best if len({_family(members[name], name) for name in members}) > len(PALETTE) else []
    families = list(dict.fromkeys(_family(members[name], name) for name in [*first, *members]))
    schedules = list(dict.fromkeys(_schedule(columns) for columns in members.values()))
    schedules.sort(key=lambda name: name != NO_SCHEDULER)
    seen: Counter[str] = Counter()
    styles = {}
    for name, columns in members.items():
        colour = PALETTE[families.index(_family(columns, name)) % len(PALETTE)]
        dash = LINESTYLES[schedules.index(_schedule(columns)) % len(LINESTYLES)]
        styles[name] = Style(colour, dash, MARKERS[seen[colour] % len(MARKERS)])
        seen[colour] += 1
    return styles


def _members(sweep: SweepData) -> dict[str, Columns | None]:
    """Return the configuration of every name: its own, or one of a method's (None before its first run)."""
    members: dict[str, Columns | None] = {}
    for method in sweep.benchmark.shown if sweep.benchmark else ():
        runs = [*method.evaluations, *(point.runs for point in method.points)]
        members[method.name] = runs[0].columns if runs else None
    return members | {group.label: group.columns for group in sweep.configurations if group.label not in members}


def _family(columns: Columns | None, name: str) -> str:
    return optimizer_family(columns) if columns is not None else name


def _schedule(columns: Columns | None) -> str:
    return scheduler_name(columns) if columns is not None else NO_SCHEDULER
