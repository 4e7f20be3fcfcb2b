"""Comparison of two sweeps: differences of the common configurations, and of the training conditions."""

from __future__ import annotations

from typing import Any

import numpy as np

from results.ledger.arrays import ConfigurationRuns, SweepData
from results.metrics.comparison import compare_pairs, holm
from results.metrics.intervals import mean_t_interval
from results.tables.comparison import COMPARISON_COLUMNS, PAIRS, comparison_values, paired_finals
from results.tables.summary import CONFIGURATION
from results.tables.table import Column, Row, Table
from search_spaces.errors import SpecError

MUST_AGREE = ("batch_size", "dropout", "augment", "val_fraction", "dtype", "data")


def compare_sweeps(a: SweepData, b: SweepData) -> list[Table]:
    """Return two tables: differences (a minus b) of the common configurations, and of the training conditions.

    Raises:
        SpecError: protocol, data or number of epochs differ (the message has the field and both values), or the sweeps
            have no configuration in common.
    """
    for sweep in (a, b):
        if not sweep.configurations:
            raise SpecError(sweep.name, "has no planned run", "compare sweeps that have results")
    for field in MUST_AGREE:
        ours, theirs = a.protocol.get(field), b.protocol.get(field)
        if ours != theirs:
            what = "data fingerprint" if field == "data" else field
            raise SpecError(f"{a.name} and {b.name}", f"{what} is {ours} in {a.name} and {theirs} in {b.name}",
                            "compare sweeps with the same protocol")  # fmt: skip
    if a.epochs != b.epochs:
        raise SpecError(f"{a.name} and {b.name}",
                        f"epochs is {a.epochs} in {a.name} and {b.epochs} in {b.name}",
                        "compare sweeps with the same number of epochs")  # fmt: skip
    by_id = {group.configuration_id: group for group in b.counted}
    common = [(group, by_id[group.configuration_id]) for group in a.counted if group.configuration_id in by_id]
    if not common:
        raise SpecError(
            f"{a.name} and {b.name}",
            "no configuration has results in both",
            "compare sweeps with common configurations",
        )
    return [_differences(a, b, common), _what_differs(a, b)]


def _differences(a: SweepData, b: SweepData, common: list[tuple[ConfigurationRuns, ConfigurationRuns]]) -> Table:
    pairs = [paired_finals(ours, theirs, "val") for ours, theirs in common]
    comparisons = [compare_pairs(x, y) for x, y, _ in pairs]
    adjusted = holm([comparison.p_value if comparison.n else 1.0 for comparison in comparisons])
    rows = [
        Row(
            {
                "configuration": ours.label,
                "a": mean_t_interval(ours.final),
                "b": mean_t_interval(theirs.final),
                **comparison_values(comparison, float(p), len(common)),
            },
            ids,
        )
        for (ours, theirs), comparison, p, (_, _, ids) in zip(common, comparisons, adjusted, pairs, strict=True)
    ]
    return Table(
        "differences",
        f"{a.name} minus {b.name}: final validation accuracy after {a.epochs} epochs, paired by seed",
        (CONFIGURATION, Column("a", a.name, "%"), Column("b", b.name, "%"), PAIRS, *COMPARISON_COLUMNS),
        rows,
        [
            f"Positive difference: {a.name} is better. Configurations with results in both sweeps: {len(common)}.",
            *_caveats(a, b),
        ],
        data=a.data_label,
    )


def _what_differs(a: SweepData, b: SweepData) -> Table:
    """Training conditions that may differ between compared sweeps."""
    ours, theirs = ({key: sorted({v.get(key, "?") for v in s.versions}) for key in _keys(a, b)} for s in (a, b))
    facts: dict[str, tuple[list[Any], list[Any]]] = {
        "data name": ([a.data_name], [b.data_name]),
        "devices": (list(a.devices), list(b.devices)),
        "threads": (list(a.threads), list(b.threads)),
        "pack sizes": (list(a.pack_sizes), list(b.pack_sizes)),
        "configurations": ([len(a.configurations)], [len(b.configurations)]),
        "runs with a result": ([_results(a)], [_results(b)]),
        **{f"{key} version": (ours[key], theirs[key]) for key in ours},
    }
    rows = [
        Row({"what": what, "a": _words(x), "b": _words(y), "same": "same" if x == y else "differs"})
        for what, (x, y) in facts.items()
    ]
    return Table(
        "conditions",
        f"Training conditions of {a.name} and {b.name}",
        (Column("what", "Condition"), Column("a", a.name), Column("b", b.name), Column("same", "Comparison")),
        rows,
        [
            "Both sweeps have the same batch size, dropout, augmentation, validation split, dtype, data and number of "
            "epochs."
        ],
        data=a.data_label,
    )


def _caveats(a: SweepData, b: SweepData) -> list[str]:
    """Return the caveats of both sweeps; one that holds for a single sweep starts with its name."""
    both = [caveat for caveat in a.caveats() if caveat in b.caveats()]
    return both + [f"{s.name}: {caveat}" for s in (a, b) for caveat in s.caveats() if caveat not in both]


def _keys(a: SweepData, b: SweepData) -> list[str]:
    return sorted({key for sweep in (a, b) for versions in sweep.versions for key in versions})


def _results(sweep: SweepData) -> int:
    return int(sum(np.count_nonzero(group.counted) for group in sweep.configurations))


def _words(values: list[Any]) -> str:
    return ", ".join(map(str, values)) or "–"
