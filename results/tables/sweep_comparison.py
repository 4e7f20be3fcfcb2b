"""Comparison of two sweeps: differences of the common configurations, and of the training conditions."""

from __future__ import annotations

from typing import Any

import numpy as np

from results.ledger.arrays import SweepData
from results.ledger.schema import KERNELS
from results.metrics.comparison import holm, verdict
from results.tables.comparison import COMPARISON_COLUMNS, PAIRS, compare_groups, comparison_values, notes_on_tests
from results.tables.summary import CONFIGURATION
from results.tables.table import Column, Row, Table
from search_spaces import Protocol
from search_spaces.errors import SpecError
from search_spaces.models import LENET5
from search_spaces.plain_text import counted

WINNERS_OF_BOTH = (
    "Best of each: the configuration with the highest validation accuracy of each sweep. Each was chosen from "
    "these same runs, which favours it."
)

MUST_AGREE = (
    "batch_size", "dropout", "augment", "val_fraction", "dtype", "grad_clip_norm", "label_smoothing", "ema_decay",
    "weight_decay_on", "precision", "data",
)  # fmt: skip


BEST_OF_EACH = "best of each"


def compare_sweeps(a: SweepData, b: SweepData) -> list[Table]:
    """Return two tables: differences (a minus b) of the configurations, and of the training conditions.

    The first table has the common configurations, the best configuration of each sweep, and the configurations that
    only one sweep has.

    Raises:
        SpecError: it is the same sweep twice, or protocol, data or number of epochs differ (the message has the field
            and both values), or a sweep has no result.
    """
    if a.name == b.name:
        raise SpecError(a.name, "is compared with itself", "give the names of two sweeps")
    for sweep in (a, b):
        if not sweep.configurations:
            raise SpecError(sweep.name, "has no planned run", "compare sweeps that have results")
    settings = [
        {**Protocol.from_dict(sweep.protocol).settings(), "data": sweep.protocol.get("data")} for sweep in (a, b)
    ]
    for field in MUST_AGREE:
        ours, theirs = (each[field] for each in settings)
        if ours != theirs:
            what = "data fingerprint" if field == "data" else field
            raise SpecError(f"{a.name} and {b.name}", f"{what} is {ours} in {a.name} and {theirs} in {b.name}",
                            "compare sweeps with the same protocol")  # fmt: skip
    if a.epochs != b.epochs:
        raise SpecError(f"{a.name} and {b.name}",
                        f"epochs is {a.epochs} in {a.name} and {b.epochs} in {b.name}",
                        "compare sweeps with the same number of epochs")  # fmt: skip
    for sweep in (a, b):
        if not sweep.counted:
            raise SpecError(sweep.name, "has no result", "compare sweeps that have results")
    return [_differences(a, b), _what_differs(a, b)]


def _differences(a: SweepData, b: SweepData) -> Table:
    theirs = {group.configuration_id: group for group in b.counted}
    common = [(ours, theirs[ours.configuration_id]) for ours in a.counted if ours.configuration_id in theirs]
    pairs = [(ours.label, "both", ours, other) for ours, other in common]
    if a.best and b.best and a.best.configuration_id != b.best.configuration_id:
        pairs.append((f"{a.best.label} and {b.best.label}", BEST_OF_EACH, a.best, b.best))
    compared = [compare_groups(ours, other, "val") for _, _, ours, other in pairs]
    adjusted = holm([comparison.p_value if comparison.n else 1.0 for comparison, _ in compared])
    rows = [
        Row(
            {
                "configuration": label,
                "sweeps": which,
                "a": ours.mean(),
                "b": other.mean(),
                **comparison_values(comparison, float(p), len(pairs), verdict(comparison, float(p), len(pairs))),
            },
            ids,
        )
        for (label, which, ours, other), (comparison, ids), p in zip(pairs, compared, adjusted, strict=True)
    ]
    known = {ours.configuration_id for ours, _ in common}
    for key, sweep in (("a", a), ("b", b)):
        rows += [
            Row({"configuration": group.label, "sweeps": f"only {sweep.name}", key: group.mean()}, group.counted_ids)
            for group in sweep.counted
            if group.configuration_id not in known
        ]
    best = [WINNERS_OF_BOTH] if any(which == BEST_OF_EACH for _, which, _, _ in pairs) else []
    return Table(
        "differences",
        f"{a.name} minus {b.name}: final validation accuracy after {counted(a.epochs, 'epoch')}, paired by seed",
        (
            CONFIGURATION, Column("sweeps", "Sweeps"), Column("a", a.name, "%"), Column("b", b.name, "%"), PAIRS,
            *COMPARISON_COLUMNS,
        ),
        rows,
        [
            f"Positive difference: {a.name} is better. Configurations with results in both sweeps: {len(common)}.",
            *best,
            *notes_on_tests([comparison for comparison, _ in compared]),
            *_caveats(a, b),
        ],
        data=a.data_label,
    )  # fmt: skip


def _what_differs(a: SweepData, b: SweepData) -> Table:
    """Training conditions that may differ between compared sweeps."""
    ours, theirs = ({key: sorted({v.get(key, "?") for v in s.versions}) for key in _keys(a, b)} for s in (a, b))
    models = {} if a.model == b.model == LENET5 else {"model": ([a.model], [b.model])}
    facts: dict[str, tuple[list[Any], list[Any]]] = {
        **models,
        "data name": ([a.data_name], [b.data_name]),
        "devices": (list(a.devices), list(b.devices)),
        "threads": (list(a.threads), list(b.threads)),
        "pack sizes": (list(a.pack_sizes), list(b.pack_sizes)),
        "configurations": ([len(a.configurations)], [len(b.configurations)]),
        "runs with a result": ([_results(a)], [_results(b)]),
        **{key if key == KERNELS else f"{key} version": (ours[key], theirs[key]) for key in ours},
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
