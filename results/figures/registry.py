"""All figures of a sweep, by name; a new one is one more entry. A table is made first, then the drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.figures import plot_data as made_for_figures
from results.figures.charts import (
    ROW_INCHES,
    draw_epochs_to_target,
    draw_final_accuracy,
    draw_learning_rate_sensitivity,
    draw_momentum,
    draw_scheduler_heat_map,
    draw_stability_and_accuracy,
)
from results.figures.curves import draw_curves, draw_learning_rates, draw_profile, draw_train_and_test
from results.figures.label_layout import write_notes
from results.figures.style import DOUBLE_COLUMN, PNG_DPI, RC, SINGLE_COLUMN, Look, Looks, colour_of
from results.ledger.arrays import SweepData
from results.tables.registry import TABLES
from results.tables.table import Table
from search_spaces.atomic_write import atomic_write
from search_spaces.errors import SweepFolderError, UnknownNameError

TableOf = Callable[[str], Table | None]
"""A name of ``TABLES`` → that table of the sweep, made once."""

FORMATS = ("png", "svg")

PICKED = (made_for_figures.MOST_PAIRS_OF_LINES, made_for_figures.MOST_CONFIGURATIONS)


@dataclass(frozen=True)
class FigureSpec:
    """One figure: the table that it draws, the drawing, and its size and caption."""

    table: Callable[[SweepData, TableOf], Table | None]
    draw: Callable[[Axes, Table, Looks], None]
    caption: str
    width: float = DOUBLE_COLUMN  # inches
    height: float = 2.7  # inches, without legend and notes
    row_height: float = 0.0  # inches more for every row of the table


def _curves(quantity: str, sweep: SweepData, table_of: TableOf) -> Table | None:
    return made_for_figures.curves_table(sweep, quantity)


def _picked(name: str, sweep: SweepData, table_of: TableOf) -> Table | None:
    return made_for_figures.chosen_rows(table_of(name), made_for_figures.pick(sweep))


def _final_accuracy(sweep: SweepData, table_of: TableOf) -> Table | None:
    return made_for_figures.by_accuracy(_picked("convergence", sweep, table_of))


def _epochs_to_target(sweep: SweepData, table_of: TableOf) -> Table | None:
    return made_for_figures.by_epochs_to_target(_picked("convergence", sweep, table_of), sweep.epochs)


def _stability_and_accuracy(sweep: SweepData, table_of: TableOf) -> Table | None:
    return made_for_figures.stability_and_accuracy_table(_picked("stability", sweep, table_of), table_of("convergence"))


FIGURES: dict[str, FigureSpec] = {
    "validation_loss": FigureSpec(partial(_curves, "val_loss"), draw_curves, "Validation loss by epoch."),
    "validation_accuracy": FigureSpec(partial(_curves, "val_acc"), draw_curves, "Validation accuracy by epoch."),
    "training_loss": FigureSpec(partial(_curves, "train_loss"), draw_curves, "Training loss by epoch."),
    "train_and_test": FigureSpec(
        lambda sweep, _: made_for_figures.train_and_test_table(sweep),
        draw_train_and_test,
        "Training against held-out accuracy by epoch.",
        height=2.9,
    ),
    "learning_rate": FigureSpec(
        lambda sweep, _: made_for_figures.learning_rate_table(sweep),
        draw_learning_rates,
        "The learning rate that each configuration really used.",
    ),
    "final_accuracy": FigureSpec(
        _final_accuracy,
        draw_final_accuracy,
        "Final validation accuracy: mean over seeds with its 95 % t-interval.",
        height=0.65,
        row_height=ROW_INCHES,
    ),
    "epochs_to_target": FigureSpec(
        _epochs_to_target,
        draw_epochs_to_target,
        "Median epochs to the target accuracy; an open triangle at the edge is a median that never reached it.",
        height=0.65,
        row_height=ROW_INCHES,
    ),
    "stability_and_accuracy": FigureSpec(
        _stability_and_accuracy,
        draw_stability_and_accuracy,
        "Standard deviation over seeds against final validation accuracy: down and right is better.",
    ),
    "schedulers": FigureSpec(
        lambda _, table_of: made_for_figures.scheduler_cells(table_of("schedulers")),
        draw_scheduler_heat_map,
        "Final validation accuracy by scheduler and optimizer, each at its own best learning rate.",
        height=3.4,
    ),
    "learning_rates": FigureSpec(
        lambda _, table_of: made_for_figures.best_families(table_of("learning_rates")),
        draw_learning_rate_sensitivity,
        "Final validation accuracy against the learning rate, with 95 % intervals.",
        width=SINGLE_COLUMN,
        height=2.4,
    ),
    "momentum": FigureSpec(
        lambda _, table_of: made_for_figures.momentum_variants(table_of("momentum")),
        draw_momentum,
        "Final validation accuracy by momentum, dampening and Nesterov's variant, with 95 % intervals.",
        width=SINGLE_COLUMN,
        height=2.4,
    ),
    "profile": FigureSpec(
        partial(_picked, "profile"),
        draw_profile,
        "Performance profile: the share of targets that a configuration reaches within τ times the epochs of the "
        "fastest. A sweep has one workload, so the profile's problems are this sweep's targets: 50 to 100 % of its "
        "best accuracy.",
    ),
}
"""Figure, which is also its file's name → how it is made."""


def make_figures(sweep: SweepData, tables: Mapping[str, Table] | None = None) -> dict[str, Figure]:
    """Return every figure that the sweep has something for.

    Args:
        sweep: what was measured.
        tables: tables of ``TABLES`` that are already made, so that they are not made again.
    """
    made = tables or {}
    table_of = cache(lambda name: made[name] if name in made else TABLES[name](sweep))
    looks = looks_of(sweep)
    figures = {}
    for name, spec in FIGURES.items():
        table = spec.table(sweep, table_of)
        if table is not None and table.rows:
            figures[name] = draw_figure(spec, table, looks, sweep.caveats())
    return figures


def looks_of(sweep: SweepData) -> dict[str, Look]:
    """Return the look of every configuration in all figures of the sweep.

    Those that the figures pick come first: the few that share a figure then differ in colour as far as colours go.
    """
    picks = [made_for_figures.pick(sweep, most).configurations for most in PICKED]
    return colour_of([group.label for groups in (*picks, sweep.configurations) for group in groups])


def draw_figure(spec: FigureSpec, table: Table, looks: Looks, caveats: Sequence[str] = ()) -> Figure:
    """Draw a table as its figure; its notes and the sweep's caveats stand under the axes in small grey type."""
    with matplotlib.rc_context(RC):
        height = spec.height + spec.row_height * len(table.rows)
        figure = Figure(figsize=(spec.width, height), layout="constrained")
        write_notes(figure, list(dict.fromkeys([*table.notes, *caveats])))
        axes = figure.add_subplot()
        spec.draw(axes, table, looks)
    return figure


def save_figures(
    sweep: SweepData,
    folder: Path,
    formats: Sequence[str] = FORMATS,
    tables: Mapping[str, Table] | None = None,
) -> list[Path]:
    """Write every figure of the sweep; see :func:`write_figures`."""
    _check_formats(formats)
    return write_figures(make_figures(sweep, tables), folder, formats)


def write_figures(figures: Mapping[str, Figure], folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write every figure under its name, once a format; return the files. The same data gives the same bytes.

    Each file is written aside and then renamed, so a reader sees the old one or the new one, whole.

    Raises:
        UnknownNameError: a format that is not in ``FORMATS``; nothing has been written then.
        SweepFolderError: a folder that cannot be written.
    """
    _check_formats(formats)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [
            _save(figure, folder / f"{name}.{suffix}", suffix) for name, figure in figures.items() for suffix in formats
        ]
    except OSError as error:
        raise SweepFolderError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _check_formats(formats: Sequence[str]) -> None:
    for suffix in formats:
        if suffix not in FORMATS:
            raise UnknownNameError("format", suffix, FORMATS)


def _save(figure: Figure, path: Path, suffix: str) -> Path:
    dateless = {"Date": None} if suffix == "svg" else {"Software": None}
    with matplotlib.rc_context(RC), atomic_write(path) as unfinished:
        figure.savefig(unfinished, format=suffix, dpi=PNG_DPI, metadata=dateless)
    return path
