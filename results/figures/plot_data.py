"""Tables that only figures need: mean curves, and columns joined from several tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from results.ledger.arrays import MAX_NAMED, SweepData
from results.ledger.configuration_runs import ConfigurationRuns, Floats
from results.metrics.intervals import Estimate
from results.tables.table import Column, Row, Table, Value

MAX_CONFIGURATIONS = 12
MAX_LINE_PAIRS = 6

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


@dataclass(frozen=True)
class Selection:
    """The configurations that a figure shows, in the sweep's order, and a note about those that it omits."""

    configurations: tuple[ConfigurationRuns, ...]
    notes: tuple[str, ...]

    @property
    def labels(self) -> frozenset[str]:
        """Labels of the selected configurations."""
        return frozenset(group.label for group in self.configurations)


def select_configurations(sweep: SweepData, limit: int = MAX_CONFIGURATIONS) -> Selection:
    """Select at most ``limit`` of the configurations with a result.

    First the best configuration of each optimizer (class and parameters without the learning rate), then the others,
    both in order of mean final validation accuracy.
    """
    groups = sweep.counted
    if len(groups) <= limit:
        return Selection(groups, ())
    finals = [_mean_final(group) for group in groups]
    ranked = sorted(range(len(groups)), key=lambda i: -finals[i])
    best_of: dict[str, int] = {}
    for i in ranked:
        best_of.setdefault(_optimizer(groups[i]), i)
    leaders = list(best_of.values())
    chosen = sorted(list(dict.fromkeys([*leaders, *ranked]))[:limit])
    rule = (
        f"the best {limit} among the best of each optimizer, by final validation accuracy"
        if len(leaders) > limit
        else "the best of each optimizer, then by final validation accuracy"
    )
    return Selection(tuple(groups[i] for i in chosen), (f"{limit} of {len(groups)} configurations shown: {rule}.",))


def curves_table(sweep: SweepData, quantity: str, limit: int = MAX_CONFIGURATIONS) -> Table | None:
    """Return a quantity of :data:`QUANTITIES` by configuration and epoch: mean over seeds, lowest, highest, n.

    From the epoch of its divergence on, a diverged run counts as chance in accuracies and is excluded from losses.
    None without any value.
    """
    selection = select_configurations(sweep, limit)
    notes = list(selection.notes)
    rows: list[Row] = []
    for group in selection.configurations:
        mean, low, high, n = _over_seeds(_values(group, quantity))
        rows += _rows_by_epoch(group, {"value": mean, "low": low, "high": high}, n)
    if not any(row.values["n"] for row in rows):
        return None
    if any(group.counted.sum() > 1 for group in selection.configurations):
        notes.append("Line: mean over seeds. Band: minimum to maximum over seeds.")
    diverged = sum(int(np.isfinite(group.diverged_epochs[group.counted]).sum()) for group in selection.configurations)
    if diverged:
        what = "count as chance" if quantity in ACCURACIES else "are excluded"
        notes.append(f"Diverged runs ({diverged}) {what} from the epoch of their divergence on.")
    title = QUANTITIES[quantity]
    unit = "%" if quantity in ACCURACIES else ""
    return Table(
        quantity,
        f"{title} by epoch",
        [
            Column("configuration", "Configuration"),
            Column("epoch", "Epoch"),
            Column("value", title, unit, 3),
            Column("low", "Lowest seed", unit, 3),
            Column("high", "Highest seed", unit, 3),
            Column("n", "n"),
        ],
        rows,
        notes,
    )


LOG_RATES = (1e-30, 1e30)
"""The learning rates that are shown on a logarithmic axis."""


def learning_rate_table(sweep: SweepData, limit: int = MAX_CONFIGURATIONS) -> Table | None:
    """Return the learning rate of each configuration in each epoch, as used.

    ``value`` is the mean over the epoch's steps and the seeds; ``low`` and ``high`` are the minimum and the maximum of
    its first and last learning rate. None without any value.
    """
    selection = select_configurations(sweep, limit)
    rows: list[Row] = []
    for group in selection.configurations:
        mean, _, _, n = _over_seeds(group.curves["lr"][group.counted])
        ends = np.concatenate([group.curves["lr_first"][group.counted], group.curves["lr_last"][group.counted]])
        _, low, high, _ = _over_seeds(ends)
        rows += _rows_by_epoch(group, {"value": mean, "low": low, "high": high}, n)
    if not any(row.values["n"] for row in rows):
        return None
    return Table(
        "learning_rate",
        "Learning rate by epoch",
        [
            Column("configuration", "Configuration"),
            Column("epoch", "Epoch"),
            Column("value", "Learning rate", decimals=6),
            Column("low", "Minimum of first and last step", decimals=6),
            Column("high", "Maximum of first and last step", decimals=6),
            Column("n", "n"),
        ],
        rows,
        [*selection.notes, "Line: mean over the epoch's steps. Band: from its first to its last step."],
    )


def train_and_test_table(sweep: SweepData, limit: int = MAX_LINE_PAIRS) -> Table | None:
    """Return training and test accuracy by epoch; validation accuracy if some epoch has no test result.

    Means over seeds in percent; ``held_out`` is the split in its column's heading. None without any value.
    """
    selection = select_configurations(sweep, limit)
    test = [_values(group, "test_acc") for group in selection.configurations]
    whole = bool(test) and all(np.isfinite(values).any(axis=0).all() for values in test)
    held_out = "test_acc" if whole else "val_acc"
    rows: list[Row] = []
    for group in selection.configurations:
        columns = {"train": "train_acc", "validation": "val_acc", "test": "test_acc", "held_out": held_out}
        means = {key: _over_seeds(_values(group, quantity)) for key, quantity in columns.items()}
        rows += _rows_by_epoch(group, {key: mean for key, (mean, *_) in means.items()}, means["train"][3])
    if not any(row.values["n"] for row in rows):
        return None
    return Table(
        "train_and_test",
        "Training and held-out accuracy by epoch",
        [
            Column("configuration", "Configuration"),
            Column("epoch", "Epoch"),
            Column("train", "Training accuracy", "%"),
            Column("validation", "Validation accuracy", "%"),
            Column("test", "Test accuracy", "%"),
            Column("held_out", "test" if whole else "validation", "%"),
            Column("n", "n"),
        ],
        rows,
        [
            *selection.notes,
            "Means over seeds. Training accuracy is a mean over the epoch's batches, with augmentation and dropout.",
        ],
    )


def selected_rows(table: Table | None, selection: Selection) -> Table | None:
    """Return the rows of the selection configurations; of the table's own notes only the one that names the target."""
    if table is None:
        return None
    rows = [row for row in table.rows if row.values.get("configuration") in selection.labels]
    notes = [*(note for note in table.notes if note.startswith("Target:")), *selection.notes]
    return Table(table.name, table.caption, table.columns, rows, notes) if rows else None


def sorted_by_accuracy(table: Table | None) -> Table | None:
    """Return the rows with a ``final_val_acc``, in ascending order."""
    if table is None:
        return None
    rows = [row for row in table.rows if _finite(row.values.get("final_val_acc"))]
    rows.sort(key=lambda row: _number(row.values["final_val_acc"]))
    notes = [note for note in table.notes if not note.startswith("Target:")]
    return Table(table.name, table.caption, table.columns, rows, notes) if rows else None


def sorted_by_epochs_to_target(table: Table | None, epochs: int) -> Table | None:
    """Return the rows with ``epochs_to_target`` in descending order, with ``last_epoch``; None without any."""
    if table is None:
        return None
    reached = [row for row in table.rows if row.values.get("epochs_to_target") is not None]
    if not reached:
        return None
    times = {id(row): _plain(row.values["epochs_to_target"]) for row in reached}
    rows = [
        Row({**row.values, "epochs_to_target": times[id(row)], "last_epoch": epochs}, row.run_ids)
        for row in sorted(reached, key=lambda row: -times[id(row)])
        if not math.isnan(times[id(row)])
    ]
    columns = [*table.columns, Column("last_epoch", "Epochs")]
    return Table(table.name, table.caption, columns, rows, table.notes) if rows else None


def stability_and_accuracy_table(stability: Table | None, convergence: Table | None) -> Table | None:
    """Join the SD over seeds with the final accuracy; configurations without one of them are omitted.

    So are those with a run at chance, which a note names: an SD of 0 at chance is not stability.
    """
    if stability is None or convergence is None:
        return None
    finals = {str(row.values["configuration"]): row for row in convergence.rows}
    rows = [
        Row({**row.values, "final_val_acc": finals[name].values.get("final_val_acc")}, row.run_ids)
        for row in stability.rows
        if (name := str(row.values["configuration"])) in finals
    ]
    rows = [row for row in rows if _finite(row.values.get("seed_sd")) and _finite(row.values.get("final_val_acc"))]
    untrained = [row for row in rows if not _trained(row.values)]
    rows = [row for row in rows if _trained(row.values)]
    notes = list(stability.notes)
    if untrained:
        names = ", ".join(str(row.values["configuration"]) for row in untrained[:MAX_NAMED])
        more = f" and {len(untrained) - MAX_NAMED} more" if len(untrained) > MAX_NAMED else ""
        notes.append(f"Not shown, because a run ended at chance or diverged: {names}{more}.")
    columns = [
        Column("configuration", "Configuration"),
        Column("final_val_acc", "Final validation accuracy", "%"),
        Column("seed_sd", "SD over seeds", "pp"),
    ]
    return Table("stability_and_accuracy", "Stability against accuracy", columns, rows, notes) if rows else None


def profile_steps(table: Table | None) -> Table | None:
    """Return the steps of each performance profile: a row per configuration and ratio τ at which its share changes.

    The ratios are those of the columns ``target_*`` to the smallest in the column. Every line starts at τ = 1, and
    ends a little after the largest ratio.
    """
    if table is None:
        return None
    keys = [column.key for column in table.columns if column.key.startswith("target_")]
    times = np.array([[_plain(row.values.get(key)) for key in keys] for row in table.rows]).reshape(-1, len(keys))
    fastest = times.min(axis=0)
    ratios = np.divide(times, fastest, out=np.full_like(times, math.inf), where=np.isfinite(times))
    known = ratios[np.isfinite(ratios)]
    if not len(known):
        return None
    end = 1 + max(1.05 * (float(known.max()) - 1), 0.1)
    rows = []
    for row, own in zip(table.rows, ratios, strict=True):
        for tau in sorted({1.0, *own[np.isfinite(own)].tolist(), end}):
            share = float(np.mean(own <= tau))
            rows.append(Row({"configuration": row.values["configuration"], "tau": tau, "share": share}, row.run_ids))
    columns = [Column("configuration", "Configuration"), Column("tau", "τ"), Column("share", "ρ(τ)")]
    return Table(table.name, table.caption, columns, rows, table.notes)


def best_per_scheduler(table: Table | None) -> Table | None:
    """Return the row with the highest ``final_val_acc`` for each scheduler and optimizer."""
    return _best_of_each(table, ("optimizer", "scheduler"), ["Each cell: at its best learning rate."])


def best_per_momentum(table: Table | None) -> Table | None:
    """Return the best row for each momentum, dampening and Nesterov, all with one scheduler, ``none`` if available."""
    if table is None:
        return None
    finished = [row for row in table.rows if _finite(row.values.get("final_val_acc"))]
    schedulers = [row.values.get("scheduler") for row in finished]
    scheduler = "none" if "none" in schedulers else schedulers[0] if schedulers else None
    rows = [row for row in finished if row.values.get("scheduler") == scheduler]
    rates = {row.values.get("lr") for row in rows}
    notes = ["Each point: at its best learning rate."] if len(rates) > 1 else []
    if len(set(schedulers)) > 1:
        notes.append(f"Only configurations with the scheduler {scheduler}.")
    under_one = Table(table.name, table.caption, table.columns, rows)
    return _best_of_each(under_one, ("momentum", "dampening", "nesterov"), notes)


def best_lr_families(table: Table | None, limit: int = MAX_CONFIGURATIONS) -> Table | None:
    """Return the rows of at most ``limit`` groups, those with the highest accuracy at their best learning rate."""
    if table is None:
        return None
    best: dict[Value, float] = {}
    for row in table.rows:
        best[row.values["group"]] = max(
            best.get(row.values["group"], -math.inf), _number(row.values.get("final_val_acc"))
        )
    chosen = sorted(best, key=lambda name: -best[name])[:limit]
    rows = [row for row in table.rows if row.values["group"] in chosen and _finite(row.values.get("final_val_acc"))]
    left_out = [
        f"{limit} of {len(best)} configurations shown: those with the highest accuracy at their best learning rate."
    ]
    notes = left_out if len(best) > limit else []
    low, high = LOG_RATES
    shown = [row for row in rows if low <= _number(row.values["lr"]) <= high]
    if len(shown) < len(rows):
        notes.append("Learning rates that a logarithmic axis does not have, such as 0, are not shown.")
    return Table(table.name, table.caption, table.columns, shown, notes) if shown else None


def _best_of_each(table: Table | None, keys: Sequence[str], notes: Sequence[str]) -> Table | None:
    if table is None:
        return None
    best: dict[tuple[Value, ...], Row] = {}
    for row in table.rows:
        place = tuple(row.values.get(key) for key in keys)
        accuracy = _number(row.values.get("final_val_acc"))
        if place not in best or accuracy > _number(best[place].values.get("final_val_acc")):
            best[place] = row
    rows = [row for row in best.values() if _finite(row.values.get("final_val_acc"))]
    if not rows:
        return None
    return Table(table.name, table.caption, table.columns, rows, notes)


def _rows_by_epoch(group: ConfigurationRuns, numbers: dict[str, Floats], n: Floats) -> list[Row]:
    """Return one row per epoch, from 1, of ``numbers [E]``."""
    lists = {key: values.tolist() for key, values in numbers.items()}
    return [
        Row(
            {
                "configuration": group.label,
                "epoch": i + 1,
                **{key: values[i] for key, values in lists.items()},
                "n": int(count),
            },
            group.counted_ids,
        )
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


def _mean_final(group: ConfigurationRuns) -> float:
    known = group.final[np.isfinite(group.final)]
    return float(known.mean()) if len(known) else -math.inf


def _optimizer(group: ConfigurationRuns) -> str:
    parts = {key: value for key, value in group.columns.items() if key.partition(".")[0] == "optimizer"}
    parts.pop("optimizer.lr", None)
    return json.dumps(parts, sort_keys=True, default=str)


def _number(value: Value) -> float:
    """Return a cell as a number for sorting: −∞ if missing."""
    number = value.value if isinstance(value, Estimate) else value
    return float(number) if isinstance(number, int | float) and not math.isnan(number) else -math.inf


def _trained(values: Mapping[str, Value]) -> bool:
    """Return whether no run of a row ended at chance or diverged."""
    final = values["final_val_acc"]
    return not (isinstance(final, Estimate) and final.n_at_chance)


def _plain(value: Value) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _finite(value: Value) -> bool:
    return math.isfinite(_number(value))
