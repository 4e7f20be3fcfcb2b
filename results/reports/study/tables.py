"""The study's own tables: Adam by epoch, and the study's claims beside the measured values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from results.analyses.gradients import BETA, GradientCapture
from results.ledger.arrays import SweepData
from results.ledger.data_facts import CIFAR100
from results.metrics.intervals import mean_t_interval
from results.reports.study.claims import (
    CLAIMED_ADAM,
    CLAIMED_EPOCH,
    CLAIMED_STAGES,
    CLAIMS,
    claimed_configurations,
)
from results.tables.summary import CONFIGURATION, FINAL, SEED_SD, TEST, spread, target_note, target_values, to_target
from results.tables.table import Column, Row, Table, Value
from search_spaces.plain_text import counted

LOSSES_AND_ACCURACIES = {
    "train_loss": "Train loss", "train_acc": "Train acc.", "val_loss": "Val. loss", "val_acc": "Val. acc.",
    "test_loss": "Test loss", "test_acc": "Test acc.",
}  # fmt: skip

CLAIMED_LAYER, CLAIMED_BATCHES = "conv1.weight", 100
CLAIMED_STAGE_COLUMNS = (
    Column("claimed_variance", "Claimed variance", decimals=3),
    Column("claimed_low", "Claimed lowest"),
    Column("claimed_high", "Claimed highest"),
    Column("claimed_peak", "Claimed peak", decimals=3),
)


def adam_table(sweep: SweepData) -> Table | None:
    """Adam at the epochs that the study reports, or at the sweep's last epoch; None without Adam."""
    groups = [group for group in sweep.counted if group.columns["optimizer"] == "Adam"]
    if not groups:
        return None
    epochs = list(dict.fromkeys(min(epoch, sweep.epochs) for epoch in CLAIMED_ADAM))
    rows = []
    for group in groups:
        finite = group.counted & np.isnan(group.diverged_epochs)
        run_ids = [run_id for run_id, is_finite in zip(group.run_ids, finite, strict=True) if is_finite]
        for epoch in epochs:
            values: dict[str, Value] = {"configuration": group.label, "epoch": epoch}
            values |= {key: mean_t_interval(group.curves[key][finite][:, epoch - 1]) for key in LOSSES_AND_ACCURACIES}
            rows.append(Row(values, run_ids))
    missing = ", ".join(str(epoch) for epoch in CLAIMED_ADAM if epoch > sweep.epochs)
    last_epoch = [
        f"This sweep has {counted(sweep.epochs, 'epoch')}. "
        f"Its last epoch is shown in place of the study's epochs {missing}."
    ]
    return Table(
        "adam",
        f"Adam in {sweep.name} by epoch: means over seeds",
        (
            CONFIGURATION, Column("epoch", "Epoch"),
            *(Column(key, name, "%" if key.endswith("acc") else "", 3) for key, name in LOSSES_AND_ACCURACIES.items()),
        ),
        rows,
        [
            *(last_epoch if missing else []),
            "Training values are means over the epoch's batches, with augmentation and dropout. A test value is n/a "
            "if the sweep did not evaluate the test set after this epoch. Diverged runs are excluded.",
            *sweep.caveats(),
        ],
    )  # fmt: skip


def claimed_table(sweep: SweepData) -> Table | None:
    """The study's claims at epoch 50 beside the measured values; None without any of its configurations."""
    rows = []
    for claim in CLAIMS:
        for group in filter(claim.matches, sweep.counted):
            values: dict[str, Value] = {
                "configuration": claim.name, "claimed_accuracy": claim.accuracy,
                "test_acc": group.mean("test"),
                "final_val_acc": group.mean(),
                "claimed_convergence": claim.convergence,
                "epochs_to_target": target_values(sweep, group).get("epochs_to_target"),
                "claimed_stability": claim.stability, "seed_sd": spread(group),
            }  # fmt: skip
            rows.append(Row(values, group.counted_ids))
    if not rows or not sweep.is_cifar100:
        return None
    return Table(
        "claimed",
        f"Claimed by the study at epoch {CLAIMED_EPOCH}, and measured in {sweep.name} at epoch {sweep.epochs}",
        (
            CONFIGURATION, Column("claimed_accuracy", "Claimed acc.", "%"), TEST, FINAL,
            Column("claimed_convergence", "Claimed convergence"), to_target(sweep),
            Column("claimed_stability", "Claimed stability"), SEED_SD,
        ),
        rows,
        [target_note(sweep), *sweep.caveats()],
    )  # fmt: skip


STUDY_TABLES: dict[str, Callable[[SweepData], Table | None]] = {"adam": adam_table, "claimed": claimed_table}
"""Table → the function that makes it; None if the sweep has no such configuration."""


def claimed_adam_table(sweep: SweepData, adam: Table | None) -> Table | None:
    """The study's claims about Adam by epoch, beside the rows of the table ``adam``.

    None without a result of the study's Adam, and for other data than CIFAR-100: the study makes no claim about it.
    """
    studied = claimed_configurations(sweep).get("Adam")
    if adam is None or studied is None or not sweep.is_cifar100:
        return None
    measured = {row.values["epoch"]: row for row in adam.rows if row.values["configuration"] == studied.label}
    rows = []
    for epoch, claimed in CLAIMED_ADAM.items():
        values: dict[str, Value] = {"epoch": epoch, **{f"claimed_{key}": value for key, value in claimed.items()}}
        row = measured.get(epoch, Row({}))
        rows.append(Row(values | {key: row.values.get(key) for key in claimed}, row.run_ids))
    columns = [Column("epoch", "Epoch")]
    for column in adam.columns:
        if column.key in CLAIMED_ADAM[1]:
            heading = f"Claimed {column.heading[:1].lower()}{column.heading[1:]}"
            places = 2 if column.unit == "%" else 3
            columns += [Column(f"claimed_{column.key}", heading, column.unit, places), column]
    return Table(
        "claimed_adam",
        f"Claims about Adam by epoch, and values measured in {sweep.name}",
        columns,
        rows,
        ["n/a: the sweep did not reach this epoch, or did not evaluate the test set after it.", *sweep.caveats()],
        sweep.data_label,
    )


def with_claims(stages: Table, capture: GradientCapture, beta: float) -> Table:
    """Add the study's claims to the table ``gradient_stages`` of the gradients that the study describes.

    These are the gradients of ``conv1.weight`` over 100 mini-batches of real data, with β = 0.9. The table of any
    other capture is returned unchanged.
    """
    if (
        capture.layer != CLAIMED_LAYER
        or len(capture.gradients) != CLAIMED_BATCHES
        or beta != BETA
        or capture.about["synthetic"]
        or capture.about.get("title", CIFAR100) != CIFAR100
    ):
        return stages
    rows = [replace(row, values={**row.values, **_claims_of(row.values)}) for row in stages.rows]
    note = "The study's claimed peaks are smaller than the ends of its claimed ranges, which is a contradiction."
    return replace(stages, columns=[*stages.columns, *CLAIMED_STAGE_COLUMNS], rows=rows, notes=[*stages.notes, note])


def _claims_of(values: Mapping[str, Value]) -> Mapping[str, Value]:
    return dict(CLAIMED_STAGES[str(values["gradients"])])
