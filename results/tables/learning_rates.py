"""Tables of learning rates: final accuracy by learning rate, and the expected best of m."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import ConfigurationRuns
from results.metrics.profiles import expected_best_of
from results.tables.summary import COUNTS, FINAL, learning_rate_families, run_counts
from results.tables.table import Column, Row, Table
from search_spaces.labels import configuration_labels
from search_spaces.plain_text import plain_text


def learning_rates_table(sweep: SweepData) -> Table | None:
    """Final accuracy by learning rate, for configurations with at least two learning rates; None without any."""
    families = [groups for groups in learning_rate_families(sweep).values() if len(groups) > 1]
    if not families:
        return None
    names = family_labels(families)
    rows = [
        Row(
            {
                "group": name,
                "lr": float(group.columns["optimizer.lr"]),
                **run_counts(group),
                "final_val_acc": group.mean(),
            },
            group.counted_ids,
        )
        for name, groups in zip(names, families, strict=True)
        for group in sorted(groups, key=lambda group: float(group.columns["optimizer.lr"]))
    ]
    return Table(
        "learning_rates",
        f"Final validation accuracy of {sweep.name} by learning rate",
        (
            Column("group", "Configuration without its learning rate"),
            Column("lr", "Learning rate", general=True),
            *COUNTS,
            FINAL,
        ),
        rows,
        sweep.caveats(),
    )


def expected_best_table(sweep: SweepData) -> Table | None:
    """Expected best of m random learning rates (Dodge et al. 2019); None without two learning rates."""
    families = [groups for groups in learning_rate_families(sweep).values() if len(groups) > 1]
    if not families:
        return None
    most = max(len(groups) for groups in families)
    rows = []
    for name, groups in zip(family_labels(families), families, strict=True):
        expected = expected_best_of(np.array([float(group.final.mean()) for group in groups]), len(groups))
        values = {f"best_of_{m + 1}": float(value) for m, value in enumerate(expected)}
        rows.append(Row({"group": name, **values}, [run_id for group in groups for run_id in group.counted_ids]))
    return Table(
        "expected_best",
        f"Expected best final validation accuracy of {sweep.name} of m learning rates drawn at random",
        (
            Column("group", "Configuration without its learning rate"),
            *(Column(f"best_of_{m}", f"m = {m}", "%") for m in range(1, most + 1)),
        ),
        rows,
        sweep.caveats(),
    )


def family_labels(families: list[list[ConfigurationRuns]]) -> list[str]:
    """Return a label for each family: its configuration without the learning rate."""
    bare = []
    for groups in families:
        first = groups[0].configuration
        scheduler = {key: value for key, value in first.scheduler_params.items() if key not in ("base_lr", "max_lr")}
        bare.append(replace(first.without_lr(), scheduler_params=scheduler))
    labels = configuration_labels(bare)
    return [plain_text(labels[configuration.configuration_id]) for configuration in bare]
