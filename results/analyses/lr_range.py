"""Stored learning-rate range tests, with their table and figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from results.analyses.file_format import SYNTHETIC_NOTE, columns_of, data_label, read_analysis
from results.figures.configuration_styles import configuration_styles
from results.figures.curves import Series, draw_named_lines, label_lines
from results.figures.label_layout import write_notes
from results.figures.selection import grey_note
from results.figures.style import DOUBLE_COLUMN, GREY, MAX_DIRECT_LABELS, Styles, drawing_style
from results.metrics.lr_range import (
    BETA,
    CHANCE,
    divergence_point,
    divergence_step,
    first_used_step,
    smooth_loss,
    suggest_steepest,
    suggest_tenth,
)
from results.tables.table import Column, Row, Table, Value
from search_spaces.errors import LedgerError

Array = npt.NDArray[np.float64]

KIND = "lr-range"

RANGE_CAPTIONS = {
    "lr_range": "Learning-rate range test: smoothed training loss while the learning rate increases at every step. "
    "Faint lines: losses of single batches.",
}


@dataclass(frozen=True)
class RangeTest:
    """One configuration's range test over S steps; NaN from the first loss that is not finite."""

    label: str
    lr: Array  # [S]
    loss: Array  # [S], of the step's batch
    moved: Array  # [S], L2 distance of the weights from their start, after the step
    about: Mapping[str, Any]

    @property
    def smooth(self) -> Array:
        """The smoothed loss ``[S]``."""
        return smooth_loss(self.loss)

    @property
    def chance(self) -> float:
        """Cross-entropy of a uniform guess: ln C for C classes; C is 100 if the file does not have it."""
        classes = self.about.get("classes")
        return math.log(classes) if isinstance(classes, int) and classes > 1 else CHANCE


def read_range_test(path: Path) -> RangeTest:
    """Read one configuration's range test: the columns ``lr``, ``loss`` and ``moved``, and the metadata.

    Raises:
        LedgerError: the file is missing, incomplete, or of another analysis.
    """
    file = read_analysis(path)
    try:
        if file.about["kind"] != KIND:
            raise LedgerError(f"{path}: holds the analysis {file.about['kind']!r}, not {KIND!r}")
        lr, loss, moved = (np.asarray(file.columns[name], np.float64) for name in ("lr", "loss", "moved"))
        return RangeTest(str(file.about["label"]), lr, loss, moved, file.about)
    except KeyError as error:
        raise LedgerError(f"{path}: has no {error}; delete it and run the analysis again") from error


def range_test_labels(tests: Sequence[RangeTest]) -> list[str]:
    """Return a unique label for each test: its configuration's label, with the fact that distinguishes equal labels.

    This is the seed, else the data set, else the beginning of the run id.
    """
    names = [test.label for test in tests]
    seeds = [f"seed {test.about.get('seed')}" for test in tests]
    data = [Path(str(test.about.get("data"))).name for test in tests]  # the name of a folder, without its path
    run_ids = [str(test.about.get("run_id"))[:8] for test in tests]
    for facts in (seeds, data, run_ids):
        known = set(zip(names, facts, strict=True))
        several = {name for name in names if sum(one == name for one, _ in known) > 1}
        names = [f"{name} {fact}" if name in several else name for name, fact in zip(names, facts, strict=True)]
    return names


def range_table(tests: Sequence[RangeTest]) -> Table:
    """Return the table ``lr_range``: suggested learning rates, one row per configuration."""
    columns = (
        Column("configuration", "Configuration"), Column("lr", "Configured lr", general=True),
        Column("steepest", "Steepest at lr", general=True), Column("tenth", "Tenth of divergence", general=True),
        Column("diverged", "Diverges at lr", general=True), Column("lowest_loss", "Lowest smoothed loss", decimals=3),
        Column("lowest_lr", "Lowest at lr", general=True), Column("moved", "Weights moved", "L2", decimals=3),
    )  # fmt: skip
    caption = "Learning-rate range test: suggested learning rates"
    rows = [_row(test, name) for test, name in zip(tests, range_test_labels(tests), strict=True)]
    return Table("lr_range", caption, columns, rows, _notes(tests), _data(tests))


def _row(test: RangeTest, name: str) -> Row:
    smooth, end = test.smooth, divergence_step(test.smooth, test.chance)
    counted = smooth[first_used_step(smooth) : end]
    moved = test.moved[:end][np.isfinite(test.moved[:end])]
    lowest = first_used_step(smooth) + int(counted.argmin()) if len(counted) else None
    configured_lr = test.about.get("configuration", {}).get("optimizer", {}).get("lr")
    values = {
        "configuration": name,
        "lr": float(configured_lr) if isinstance(configured_lr, int | float) else None,
        "steepest": suggest_steepest(test.lr, smooth, test.chance),
        "tenth": suggest_tenth(test.lr, smooth, test.chance),
        "diverged": divergence_point(test.lr, smooth, test.chance),
        "lowest_loss": None if lowest is None else float(smooth[lowest]),
        "lowest_lr": None if lowest is None else float(test.lr[lowest]),
        "moved": float(moved[-1]) if len(moved) else None,
    }
    return Row(values, [str(test.about["run_id"])] if "run_id" in test.about else [])


def _notes(tests: Sequence[RangeTest]) -> list[str]:
    notes = []
    for lr in {(len(test.lr), test.lr[0], test.lr[-1]): test.lr for test in tests}.values():
        lag = BETA / (1 - BETA) * math.log10(lr[-1] / lr[0]) / (len(lr) - 1)
        notes.append(
            f"{len(lr)} steps from {lr[0]:g} to {lr[-1]:g}. The smoothed loss (EWMA, β = {BETA:g}) lags by "
            f"about 9 steps, {lag:.2g} decades of the learning rate."
        )
    shared = {str(test.about["start"]) for test in tests if "start" in test.about}
    notes += [f"Start: {start}." for start in sorted(shared)]
    flat = [test for test in tests if not _has_suggestion(test)]
    if flat:
        chance = ", ".join(f"{one:.3f}" for one in sorted({test.chance for test in flat}))
        notes.append(
            f"No suggestion for {len(flat)} of {len(tests)}: the loss did not decrease by 1 % and by six times the "
            f"noise of single batches, and did not diverge after it was 1 % below chance ({chance}). Use more steps, "
            "or weights that have left the plateau."
        )
    if any(test.about.get("synthetic") for test in tests):
        notes.append(SYNTHETIC_NOTE)
    return notes


def _has_suggestion(test: RangeTest) -> bool:
    suggestions = (suggest(test.lr, test.smooth, test.chance) for suggest in (suggest_steepest, suggest_tenth))
    return any(found is not None for found in suggestions)


def _data(tests: Sequence[RangeTest]) -> str:
    return ", ".join(sorted({data_label(test.about) for test in tests}))


def range_curves(tests: Sequence[RangeTest]) -> Table:
    """Return the table ``lr_range_curves`` of the figure: one row per configuration and step.

    ``steepest`` is the smoothed loss at the steepest decrease, ``tenth`` that at a tenth of the divergence.
    """
    columns = (
        Column("configuration", "Configuration"), Column("lr", "Learning rate", decimals=8),
        Column("loss", "Training loss", decimals=4), Column("smoothed", "Smoothed training loss", decimals=4),
        Column("moved", "Weights moved", "L2", decimals=4), Column("steepest", "at the steepest decrease", decimals=4),
        Column("tenth", "at a tenth of the divergence", decimals=4),
    )  # fmt: skip
    rows = []
    named = best_tests(tests)
    for test, name in zip(tests, range_test_labels(tests), strict=True):
        smooth = test.smooth
        marks = {
            "steepest": suggest_steepest(test.lr, smooth, test.chance),
            "tenth": suggest_tenth(test.lr, smooth, test.chance),
        }
        at = {
            key: None if rate is None else int(np.abs(np.log(test.lr / rate)).argmin()) for key, rate in marks.items()
        }
        for i, (lr, loss, average, moved) in enumerate(zip(test.lr, test.loss, smooth, test.moved, strict=True)):
            values: dict[str, Value] = {key: float(average) for key, step in at.items() if step == i}
            values |= {"configuration": name, "lr": float(lr), "loss": float(loss), "smoothed": float(average)}
            values["named"] = name in named
            rows.append(Row({**values, "moved": float(moved)}, [str(test.about.get("run_id", ""))]))
    grey = [grey_note(len(named), len(tests), "lowest smoothed loss")] if len(tests) > len(named) else []
    caption = RANGE_CAPTIONS["lr_range"]
    return Table("lr_range_curves", caption, columns, rows, [*_notes(tests), *grey], _data(tests))


def range_figures(tests: Sequence[RangeTest]) -> dict[str, Figure]:
    """Return the figure ``lr_range``; empty without tests."""
    if not tests:
        return {}
    table = range_curves(tests)
    with drawing_style():
        figure = Figure(figsize=(DOUBLE_COLUMN, 3.0), layout="constrained")
        write_notes(figure, table.notes)
        draw_range_test(figure.add_subplot(), table, range_styles(tests))
    return {"lr_range": figure}


def range_styles(tests: Sequence[RangeTest]) -> Styles:
    """Return the style of every test: the colour is that of the optimizer, the line style that of the scheduler."""
    names = range_test_labels(tests)
    return configuration_styles(
        {name: columns_of(test.about.get("configuration")) for name, test in zip(names, tests, strict=True)}
    )


def best_tests(tests: Sequence[RangeTest]) -> list[str]:
    """Return the labels of the tests with the lowest smoothed loss, at most those that have a name in the figure."""
    names = range_test_labels(tests)
    lowest = [_number(_row(test, name).values["lowest_loss"]) for test, name in zip(tests, names, strict=True)]
    order = np.argsort(lowest, kind="stable")  # NaN last
    return [names[i] for i in order[:MAX_DIRECT_LABELS]]


def draw_range_test(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw the smoothed loss against the learning rate, one line per configuration.

    The suggestions of the lines in colour are marked.
    """
    names = list(dict.fromkeys(str(row.values["configuration"]) for row in table.rows))
    drawn: list[Series] = []
    shown: list[Array] = []
    raw: list[Array] = []
    for name in names:
        rows = [row.values for row in table.rows if row.values["configuration"] == name]
        series = {key: np.array([_number(row.get(key)) for row in rows]) for key in ("lr", "loss", "smoothed")}
        style, named = styles[name], bool(rows[0]["named"])
        if len(names) <= MAX_DIRECT_LABELS:
            axes.plot(series["lr"], series["loss"], color=style.color, alpha=0.22, linewidth=0.6)
        drawn.append(Series(name, False, named, {key: values.tolist() for key, values in series.items()}))
        for key, face in (("steepest", style.color), ("tenth", "white")):
            marks = [(_number(row["lr"]), _number(row[key])) for row in rows if named and row.get(key) is not None]
            axes.plot(
                *zip(*marks, strict=True) if marks else ([], []), linestyle="none", marker="*", markersize=8,
                color=style.color, markerfacecolor=face, zorder=3,
            )  # fmt: skip
        shown.append(series["smoothed"][len(rows) // 10 :])
        raw.append(series["loss"][: len(rows) // 2])
    lines = draw_named_lines(axes, drawn, styles, "lr", "smoothed")
    axes.set(xscale="log", xlabel=_title(table, "lr"), ylabel="Training loss")
    _limit(axes, table, shown, raw)
    keys = [
        Line2D([], [], color=GREY, linestyle="none", marker="*", markersize=8, markerfacecolor=face)
        for face in (GREY, "white")
    ]
    axes.legend(
        keys,
        ["steepest decrease", "a tenth of the learning rate of divergence"],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=2,
    )
    label_lines(axes, lines, styles, within=True)


def _limit(axes: Axes, table: Table, shown: Sequence[Array], raw: Sequence[Array]) -> None:
    """Set the limits to the decrease of the curves and the scatter of batches; a full divergence is cut off."""
    rates = [_number(row.values["lr"]) for row in table.rows]
    axes.set_xlim(min(rates), max(rates))
    axes.xaxis.set_major_locator(LogLocator(numticks=12))
    axes.xaxis.set_minor_formatter(NullFormatter())
    known = [curve[np.isfinite(curve)] for curve in shown if np.isfinite(curve).any()]
    if not known:
        return
    scatter = np.concatenate([curve[np.isfinite(curve)] for curve in raw])
    lowest, highest = np.quantile(scatter, [0.05, 0.95]) if len(scatter) else (math.inf, -math.inf)
    low = min(float(lowest), *(float(curve.min()) for curve in known))
    start = max(float(highest), *(float(curve[0]) for curve in known))
    room = max(start - low, 0.02 * start)
    axes.set_ylim(low - 0.15 * room, start + 0.5 * room)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _title(table: Table, key: str) -> str:
    return next(column.title for column in table.columns if column.key == key)
