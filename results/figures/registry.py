"""The figures of every sweep by name. A new figure is a new entry: its table and the function that draws it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from results.figures import benchmark, chart_data, plot_data
from results.figures.charts import (
    ROW_INCHES,
    draw_epochs_to_target,
    draw_final_accuracy,
    draw_learning_rate_sensitivity,
    draw_momentum,
    draw_scheduler_heat_map,
    draw_stability_and_accuracy,
)
from results.figures.configuration_styles import sweep_styles
from results.figures.curves import draw_curves, draw_learning_rates, draw_profile, draw_train_and_test
from results.figures.label_layout import SHARE_OF_LABELS, figure_text, lay_out, wrapped, write_notes
from results.figures.rate_data import learning_rate_table
from results.figures.selection import Selection, select_configurations, select_lines
from results.figures.style import DOUBLE_COLUMN, PNG_DPI, SINGLE_COLUMN, Styles, drawing_style
from results.ledger.arrays import NOT_COMPARED, SweepData
from results.tables.registry import TABLES, has_table
from results.tables.table import Table
from search_spaces.atomic_write import atomic_write
from search_spaces.errors import SweepFolderError, UnknownNameError

TableOf = Callable[[str], Table | None]
"""A name of ``TABLES`` → this table of the sweep, made once."""

FORMATS = ("png", "svg")
"""The formats of a sweep's figures."""
PAPER_FORMAT = "pdf"
WITHOUT_TIME = {"png": {"Software": None}, "svg": {"Date": None}, PAPER_FORMAT: {"CreationDate": None}}
"""Format that can be written → the metadata that would differ from one writing to the next."""


@dataclass(frozen=True)
class FigureSpec:
    """One figure: its table, the function that draws it, its caption and its size."""

    table: Callable[[SweepData, TableOf], Table | None]
    draw: Callable[[Axes, Table, Styles], None]
    caption: str
    width: float = DOUBLE_COLUMN  # inches
    height: float = 2.7  # inches, without legend and notes
    row_height: float = 0.0  # additional inches per configuration of the table


def _curves(quantity: str, sweep: SweepData, table_of: TableOf) -> Table | None:
    return plot_data.curves_table(sweep, quantity)


Select = Callable[[SweepData], Selection]


def _selected_rows(name: str, select: Select, sweep: SweepData, table_of: TableOf) -> Table | None:
    return chart_data.selected_rows(table_of(name), select(sweep))


def _final_accuracy(sweep: SweepData, table_of: TableOf) -> Table | None:
    selected = _selected_rows("convergence", select_configurations, sweep, table_of)
    return chart_data.notes_on_runs(chart_data.with_runs(chart_data.sorted_by_accuracy(selected), sweep))


def _epochs_to_target(sweep: SweepData, table_of: TableOf) -> Table | None:
    selected = _selected_rows("convergence", select_configurations, sweep, table_of)
    return chart_data.sorted_by_epochs_to_target(selected, sweep.epochs, sweep.target)


def _stability_and_accuracy(sweep: SweepData, table_of: TableOf) -> Table | None:
    selected = _selected_rows("stability", select_lines, sweep, table_of)
    return chart_data.stability_and_accuracy_table(selected, table_of("convergence"))


def _profile(sweep: SweepData, table_of: TableOf) -> Table | None:
    steps = chart_data.profile_steps(_selected_rows("profile", select_lines, sweep, table_of))
    return replace(steps, notes=[*steps.notes, *select_lines(sweep).style_note()]) if steps is not None else None


def _learning_rates(sweep: SweepData, table_of: TableOf) -> Table | None:
    families = chart_data.with_runs(chart_data.best_lr_families(table_of("learning_rates")), sweep)
    return chart_data.notes_on_runs(families)


def _momentum(sweep: SweepData, table_of: TableOf) -> Table | None:
    best = chart_data.best_per_momentum(table_of("momentum"), sweep)
    return chart_data.notes_on_runs(chart_data.with_runs(best, sweep))


FIGURES: dict[str, FigureSpec] = {
    "tuning_curves": FigureSpec(
        benchmark.tuning_curves,
        benchmark.draw_tuning_curves,
        "Expected best validation accuracy by points spent on tuning, with 95 % bands.",
    ),
    "evaluation": FigureSpec(
        benchmark.evaluation_accuracy,
        benchmark.draw_evaluation,
        "Accuracy under new seeds: every run, and the mean of each configuration.",
        height=0.8,
        row_height=0.42,
    ),
    "validation_loss": FigureSpec(partial(_curves, "val_loss"), draw_curves, "Validation loss by epoch."),
    "validation_accuracy": FigureSpec(partial(_curves, "val_acc"), draw_curves, "Validation accuracy by epoch."),
    "training_loss": FigureSpec(partial(_curves, "train_loss"), draw_curves, "Training loss by epoch."),
    "train_and_test": FigureSpec(
        lambda sweep, _: plot_data.train_and_test_table(sweep),
        draw_train_and_test,
        "Training and held-out accuracy by epoch.",
        height=2.9,
    ),
    "learning_rate": FigureSpec(
        lambda sweep, _: learning_rate_table(sweep),
        draw_learning_rates,
        "Learning rate by step, as used.",
    ),
    "final_accuracy": FigureSpec(
        _final_accuracy,
        draw_final_accuracy,
        "Final validation accuracy of each configuration: mean over seeds.",
        height=0.65,
        row_height=ROW_INCHES,
    ),
    "epochs_to_target": FigureSpec(
        _epochs_to_target,
        draw_epochs_to_target,
        "Median epochs to the target accuracy.",
        height=0.65,
        row_height=ROW_INCHES,
    ),
    "stability_and_accuracy": FigureSpec(
        _stability_and_accuracy,
        draw_stability_and_accuracy,
        "Standard deviation over seeds against final validation accuracy. Lower right is better.",
    ),
    "schedulers": FigureSpec(
        lambda _, table_of: chart_data.best_per_scheduler(table_of("schedulers")),
        draw_scheduler_heat_map,
        "Final validation accuracy by scheduler and optimizer, each at its best learning rate.",
        height=3.4,
    ),
    "learning_rates": FigureSpec(
        _learning_rates,
        draw_learning_rate_sensitivity,
        "Final validation accuracy by learning rate.",
        width=SINGLE_COLUMN,
        height=2.4,
    ),
    "momentum": FigureSpec(
        _momentum,
        draw_momentum,
        "Final validation accuracy by momentum.",
        width=SINGLE_COLUMN,
        height=2.4,
    ),
    "profile": FigureSpec(
        _profile,
        draw_profile,
        "Performance profile: the share of targets that a configuration reaches within τ times the epochs of the "
        "fastest. A sweep has one workload, so the problems of the profile are its targets: 50 to 100 % of its best "
        "accuracy.",
    ),
}
"""Figure, also the name of its file → its specification."""


def make_figures(
    sweep: SweepData, tables: Mapping[str, Table] | None = None, only: Collection[str] | None = None
) -> dict[str, Figure]:
    """Return every figure that the sweep has data for, by name.

    Args:
        sweep: the measured data.
        tables: tables of ``TABLES`` that exist already; the others are made.
        only: the figures to make; None: all.
    """
    styles = sweep_styles(sweep)
    return {
        name: draw_figure(FIGURES[name], table, styles, sweep)
        for name, table in figure_tables(sweep, tables, only).items()
    }


def figure_tables(
    sweep: SweepData, tables: Mapping[str, Table] | None = None, only: Collection[str] | None = None
) -> dict[str, Table]:
    """Return the table of every figure that the sweep has data for, by the figure's name."""
    made = tables or {}
    table_of = cache(
        lambda name: made[name] if name in made else TABLES[name](sweep) if has_table(sweep, name) else None
    )
    found = {name: spec.table(sweep, table_of) for name, spec in FIGURES.items() if only is None or name in only}
    return {name: table for name, table in found.items() if table is not None and table.rows}


def draw_figure(spec: FigureSpec, table: Table, styles: Styles, sweep: SweepData) -> Figure:
    """Draw a table as its figure.

    Below the axes, in small grey type: the sweep's name with n, the notes of the table, and the sweep's caveats.
    """
    with drawing_style():
        height = spec.height + spec.row_height * _lines_of_names(spec.width, table)
        figure = Figure(figsize=(spec.width, height), layout="constrained")
        FigureCanvasAgg(figure)  # it keeps its renderer, and with it the measured sizes of texts
        write_notes(figure, [*dict.fromkeys([name_and_n(sweep, table), *table.notes, *_caveats(sweep)])])
        axes = figure.add_subplot()
        spec.draw(axes, _without_math(table), {figure_text(name): style for name, style in styles.items()})
    return figure


def name_and_n(sweep: SweepData, table: Table) -> str:
    """Return the sweep's name, and how many runs each configuration (method, cell) of the figure has."""
    runs: dict[object, set[str]] = {}
    for i, row in enumerate(table.rows):
        key = row.values.get("configuration") or row.values.get("method") or i
        runs.setdefault(key, set()).update(row.run_ids)
    least, most = min(map(len, runs.values())), max(map(len, runs.values()))
    what = "configuration" if "method" not in table.rows[0].values else "method"
    number = f"{least}" if least == most else f"{least} to {most}"
    return f"Sweep {sweep.name}, n = {number} {'run' if most == 1 else 'runs'} per {what}."


def _caveats(sweep: SweepData) -> list[str]:
    """Return the sweep's caveats without those about what no figure shows."""
    return [caveat for caveat in sweep.caveats() if not caveat.startswith(NOT_COMPARED)]


def _lines_of_names(width: float, table: Table) -> int:
    """Return the lines that the names of the rows need beside the axes, if each has as many as the longest."""
    names = {figure_text(str(row.values.get("configuration") or "")) for row in table.rows}
    longest = max((wrapped(name, SHARE_OF_LABELS * width).count("\n") + 1 for name in names), default=1)
    return longest * len(names)


def _without_math(table: Table) -> Table:
    """Return the table with texts that matplotlib draws as they are, without formulas between dollars."""
    rows = [
        replace(row, values={key: figure_text(v) if isinstance(v, str) else v for key, v in row.values.items()})
        for row in table.rows
    ]
    return replace(table, rows=rows)


@dataclass(frozen=True)
class FigureWriter:
    """Draws one figure of a sweep and writes its files. It can be pickled."""

    sweep: SweepData
    styles: Styles
    folder: Path
    formats: Sequence[str] = FORMATS

    def __call__(self, name: str, table: Table) -> list[Path]:
        """Draw ``table`` as the figure ``name``; return the files; see :func:`write_figures`."""
        figure = draw_figure(FIGURES[name], table, self.styles, self.sweep)
        return write_figures({name: figure}, self.folder, self.formats)


DrawEach = Callable[[Mapping[str, Table], FigureWriter], list[Path]]
"""Writes the figure of each table by its name; returns the files in the order of the tables."""


def draw_here(tables: Mapping[str, Table], write: FigureWriter) -> list[Path]:
    """Draw one figure after another in this process."""
    return [path for name, table in tables.items() for path in write(name, table)]


def save_figures(
    sweep: SweepData,
    folder: Path,
    formats: Sequence[str] = FORMATS,
    tables: Mapping[str, Table] | None = None,
    draw: DrawEach = draw_here,
) -> list[Path]:
    """Write every figure of the sweep; see :func:`write_figures`. ``draw`` decides which process draws which.

    After an error some of the files are new and the others are old.
    """
    write_figures({}, folder, formats)  # reports a wrong format or folder before the first figure is drawn
    return draw(figure_tables(sweep, tables), FigureWriter(sweep, sweep_styles(sweep), folder, formats))


def write_figures(figures: Mapping[str, Figure], folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write every figure as ``NAME.FORMAT``; return the files. The same data gives the same bytes.

    Each file is replaced atomically.

    Raises:
        UnknownNameError: a format that cannot be written; no file is written.
        SweepFolderError: the folder cannot be written.
    """
    _check_formats(formats)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [path for name, figure in figures.items() for path in _save(figure, folder / name, formats)]
    except OSError as error:
        raise SweepFolderError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _check_formats(formats: Sequence[str]) -> None:
    for suffix in formats:
        if suffix not in WITHOUT_TIME:
            raise UnknownNameError("format", suffix, WITHOUT_TIME)


def _save(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure in each format. The layout is made once: it takes as long as the drawing."""
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in formats]
    with drawing_style():
        lay_out(figure)
        figure.set_layout_engine(None)
        for suffix, path in zip(formats, paths, strict=True):
            with atomic_write(path) as unfinished:
                figure.savefig(unfinished, format=suffix, dpi=PNG_DPI, metadata=WITHOUT_TIME[suffix])
    return paths
