"""The configurations that a figure shows, and which of them have a label."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from results.figures.style import MAX_DIRECT_LABELS
from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import ConfigurationRuns
from results.tables.schedulers import scheduler_name
from search_spaces.plain_text import plain_text

MAX_CONFIGURATIONS = 12
"""Maximum number of configurations in a figure with one row per configuration."""
MAX_LINES = 100
"""Maximum number of configurations in a figure with one line per configuration."""


@dataclass(frozen=True)
class Selection:
    """The configurations that a figure shows, in the sweep's order, and the notes about the choice.

    ``best`` has the labels of those that are drawn in colour with their name; the others are thin and grey.
    """

    configurations: tuple[ConfigurationRuns, ...]
    notes: tuple[str, ...]
    best: frozenset[str] = frozenset()

    @property
    def labels(self) -> frozenset[str]:
        """Labels of the selected configurations."""
        return frozenset(group.label for group in self.configurations)

    def style_note(self) -> list[str]:
        """Return what the colours and the line styles of a figure with lines mean, where there are several."""
        groups = [group for group in self.configurations if group.label in self.best]
        parts = ["Colour: optimizer."] if len({optimizer_family(group.columns) for group in groups}) > 1 else []
        parts += ["Line style: scheduler."] if len({scheduler_name(group.columns) for group in groups}) > 1 else []
        return [" ".join(parts)] if parts else []


def select_configurations(sweep: SweepData, limit: int = MAX_CONFIGURATIONS) -> Selection:
    """Select at most ``limit`` of the configurations with a result, all with their name.

    First the best configuration of each optimizer (class and parameters without the learning rate), then the others,
    both in order of mean final validation accuracy.
    """
    groups = sweep.counted
    if len(groups) <= limit:
        return Selection(groups, (), frozenset(group.label for group in groups))
    ranked = _ranked(groups)
    best_of: dict[str, int] = {}
    for i in ranked:
        best_of.setdefault(_settings_of_optimizer(groups[i]), i)
    leaders = list(best_of.values())
    chosen = [groups[i] for i in sorted(list(dict.fromkeys([*leaders, *ranked]))[:limit])]
    rule = (
        f"the best {limit} among the best of each optimizer, by final validation accuracy"
        if len(leaders) > limit
        else "the best of each optimizer, then by final validation accuracy"
    )
    notes = (f"{limit} of {len(groups)} configurations shown: {rule}.",)
    return Selection(tuple(chosen), notes, frozenset(group.label for group in chosen))


def select_lines(sweep: SweepData, named: int = MAX_DIRECT_LABELS, most: int = MAX_LINES) -> Selection:
    """Select the configurations of a figure with one line each: all with a result, the best ``named`` in colour.

    The best are those with the highest mean final validation accuracy. At most ``most`` configurations are selected.
    """
    ranked = _ranked(sweep.counted)
    shown = [sweep.counted[i] for i in sorted(ranked[:most])]
    best = frozenset(sweep.counted[i].label for i in ranked[:named])
    notes = [grey_note(len(best), len(shown))] if len(shown) > len(best) else []
    if len(shown) < len(sweep.counted):
        notes.append(f"{len(shown)} of {len(sweep.counted)} configurations shown, by final validation accuracy.")
    return Selection(tuple(shown), tuple(notes), best)


def grey_note(named: int, shown: int, what: str = "final validation accuracy") -> str:
    """Return the note about lines without a name."""
    return f"In colour: the best {named} of {shown} by {what}. Grey: the others."


def optimizer_family(columns: Mapping[str, Any]) -> str:
    """Return the optimizer as figures distinguish it by colour: its class, and which kind of momentum SGD has.

    ``columns`` are those of the configuration.
    """
    name = str(columns["optimizer"])
    if columns.get("optimizer.nesterov"):
        name += " + Nesterov"
    elif columns.get("optimizer.momentum") and "optimizer.nesterov" in columns:
        name += " + dampening" if columns.get("optimizer.dampening") else " + momentum"
    return plain_text(name)


def _ranked(groups: tuple[ConfigurationRuns, ...]) -> list[int]:
    """Return the places of the configurations, the one with the highest mean final validation accuracy first."""
    return sorted(range(len(groups)), key=lambda i: -_mean_final(groups[i]))


def _mean_final(group: ConfigurationRuns) -> float:
    return float(group.final.mean()) if len(group.final) else -math.inf


def _settings_of_optimizer(group: ConfigurationRuns) -> str:
    parts = {key: value for key, value in group.columns.items() if key.partition(".")[0] == "optimizer"}
    parts.pop("optimizer.lr", None)
    return json.dumps(parts, sort_keys=True, default=str)
