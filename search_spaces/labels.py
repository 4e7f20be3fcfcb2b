"""Short labels for configurations: what differs from the defaults of the class, or between configurations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from search_spaces.canonical import one_spelling
from search_spaces.class_defaults import OPTIMIZER_DEFAULTS, SCHEDULER_DEFAULTS, class_defaults
from search_spaces.configuration import GROUPS, NO_SCHEDULER, PARTS, Configuration

OMITTED: tuple[Any, ...] = (None, 0, False)
"""Values that switch an option off: a label omits them where they are the default, or the default is unknown."""


def configuration_labels(configurations: Sequence[Configuration]) -> dict[str, str]:
    """Return ``{configuration id: label}``; the labels are unique.

    A label has the optimizer, its learning rate, and the scheduler if there is one. Another parameter is added where it
    differs from the default of the class, or between two configurations with the same optimizer (or scheduler):
    ``SGD lr=0.01 momentum=0.9 · StepLR``. The default of a class that is not PyTorch's is unknown here.
    """
    # 1 and 1.0 are not a difference.
    columns = [
        {key: one_spelling(value) for key, value in configuration.columns().items()} for configuration in configurations
    ]
    groups = {group: _Group(group, columns) for group in ("optimizer", "scheduler")}
    labels = [_label(row, groups) for row in columns]
    repeated = {label for label, count in Counter(labels).items() if count > 1}
    for i, label in enumerate(labels):
        if label in repeated:
            same = [row for row, other in zip(columns, labels, strict=True) if other == label]
            labels[i] = _full_label(columns[i], same)
    counts = Counter(labels)
    return {
        configuration.configuration_id: label if counts[label] == 1 else f"{label} ({configuration.configuration_id})"
        for configuration, label in zip(configurations, labels, strict=True)
    }


class _Group:
    """The optimizers, or the schedulers, of all configurations."""

    def __init__(self, group: str, columns: Sequence[Mapping[str, Any]]) -> None:
        self.group = group
        self._same_class: dict[str, list[Mapping[str, Any]]] = {}
        for row in columns:
            self._same_class.setdefault(row[group], []).append(row)
        self._short_names = Counter(_short(name) for name in self._same_class)
        self._differing = {name: _differing(group, rows) for name, rows in self._same_class.items()}

    def words(self, row: Mapping[str, Any]) -> list[str]:
        """Return the class and the parameters that the label of ``row`` shows."""
        name = row[self.group]
        defaults = class_defaults(self.group, name)
        words = [self._class_name(name, is_torchs=defaults is not None)]
        for key, value in row.items():
            group, _, parameter = key.partition(".")
            if group != self.group or not parameter:
                continue
            if defaults is not None and parameter in defaults:
                default = one_spelling(defaults[parameter])
                shown = value != default or (key in self._differing[name] and value not in OMITTED)
            else:
                shown = key in self._differing[name] and value not in OMITTED
            if shown or key == "optimizer.lr" or parameter in (PARTS, GROUPS):
                words.append(_word(parameter, value))
        return words

    def _class_name(self, name: str, *, is_torchs: bool) -> str:
        """Return the class of ``module:Class``, or the whole name where another class has the same name."""
        short = _short(name)
        known = short in (OPTIMIZER_DEFAULTS if self.group == "optimizer" else SCHEDULER_DEFAULTS)
        unique = self._short_names[short] == 1 and (is_torchs or not known)
        return short if unique or name == short else name


def _short(name: str) -> str:
    return name.rpartition(":")[2]


def _differing(group: str, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the keys that differ between ``rows``, without rates that are one multiple of ``lr`` in all of them."""
    if len(rows) == 1:
        return set()
    keys = {key for row in rows for key in row if key.startswith(f"{group}.")}
    found = {key for key in keys if len({str(row.get(key)) for row in rows}) > 1}
    return {key for key in found if group == "optimizer" or not _proportional_to_lr(key, rows)}


def _label(row: Mapping[str, Any], groups: Mapping[str, _Group]) -> str:
    parts = [" ".join(groups["optimizer"].words(row))]
    if row["scheduler"] != NO_SCHEDULER:
        parts.append(" ".join(groups["scheduler"].words(row)))
    if row["warmup"]:
        parts.append(f"warmup={_shown(row['warmup'])}")
    if "batch_size" in row:
        parts.append(f"batch_size={row['batch_size']}")
    return " · ".join(parts)


def _full_label(row: Mapping[str, Any], same: Sequence[Mapping[str, Any]]) -> str:
    """Return a label with every parameter in which ``row`` differs from another row of the ``same`` short label."""
    parts = []
    for group in ("optimizer", "scheduler"):
        words = [row[group]]
        for key, value in row.items():
            differs = len({repr(other.get(key, "")) for other in same}) > 1
            if key.startswith(f"{group}.") and (differs or key == "optimizer.lr"):
                words.append(f"{key.partition('.')[2]}={_shown(value, full=True)}")
        if row[group] != NO_SCHEDULER:
            parts.append(" ".join(words))
    if row["warmup"]:
        parts.append(f"warmup={_shown(row['warmup'])}")
    if "batch_size" in row:
        parts.append(f"batch_size={row['batch_size']}")
    return " · ".join(parts)


def _word(parameter: str, value: Any) -> str:
    if parameter == PARTS:
        return _shown(value)
    return parameter if value is True else f"{parameter}={_shown(value)}"


def _proportional_to_lr(key: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a rate of the scheduler (``max_lr``) is the same multiple of ``lr`` in all ``rows``."""
    ratios = set()
    for row in rows:
        value, lr = row.get(key), row.get("optimizer.lr")
        if not isinstance(value, int | float) or isinstance(value, bool) or not lr:
            return False
        ratios.add(round(value / lr, 6))
    return len(ratios) == 1


def _shown(value: Any, *, full: bool = False) -> str:
    """Return ``value`` as text. Of a scheduler in a list only what differs from its defaults is shown, or all."""
    if isinstance(value, list):
        return "[" + " ".join(_shown(item, full=full) for item in value) + "]"
    if isinstance(value, Mapping):
        name = str(value.get("name", value.get("match", "")))
        full = full or "name" not in value
        defaults = class_defaults("scheduler", name) or {}
        words = [
            f"{key}={_shown(item, full=full)}"
            for key, item in value.items()
            if key not in ("name", "match") and (full or (key in defaults and item != one_spelling(defaults[key])))
        ]
        text = " ".join([_short(name), *words])
        return f"({text})" if words else text
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)  # six digits, or all where six do not tell the value
