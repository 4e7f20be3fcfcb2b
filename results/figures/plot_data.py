"""Tables of curves by epoch, from which figures are drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from results.figures.selection import Selection, select_lines
from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import ConfigurationRuns, Floats
from results.tables.table import Column, Row, Table, Value

ACCURACIES = ("train_acc", "val_acc", "test_acc")
QUANTITIES = {
    "train_loss": "Training loss",
    "val_loss": "Validation loss",
    "test_loss": "Test loss",
    "train_acc": "Training accuracy",
    "val_acc": "Validation accuracy",
    "test_acc": "Test accuracy",
}
"""Quantity of a curve → label of its axis."""


MEAN = -1
"""The column ``run`` of a line that is the mean of all runs; otherwise it is the place of the run among the seeds."""
CONFIGURATION, EPOCH = Column("configuration", "Configuration"), Column("epoch", "Epoch")
RUN, N, NAMED = Column("run", "Run"), Column("n", "n"), Column("named", "In colour")


def curves_table(sweep: SweepData, quantity: str) -> Table | None:
    """Return a quantity of :data:`QUANTITIES` by configuration and epoch: mean over seeds, lowest, highest, n.

    Where a run diverged or ended at chance, every run of the configuration has rows in place of the mean. From the
    epoch of its divergence on, a diverged run counts as chance in accuracies and is excluded from losses. None without
    any value.
    """
    selection = select_lines(sweep)
    rows: list[Row] = []
    for group in selection.configurations:
        for run, members in _lines(group):
            mean, low, high, n = _over_seeds(_values(group, quantity)[members])
            numbers = {"value": mean, "low": low, "high": high}
            rows += _rows_by_epoch(group, run, numbers, n, group.label in selection.best)
    if not any(row.values["n"] for row in rows):
        return None
    bands = [row for row in rows if row.values["named"] and int(str(row.values["n"])) > 1]
    band = ["Line: mean over seeds. Band: minimum to maximum over seeds."] if bands else []
    title = QUANTITIES[quantity]
    unit = "%" if quantity in ACCURACIES else ""
    columns = [
        CONFIGURATION, RUN, EPOCH, Column("value", title, unit, 3), Column("low", "Lowest seed", unit, 3),
        Column("high", "Highest seed", unit, 3), N, NAMED,
    ]  # fmt: skip
    notes = [*selection.notes, *selection.style_note(), *band, *_notes_on_runs(selection, quantity)]
    return Table(quantity, f"{title} by epoch", columns, rows, notes)


def train_and_test_table(sweep: SweepData) -> Table | None:
    """Return training and test accuracy by epoch; validation accuracy if some epoch has no test result.

    In percent, as in :func:`curves_table`; ``held_out`` is the split in its column's heading. None without any value.
    """
    selection = select_lines(sweep)
    test = [_values(group, "test_acc") for group in selection.configurations]
    whole = bool(test) and all(np.isfinite(values).any(axis=0).all() for values in test)
    held_out = "test_acc" if whole else "val_acc"
    quantities = {"train": "train_acc", "validation": "val_acc", "test": "test_acc", "held_out": held_out}
    rows: list[Row] = []
    for group in selection.configurations:
        for run, members in _lines(group):
            means = {key: _over_seeds(_values(group, name)[members]) for key, name in quantities.items()}
            numbers = {key: mean for key, (mean, *_) in means.items()}
            rows += _rows_by_epoch(group, run, numbers, means["train"][3], group.label in selection.best)
    if not any(row.values["n"] for row in rows):
        return None
    columns = [
        CONFIGURATION, RUN, EPOCH, Column("train", "Training accuracy", "%"),
        Column("validation", "Validation accuracy", "%"), Column("test", "Test accuracy", "%"),
        Column("held_out", "test" if whole else "validation", "%"), N, NAMED,
    ]  # fmt: skip
    means_drawn = any(row.values["run"] == MEAN and row.values["n"] != 1 for row in rows)
    notes = [
        *selection.notes,
        *selection.style_note(),
        *(["Lines: means over seeds."] if means_drawn else []),
        "Training accuracy is a mean over the epoch's batches, with augmentation and dropout.",
        *_notes_on_runs(selection, "val_acc"),
    ]
    return Table("train_and_test", "Training and held-out accuracy by epoch", columns, rows, notes)


def _lines(group: ConfigurationRuns) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield the lines of a configuration: the mean of its counted runs, or each of them where some did not train.

    A mean of runs that trained and of others at chance is the accuracy of none of them.
    """
    places = range(group.n_done)
    if group.trained.all():
        yield MEAN, places
    else:
        yield from ((place, [place]) for place in places)


def _notes_on_runs(selection: Selection, quantity: str) -> list[str]:
    """Return the notes about runs that diverged or ended at chance, where there are any."""
    notes = []
    if any(group.n_done > 1 and not group.trained.all() for group in selection.configurations):
        notes.append("Where a run diverged or ended at chance, each run is a line and there is no mean.")
    diverged = sum(int(group.diverged.sum()) for group in selection.configurations)
    if diverged:
        what = "count as chance" if quantity in ACCURACIES else "are excluded"
        notes.append(f"Diverged runs ({diverged}) {what} from the epoch of their divergence on.")
    return notes


def _rows_by_epoch(
    group: ConfigurationRuns, run: int, numbers: dict[str, Floats], n: Floats, named: bool
) -> list[Row]:  # fmt: skip
    """Return one row per epoch, from 1, of ``numbers [E]``."""
    lists = {key: values.tolist() for key, values in numbers.items()}
    identity: dict[str, Value] = {"configuration": group.label, "run": run, "named": named}
    run_ids = group.counted_ids if run == MEAN else group.counted_ids[run : run + 1]
    return [
        Row({**identity, "epoch": i + 1, **{key: values[i] for key, values in lists.items()}, "n": int(count)}, run_ids)
        for i, count in enumerate(n)
    ]


def _values(group: ConfigurationRuns, quantity: str) -> Floats:
    """Return the values ``[k, E]`` of the counted runs, NaN if missing."""
    measured = group.curves[quantity][group.counted]
    epochs = np.arange(1, measured.shape[1] + 1)
    diverged = epochs >= group.diverged_epochs[group.counted][:, None]  # False where NaN
    if quantity not in ACCURACIES:
        return np.where(diverged, math.nan, measured)
    # Chance only in epochs with a measurement: test accuracies may exist for the last epoch only.
    reached = (np.isfinite(measured) & ~diverged).any(axis=0) | diverged.all(axis=0)
    return np.where(reached, group.accuracy(quantity.removesuffix("_acc")), math.nan)


def _over_seeds(values: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return mean, lowest, highest and n ``[E]`` of ``values [k, E]``, ignoring NaN; NaN without values."""
    known = np.isfinite(values)
    n = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean = np.divide(total, n, out=np.full(values.shape[1], math.nan), where=n > 0)
    low = np.where(known, values, math.inf).min(axis=0, initial=math.inf)
    high = np.where(known, values, -math.inf).max(axis=0, initial=-math.inf)
    nothing = n == 0
    return mean, np.where(nothing, math.nan, low), np.where(nothing, math.nan, high), n.astype(np.float64)
