"""The study's figures that are made from a sweep's ledger, in the study's order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial

from matplotlib.figure import Figure

from results.figures.configuration_styles import sweep_styles
from results.figures.curves import draw_curves, draw_learning_rates, draw_train_and_test
from results.figures.plot_data import curves_table, train_and_test_table
from results.figures.rate_data import learning_rate_table
from results.figures.registry import FigureSpec, TableOf, draw_figure
from results.figures.style import MARKERS, Style
from results.ledger.arrays import SweepData
from results.reports.study.claims import CLAIMS, claimed_configurations
from results.tables.registry import TABLES
from results.tables.table import Column, Table
from search_spaces import NO_SCHEDULER

ADAM = "Adam"
OPTIMIZERS = tuple(claim.name for claim in CLAIMS)
SCHEDULED = "SGD momentum=0.9"
"""The optimizer of the study's schedulers, as in the table ``schedulers``."""

SPLITS = {"train": "Training", "val": "Validation", "test": "Test"}
SGD_SETTINGS = "SGD: learning rate 0.01, momentum 0.9 where named, no schedule."
ADAM_SETTINGS = "Adam: learning rate 0.001, no schedule."
TEST_NOTE = "The test set is not used for selection."


def relabelled_subset(sweep: SweepData, names: Mapping[str, str]) -> SweepData:
    """Return the sweep with only some of its configurations, under other names.

    Args:
        sweep: the measured data.
        names: a configuration's label → its name in the figure, in the figure's order.

    Raises:
        KeyError: the sweep has no configuration with this label.
    """
    groups = {group.label: group for group in sweep.configurations}
    chosen = tuple(replace(groups[label], label=name) for label, name in names.items())
    return replace(sweep, configurations=chosen)


def claimed_names(sweep: SweepData, wanted: tuple[str, ...] = OPTIMIZERS) -> dict[str, str]:
    """Return label → the study's name for the ``wanted`` optimizers of the study that have a result."""
    return {group.label: name for name, group in claimed_configurations(sweep).items() if name in wanted}


def scheduler_names(table: Table | None, sweep: SweepData) -> dict[str, str]:
    """Return label → scheduler and learning rate for each scheduler at its best lr, from the table ``schedulers``.

    Only for SGD with momentum 0.9; the first of equal ones.
    """
    labels = {group.counted_ids: group.label for group in sweep.counted}
    names: dict[str, str] = {}
    done = set()
    for row in table.rows if table is not None else ():
        scheduler, best = str(row.values["scheduler"]), row.values.get("best_rate")
        if best and row.values["optimizer"] == SCHEDULED and scheduler not in done:
            done.add(scheduler)
            text = "constant" if scheduler == NO_SCHEDULER else scheduler
            names[labels[tuple(row.run_ids)]] = f"{text}, lr={row.values['lr']:g}"
    return names


def _splits_of_adam(kind: str, splits: tuple[str, ...], sweep: SweepData, _: TableOf) -> Table | None:
    """Adam's loss or accuracy (``kind``), one line per split; the test split only if every epoch was tested."""
    names = claimed_names(sweep, (ADAM,))
    tables = (
        {SPLITS[split]: curves_table(relabelled_subset(sweep, names), f"{split}_{kind}") for split in splits}
        if names
        else {}
    )
    shown = {name: table for name, table in tables.items() if table is not None and (name != "Test" or _whole(table))}
    if not shown:
        return None
    rows = [
        replace(row, values={**row.values, "configuration": name})
        for name, table in shown.items()
        for row in table.rows
    ]
    first = next(iter(shown.values()))
    title, unit = ("Accuracy", "%") if kind == "acc" else ("Loss", "")
    columns = [Column("value", title, unit, 3) if column.key == "value" else column for column in first.columns]
    notes = [note for table in shown.values() for note in table.notes]
    training = "Training is a mean over the epoch's batches, with augmentation and dropout."
    notes += [training] if SPLITS["train"] in shown else []
    notes += [TEST_NOTE] if SPLITS["test"] in shown else []
    return Table(f"adam_{kind}", f"{title} of Adam by epoch", columns, rows, list(dict.fromkeys(notes)))


def _adam_train_and_test(sweep: SweepData, _: TableOf) -> Table | None:
    names = claimed_names(sweep, (ADAM,))
    return train_and_test_table(relabelled_subset(sweep, names)) if names else None


def _compared(quantity: str, wanted: tuple[str, ...], sweep: SweepData, _: TableOf) -> Table | None:
    """A quantity of the study's optimizers; None for fewer than two; a note names missing optimizers."""
    names = claimed_names(sweep, wanted)
    table = curves_table(relabelled_subset(sweep, names), quantity) if len(names) > 1 else None
    if table is None:
        return None
    missing = [name for name in wanted if name not in names.values()]
    without = [f"Without a result in this sweep: {', '.join(missing)}."] if missing else []
    settings = [SGD_SETTINGS, *([ADAM_SETTINGS] if ADAM in wanted else [])]
    return replace(table, notes=[*table.notes, " ".join(settings), *without])


def _scheduler_rates(sweep: SweepData, table_of: TableOf) -> Table | None:
    names = scheduler_names(table_of("schedulers"), sweep)
    return learning_rate_table(relabelled_subset(sweep, names)) if len(names) > 1 else None


def _scheduler_accuracies(sweep: SweepData, table_of: TableOf) -> Table | None:
    names = scheduler_names(table_of("schedulers"), sweep)
    return curves_table(relabelled_subset(sweep, names), "val_acc") if len(names) > 1 else None


STUDY_FIGURES: dict[str, FigureSpec] = {
    "adam_loss": FigureSpec(
        partial(_splits_of_adam, "loss", ("train", "val", "test")),
        draw_curves,
        "Figure 3 of the study: loss of Adam (learning rate 0.001) by epoch.",
    ),
    "adam_accuracy": FigureSpec(
        partial(_splits_of_adam, "acc", ("val", "test")),
        draw_curves,
        "Figure 4 of the study: accuracy of Adam (learning rate 0.001) by epoch.",
    ),
    "adam_train_and_test": FigureSpec(
        _adam_train_and_test,
        draw_train_and_test,
        "Figure 5 of the study: training and held-out accuracy of Adam (learning rate 0.001) by epoch.",
        height=2.9,
    ),
    "losses_compared": FigureSpec(
        partial(_compared, "val_loss", OPTIMIZERS),
        draw_curves,
        "Figure 12 of the study: validation loss of the study's four optimizers by epoch.",
    ),
    "accuracies_compared": FigureSpec(
        partial(_compared, "val_acc", OPTIMIZERS),
        draw_curves,
        "Validation accuracy of the study's four optimizers by epoch.",
    ),
    "adam_and_sgd": FigureSpec(
        partial(_compared, "val_acc", ("SGD", ADAM)),
        draw_curves,
        "Adam and SGD: validation accuracy by epoch.",
    ),
    "momentum_and_nesterov": FigureSpec(
        partial(_compared, "val_acc", ("SGD + momentum", "SGD + Nesterov")),
        draw_curves,
        "Momentum and Nesterov momentum: validation accuracy by epoch.",
    ),
    "scheduler_rates": FigureSpec(
        _scheduler_rates,
        draw_learning_rates,
        "Learning rate of each scheduler for SGD with momentum 0.9, as used, at the scheduler's best learning rate by "
        "validation.",
    ),
    "scheduler_accuracies": FigureSpec(
        _scheduler_accuracies,
        draw_curves,
        "Validation accuracy by epoch of the schedulers for SGD with momentum 0.9, each at its best learning rate by "
        "validation.",
    ),
}
"""Figure, also the name of its file → its specification."""


def study_figure_tables(sweep: SweepData, tables: Mapping[str, Table] | None = None) -> dict[str, Table]:
    """Return the table of each of the study's figures for which the sweep has the configurations.

    ``tables`` are tables of ``TABLES`` that exist already; the others are made.
    """
    made = tables or {}
    table_of = cache(lambda name: made[name] if name in made else TABLES[name](sweep))
    found = {name: spec.table(sweep, table_of) for name, spec in STUDY_FIGURES.items()}
    return {name: table for name, table in found.items() if table is not None and table.rows}


def study_figures(sweep: SweepData, tables: Mapping[str, Table] | None = None) -> dict[str, Figure]:
    """Draw every figure of the study for which the sweep has the configurations, in the study's order."""
    return {
        name: draw_figure(STUDY_FIGURES[name], table, study_styles(sweep, table), sweep)
        for name, table in study_figure_tables(sweep, tables).items()
    }


def study_styles(sweep: SweepData, table: Table) -> dict[str, Style]:
    """Return the style of every line of a table: colour and line style of its configuration in the sweep's figures.

    Lines of one configuration have different markers.
    """
    of_sweep = sweep_styles(sweep)
    label_of = {run_id: group.label for group in sweep.configurations for run_id in group.run_ids}
    labels = {str(row.values["configuration"]): label_of[row.run_ids[0]] for row in table.rows}
    return {
        name: replace(of_sweep[label], marker=MARKERS[i % len(MARKERS)])
        for i, (name, label) in enumerate(labels.items())
    }


def _whole(table: Table) -> bool:
    """Return whether every epoch has a value."""
    return all(row.values["n"] for row in table.rows)
