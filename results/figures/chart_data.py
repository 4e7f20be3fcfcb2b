"""Tables of charts that compare configurations: rows of the sweep's tables, joined, chosen and sorted."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from results.figures.rate_data import LOG_RATES
from results.figures.selection import Selection, grey_note, optimizer_family
from results.figures.style import FEW_SEEDS, MAX_DIRECT_LABELS
from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import ConfigurationRuns
from results.metrics.intervals import Estimate
from results.tables.numbers import rounded
from results.tables.table import Column, Row, Table, Value
from search_spaces.plain_text import counted

POINTS_NOTE = "Small points: the runs."
DIED_NOTE = "Where a run diverged or ended at chance, there is no mean."
CUT_NOTE = "Arrow at the edge: the interval extends beyond 0 to 100 %."


def with_runs(table: Table | None, sweep: SweepData) -> Table | None:
    """Return the table with the runs of each row: the values in ``final_val_acc`` are those that trained, for any n.

    ``configuration`` is added to rows without it. The notes are those about the runs and their intervals.
    """
    if table is None:
        return None
    groups = {group.counted_ids: group for group in sweep.counted}
    rows = []
    for row in table.rows:
        group, final = groups.get(tuple(row.run_ids)), row.values.get("final_val_acc")
        if group is None or not isinstance(final, Estimate):
            rows.append(row)
            continue
        final = replace(final, values=tuple(map(float, group.final[group.trained])))
        rows.append(replace(row, values={**row.values, "configuration": group.label, "final_val_acc": final}))
    return replace(table, rows=rows)


def notes_on_runs(table: Table | None) -> Table | None:
    """Return the table with notes about its points, its intervals, and runs that did not train."""
    if table is None:
        return None
    finals = [final for row in table.rows if isinstance(final := row.values.get("final_val_acc"), Estimate)]
    notes = []
    if any(1 < final.n < FEW_SEEDS or final.n_at_chance for final in finals):
        notes.append(POINTS_NOTE)
    if any(has_interval(final) for final in finals):
        notes.append("Bars: 95 % t intervals.")
    if any(has_interval(final) and (final.low < 0 or final.high > 100) for final in finals):
        notes.append(CUT_NOTE)
    if any(final.n_at_chance for final in finals):
        notes.append(DIED_NOTE)
    return replace(table, notes=[*table.notes, " ".join(notes)] if notes else table.notes)


def has_interval(estimate: Estimate) -> bool:
    """Return whether a mean with an interval is drawn."""
    return not estimate.n_at_chance and math.isfinite(estimate.low) and math.isfinite(estimate.high)


def selected_rows(table: Table | None, selection: Selection) -> Table | None:
    """Return the rows of the selected configurations, with ``named``, and the notes of the selection."""
    if table is None:
        return None
    rows = [
        replace(row, values={**row.values, "named": row.values["configuration"] in selection.best})
        for row in table.rows
        if row.values.get("configuration") in selection.labels
    ]
    return Table(table.name, table.caption, table.columns, rows, selection.notes) if rows else None


def sorted_by_accuracy(table: Table | None) -> Table | None:
    """Return the rows with a ``final_val_acc``, in ascending order."""
    if table is None:
        return None
    rows = [row for row in table.rows if _finite(row.values.get("final_val_acc"))]
    rows.sort(key=lambda row: _number(row.values["final_val_acc"]))
    return Table(table.name, table.caption, table.columns, rows, table.notes) if rows else None


def sorted_by_epochs_to_target(table: Table | None, epochs: int, target: float = math.nan) -> Table | None:
    """Return the rows with ``epochs_to_target`` in descending order, with ``last_epoch``; None without any.

    The notes give the target, a validation accuracy in percent, and the meaning of what is drawn.
    """
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
    notes = [*table.notes, *([f"Target: {rounded(target, 2)} % validation accuracy."] if target == target else [])]
    missed = [row for row in rows if math.isinf(times_of(row))]
    if any(row.values.get("n_hit") for row in missed):
        notes.append(f"> {epochs}, open triangle at the edge: the median run misses the target.")
    if not any(row.values.get("n_hit") for row in rows):
        notes.append("No run reaches the target.")
    return Table(table.name, table.caption, columns, rows, notes) if rows else None


def times_of(row: Row) -> float:
    """Return the median epochs to the target of a row; ∞ for a miss."""
    return _plain(row.values["epochs_to_target"])


def stability_and_accuracy_table(stability: Table | None, convergence: Table | None) -> Table | None:
    """Join the SD over seeds with the final accuracy; configurations without one of them are omitted.

    So are those with a run at chance, which a note counts: an SD of 0 at chance is not stability.
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
        count = counted(len(untrained), "configuration")
        notes.append(f"Not shown: {count} with a run that diverged or ended at chance.")
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
            values = {"configuration": row.values["configuration"], "named": row.values.get("named", True)}
            rows.append(Row({**values, "tau": tau, "share": share}, row.run_ids))
    columns = [Column("configuration", "Configuration"), Column("tau", "τ"), Column("share", "ρ(τ)")]
    return Table(table.name, table.caption, columns, rows, table.notes)


def best_per_scheduler(table: Table | None) -> Table | None:
    """Return the row with the highest ``final_val_acc`` for each scheduler and optimizer."""
    best = _best_of_each(table, ("optimizer", "scheduler"))
    if best is None or table is None:
        return None
    tried = [len(rows) for rows in _by_keys(table, ("optimizer", "scheduler")).values()]
    finals = [final for row in best.rows if isinstance(final := row.values["final_val_acc"], Estimate)]
    notes = ["±: half-width of the 95 % t interval."] if any(map(has_interval, finals)) else []
    died = [final for final in finals if final.n_at_chance]
    if died:
        mean = " The number is the mean of the others." if any(final.values for final in died) else ""
        notes.append(f"Without a colour: a run diverged or ended at chance.{mean}")
    if max(tried) > 1:
        number = f"{max(tried)}" if min(tried) == max(tried) else f"{min(tried)} to {max(tried)}"
        notes.append(f"Each cell: at its best learning rate (lr) of {number}.")
    return replace(best, notes=notes)


def best_per_momentum(table: Table | None, sweep: SweepData) -> Table | None:
    """Return the best row for each momentum, dampening and Nesterov, from the same other settings for all of them.

    All have one scheduler, ``none`` if available. ``variant`` is the optimizer without the size of its momentum. The
    settings besides momentum are those that all points have in common; where there are none, those that most points
    have, and only these points are shown. So each point is the best of an equal number of tries.
    """
    if table is None:
        return None
    groups = {group.counted_ids: group for group in sweep.counted}
    finished = [row for row in table.rows if _finite(row.values.get("final_val_acc")) and tuple(row.run_ids) in groups]
    schedulers = [row.values.get("scheduler") for row in finished]
    scheduler = "none" if "none" in schedulers else schedulers[0] if schedulers else None
    tries: dict[tuple[Value, ...], dict[str, Row]] = {}
    for row in finished:
        group = groups[tuple(row.run_ids)]
        if row.values.get("scheduler") == scheduler:
            place = (_variant(group), row.values.get("momentum"))
            values = {**row.values, "variant": place[0], "configuration": group.label}
            tries.setdefault(place, {})[_other_settings(group)] = replace(row, values=values)
    common = _common_settings([set(found) for found in tries.values()])
    shown = [[found[key] for key in common] for found in tries.values() if common <= set(found)]
    best = [max(rows, key=lambda row: _number(row.values.get("final_val_acc"))) for rows in shown]
    if (
        not best
        or len({_plain(row.values.get("momentum")) for row in best} | {row.values["variant"] for row in best}) < 2
    ):
        return None
    notes = [f"Each point: the best of the same {len(common)} settings of the other parameters."] * (len(common) > 1)
    if len(set(schedulers)) > 1:
        notes.append(f"Scheduler: {scheduler}.")
    if len(shown) < len(tries):
        notes.append(f"{len(shown)} of {len(tries)} points shown: the others were not tried with these settings.")
    return Table(table.name, table.caption, table.columns, best, notes)


def _variant(group: ConfigurationRuns) -> str:
    """Return the optimizer with its dampening; without momentum it is the start of the line of classical momentum."""
    columns = group.columns
    dampening = columns.get("optimizer.dampening")
    if columns.get("optimizer.nesterov"):
        return optimizer_family(group.columns)
    return f"{columns['optimizer']} + " + (f"dampening {dampening:g}" if dampening else "momentum")


def _other_settings(group: ConfigurationRuns) -> str:
    """Return all settings of a configuration besides those of its momentum."""
    momentum = ("optimizer", "optimizer.momentum", "optimizer.dampening", "optimizer.nesterov")
    return json.dumps(
        {key: value for key, value in group.columns.items() if key not in momentum}, sort_keys=True, default=str
    )


def _common_settings(tried: Sequence[set[str]]) -> set[str]:
    """Return the settings of all points; if there are none, those of the most points and then the most of them."""
    if not tried:
        return set()
    candidates = [set.intersection(*tried), *tried, *(a & b for a, b in itertools.combinations(tried, 2))]
    return max(filter(None, candidates), key=lambda common: (sum(common <= one for one in tried), len(common)))


def best_lr_families(table: Table | None, most: int = MAX_DIRECT_LABELS) -> Table | None:
    """Return the rows of all groups, with ``named``: the ``most`` with the highest accuracy at their best rate."""
    if table is None:
        return None
    low, high = LOG_RATES
    rows = [row for row in table.rows if _finite(row.values.get("final_val_acc"))]
    shown = [row for row in rows if low <= _number(row.values["lr"]) <= high]
    best: dict[Value, float] = {}
    for row in shown:
        best[row.values["group"]] = max(best.get(row.values["group"], -math.inf), _number(row.values["final_val_acc"]))
    named = sorted(best, key=lambda name: -best[name])[:most]
    notes = [grey_note(most, len(best), "accuracy at their best learning rate")] if len(best) > most else []
    if len(shown) < len(rows):
        notes.append("Learning rates that a logarithmic axis does not have, such as 0, are not shown.")
    marked = [replace(row, values={**row.values, "named": row.values["group"] in named}) for row in shown]
    return Table(table.name, table.caption, table.columns, marked, notes) if shown else None


def _by_keys(table: Table, keys: Sequence[str]) -> dict[tuple[Value, ...], list[Row]]:
    """Return the rows with a ``final_val_acc`` by their values of ``keys``."""
    found: dict[tuple[Value, ...], list[Row]] = {}
    for row in table.rows:
        if _finite(row.values.get("final_val_acc")):
            found.setdefault(tuple(row.values.get(key) for key in keys), []).append(row)
    return found


def _best_of_each(table: Table | None, keys: Sequence[str]) -> Table | None:
    found = _by_keys(table, keys) if table is not None else {}
    rows = [max(rows, key=lambda row: _number(row.values["final_val_acc"])) for rows in found.values()]
    return replace(table, rows=rows, notes=()) if table is not None and rows else None


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
