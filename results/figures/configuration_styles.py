"""One style for each configuration of a sweep, the same in all of its figures."""

from __future__ import annotations

from collections import Counter

from results.figures.selection import optimizer_family, select_lines
from results.figures.style import LINESTYLES, MARKERS, PALETTE, Style
from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import ConfigurationRuns
from results.tables.schedulers import scheduler_name
from search_spaces import NO_SCHEDULER


def sweep_styles(sweep: SweepData) -> dict[str, Style]:
    """Return the style of every configuration, and of every method of a benchmark, in all figures of the sweep.

    The colour is that of the optimizer (:func:`optimizer_family`), the line style that of the scheduler, solid for a
    constant learning rate. Markers distinguish configurations of one colour. With more optimizers than colours, those
    of the best configurations have colours of their own.
    """
    members = _members(sweep)
    best = [name for name in members if name in select_lines(sweep).best]
    first = best if len({_family(members[name], name) for name in members}) > len(PALETTE) else []
    families = list(dict.fromkeys(_family(members[name], name) for name in [*first, *members]))
    schedules = list(dict.fromkeys(_schedule(group) for group in members.values()))
    schedules.sort(key=lambda name: name != NO_SCHEDULER)
    seen: Counter[str] = Counter()
    styles = {}
    for name, group in members.items():
        colour = PALETTE[families.index(_family(group, name)) % len(PALETTE)]
        dash = LINESTYLES[schedules.index(_schedule(group)) % len(LINESTYLES)]
        styles[name] = Style(colour, dash, MARKERS[seen[colour] % len(MARKERS)])
        seen[colour] += 1
    return styles


def _members(sweep: SweepData) -> dict[str, ConfigurationRuns | None]:
    """Return the runs behind every name: those of a configuration, or some of a method's (None before its first)."""
    members: dict[str, ConfigurationRuns | None] = {}
    for method in sweep.benchmark.shown if sweep.benchmark else ():
        runs = [*method.evaluations, *(point.runs for point in method.points)]
        members[method.name] = runs[0] if runs else None
    return members | {group.label: group for group in sweep.configurations if group.label not in members}


def _family(group: ConfigurationRuns | None, name: str) -> str:
    return optimizer_family(group) if group is not None else name


def _schedule(group: ConfigurationRuns | None) -> str:
    return scheduler_name(group) if group is not None else NO_SCHEDULER
