"""The study's own figures that come from a sweep's ledger: a registry of them, in the study's order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial

from matplotlib.figure import Figure

from results.figures.curves import draw_curves, draw_learning_rates, draw_train_and_test
from results.figures.plot_data import curves_table, learning_rate_table, train_and_test_table
from results.figures.registry import FigureSpec, TableOf, draw_figure
from results.figures.style import Look, colour_of
from results.ledger.arrays import SweepData
from results.reports.study.claims import CLAIMS, claimed_configurations
from results.tables.registry import TABLES
from results.tables.table import Column, Table
from search_spaces import NO_SCHEDULER

ADAM = "Adam"
FOUR = tuple(claim.name for claim in CLAIMS)
SCHEDULED = "SGD momentum=0.9"
"""The optimizer that the study's schedulers drive, as the table ``schedulers`` names it."""

SPLITS = {"train": "Training", "val": "Validation", "test": "Test"}
SGD_SETTINGS = "SGD: rate 0.01, momentum 0.9 where it has any, no schedule."
ADAM_SETTINGS = "Adam: rate 0.001, no schedule."
LOOKED_AT_TEST = "Test is shown where every epoch was tested; nothing was chosen by it."


def only(sweep: SweepData, names: Mapping[str, str]) -> SweepData:
    """Return the sweep with some of its configurations only, under other names.

    Args:
        sweep: what was measured.
        names: a configuration's label → its name in the figure, in the figure's order.

    Raises:
        KeyError: a label that the sweep has not.
    """
    groups = {group.label: group for group in sweep.configurations}
    chosen = tuple(replace(groups[label], label=name) for label, name in names.items())
    return replace(sweep, configurations=chosen)


def claimed_names(sweep: SweepData, wanted: tuple[str, ...] = FOUR) -> dict[str, str]:
    """Return label → the study's name for those of the study's four optimizers that are wanted and have a result."""
    return {group.label: name for name, group in claimed_configurations(sweep).items() if name in wanted}


def scheduler_names(table: Table | None, sweep: SweepData) -> dict[str, str]:
    """Return label → name with rate of every scheduler at its best rate, from the table ``schedulers``.

    Only those on SGD with momentum 0.9; the first of equals.
    """
    labels = {group.counted_ids: group.label for group in sweep.counted}
    names: dict[str, str] = {}
    told = set()
    for row in table.rows if table is not None else ():
        scheduler, best = str(row.values["scheduler"]), row.values.get("best_rate")
        if best and row.values["optimizer"] == SCHEDULED and scheduler not in told:
            told.add(scheduler)
            word = "constant" if scheduler == NO_SCHEDULER else scheduler
            names[labels[tuple(row.run_ids)]] = f"{word}, lr={row.values['lr']:g}"
    return names


def _splits_of_adam(kind: str, splits: tuple[str, ...], sweep: SweepData, _: TableOf) -> Table | None:
    """Adam's loss or accuracy (``kind``), a line a split; test where every epoch was tested."""
    names = claimed_names(sweep, (ADAM,))
    tables = {SPLITS[split]: curves_table(only(sweep, names), f"{split}_{kind}") for split in splits} if names else {}
    told = {name: table for name, table in tables.items() if table is not None and (name != "Test" or _whole(table))}
    if not told:
        return None
    rows = [
        replace(row, values={**row.values, "configuration": name}) for name, table in told.items() for row in table.rows
    ]
    first = next(iter(told.values()))
    title, unit = ("Accuracy", "%") if kind == "acc" else ("Loss", "")
    columns = [Column("value", title, unit, 3) if column.key == "value" else column for column in first.columns]
    notes = [note for table in told.values() for note in table.notes]
    training = "Training is a mean over the epoch's batches, with augmentation and dropout."
    notes += [training] if SPLITS["train"] in told else []
    notes += [LOOKED_AT_TEST] if SPLITS["test"] in told else []
    return Table(f"adam_{kind}", f"{title} of Adam by epoch", columns, rows, list(dict.fromkeys(notes)))


def _adam_train_and_test(sweep: SweepData, _: TableOf) -> Table | None:
    names = claimed_names(sweep, (ADAM,))
    return train_and_test_table(only(sweep, names)) if names else None


def _compared(quantity: str, wanted: tuple[str, ...], sweep: SweepData, _: TableOf) -> Table | None:
    """A quantity of the study's optimizers; None for fewer than two, and a note on those that the sweep lacks."""
    names = claimed_names(sweep, wanted)
    table = curves_table(only(sweep, names), quantity) if len(names) > 1 else None
    if table is None:
        return None
    lacking = [name for name in wanted if name not in names.values()]
    without = [f"Without a result in this sweep: {', '.join(lacking)}."] if lacking else []
    settings = [SGD_SETTINGS, *([ADAM_SETTINGS] if ADAM in wanted else [])]
    return replace(table, notes=[*table.notes, " ".join(settings), *without])


def _scheduler_rates(sweep: SweepData, table_of: TableOf) -> Table | None:
    names = scheduler_names(table_of("schedulers"), sweep)
    return learning_rate_table(only(sweep, names)) if len(names) > 1 else None


def _scheduler_accuracies(sweep: SweepData, table_of: TableOf) -> Table | None:
    names = scheduler_names(table_of("schedulers"), sweep)
    return curves_table(only(sweep, names), "val_acc") if len(names) > 1 else None


STUDY_FIGURES: dict[str, FigureSpec] = {
    "adam_loss": FigureSpec(
        partial(_splits_of_adam, "loss", ("train", "val", "test")),
        draw_curves,
        "Figure 3 of the study: the loss of Adam (rate 0.001) by epoch.",
    ),
    "adam_accuracy": FigureSpec(
        partial(_splits_of_adam, "acc", ("val", "test")),
        draw_curves,
        "Figure 4 of the study: the accuracy of Adam (rate 0.001) by epoch.",
    ),
    "adam_train_and_test": FigureSpec(
        _adam_train_and_test,
        draw_train_and_test,
        "Figure 5 of the study: training against held-out accuracy of Adam (rate 0.001) by epoch.",
        height=2.9,
    ),
    "losses_compared": FigureSpec(
        partial(_compared, "val_loss", FOUR),
        draw_curves,
        "Figure 12 of the study: the validation loss of the study's four optimizers by epoch.",
    ),
    "accuracies_compared": FigureSpec(
        partial(_compared, "val_acc", FOUR),
        draw_curves,
        "The validation accuracy of the study's four optimizers by epoch.",
    ),
    "adam_and_sgd": FigureSpec(
        partial(_compared, "val_acc", ("SGD", ADAM)),
        draw_curves,
        "Adam against SGD: validation accuracy by epoch.",
    ),
    "momentum_and_nesterov": FigureSpec(
        partial(_compared, "val_acc", ("SGD + momentum", "SGD + Nesterov")),
        draw_curves,
        "Momentum against Nesterov's variant: validation accuracy by epoch.",
    ),
    "scheduler_rates": FigureSpec(
        _scheduler_rates,
        draw_learning_rates,
        "The learning rate that each scheduler really used on SGD with momentum 0.9, at the scheduler's own best rate "
        "by validation.",
    ),
    "scheduler_accuracies": FigureSpec(
        _scheduler_accuracies,
        draw_curves,
        "Validation accuracy by epoch of the schedulers on SGD with momentum 0.9, each at its own best rate by "
        "validation.",
    ),
}
"""Figure, which is also its file's name → how it is made."""


def tables_behind(sweep: SweepData, tables: Mapping[str, Table] | None = None) -> dict[str, Table]:
    """Return the table behind each of the study's figures that the sweep has the configurations for.

    ``tables`` are tables of ``TABLES`` that are already made, so that they are not made again.
    """
    made = tables or {}
    table_of = cache(lambda name: made[name] if name in made else TABLES[name](sweep))
    found = {name: spec.table(sweep, table_of) for name, spec in STUDY_FIGURES.items()}
    return {name: table for name, table in found.items() if table is not None and table.rows}


def study_figures(sweep: SweepData, tables: Mapping[str, Table] | None = None) -> dict[str, Figure]:
    """Draw every figure of the study that the sweep has the configurations for, in the study's order."""
    return {
        name: draw_figure(STUDY_FIGURES[name], table, study_looks(table), sweep.caveats())
        for name, table in tables_behind(sweep, tables).items()
    }


def study_looks(table: Table) -> dict[str, Look]:
    """Return the look of every line of a table; the study's four optimizers have the same in all figures."""
    names = [str(row.values["configuration"]) for row in table.rows]
    return colour_of(FOUR if set(names) <= set(FOUR) else names)


def _whole(table: Table) -> bool:
    """Whether every epoch has a value."""
    return all(row.values["n"] for row in table.rows)
