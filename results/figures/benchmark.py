"""Figures of a benchmark and of a confirmation: tuning curves, and the accuracy of every run under new seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from results.figures.chart_data import CUT_NOTE, DIED_NOTE, has_interval
from results.figures.charts import mark_cut_ends
from results.figures.curves import Series, draw_named_lines, label_lines
from results.figures.selection import grey_note
from results.figures.style import GREY, INK, MAX_DIRECT_LABELS, PAPER, SMALL, Styles
from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import ConfigurationRuns, Floats
from results.metrics.intervals import Estimate
from results.tables.comparison import SPLIT_NAMES, comparison_split
from results.tables.standings import evaluation_mean, received_standings, standings
from results.tables.table import Column, Row, Table
from results.tables.tuning import BAND_NOTE, crossing_notes

TableOf = Callable[[str], Table | None]
CONFIGURATION = Column("configuration", "Configuration")
MOST_OFFSET = 1.5
"""Widths of the tuned accuracies that an untuned one may lie to their left; beyond, its value is written."""
SPREAD = 0.26  # of a row's height, over which its points are spread
ALL_SEEDS = 40
"""Most configurations of a confirmation whose seeds are drawn."""


def tuning_curves(sweep: SweepData, table_of: TableOf) -> Table | None:
    """Return the table ``tuning_curve`` with the crossings as its notes; None for fewer than two points."""
    table = table_of("tuning_curve")
    if table is None or sweep.benchmark is None or max(_number(row.values["points"]) for row in table.rows) < 2:
        return None
    open_band = any(row.values["high"] == math.inf for row in table.rows)
    ends = " It ends at the curve where there is no upper limit." if open_band else ""
    methods, named = {row.values["method"] for row in table.rows}, best_methods(table)
    grey = [grey_note(len(named), len(methods), "expected accuracy")] if len(methods) > len(named) else []
    notes = [f"{BAND_NOTE}{ends}", *grey, *crossing_notes(sweep.benchmark), *sweep.benchmark.notes]
    return Table(table.name, table.caption, table.columns, table.rows, notes)


def draw_tuning_curves(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw ``expected_best`` against ``points``, one line per method with its band."""
    series = []
    for name in dict.fromkeys(str(row.values["method"]) for row in table.rows):
        rows = [row.values for row in table.rows if row.values["method"] == name]
        columns = {key: [_number(values[key]) for values in rows] for key in ("points", "expected_best", "low", "high")}
        series.append(Series(name, False, name in best_methods(table), columns))
    lines = draw_named_lines(axes, series, styles, "points", "expected_best")
    named = [one for one in series if one.named]
    for one in named:
        points, curve, low, high = (np.array(one.columns[key]) for key in ("points", "expected_best", "low", "high"))
        lines[one.configuration].set(marker=styles[one.configuration].marker, markersize=3, markevery=None)
        shade: dict[str, Any] = {
            "color": styles[one.configuration].color, "linewidth": 0, "alpha": 0.14 if len(named) <= 3 else 0.08
        }  # fmt: skip
        axes.fill_between(points, low, curve, where=np.isfinite(low).tolist(), **shade)
        axes.fill_between(points, curve, high, where=np.isfinite(high).tolist(), **shade)
    axes.set_xlabel("Points spent on tuning")
    axes.set_ylabel("Expected best val. acc. (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, steps=[1, 2, 5, 10]))
    axes.set_xlim(1, max(_number(row.values["points"]) for row in table.rows))
    label_lines(axes, lines, styles)


def best_methods(table: Table) -> list[str]:
    """Return the methods with the highest ``expected_best`` after all their points, at most those with a name."""
    last = {str(row.values["method"]): _number(row.values["expected_best"]) for row in table.rows}
    return sorted(last, key=lambda name: -last[name])[:MAX_DIRECT_LABELS]


def evaluation_accuracy(sweep: SweepData, table_of: TableOf) -> Table | None:
    """Return one row per run under new seeds, the best method last; None for a sweep that was not confirmed.

    A benchmark has the runs of its evaluation and the mean of the untuned ones; a sweep with a reference has all runs.
    """
    found = standings(sweep)
    rows: list[Row] = []
    if found is not None:
        split = found.split
        received = received_standings(sweep, found)
        for method in reversed((received or found).methods):
            untuned = method.untuned.mean(split).value if method.untuned and method.untuned.counted.any() else math.nan
            rows += _rows(method.name, method.evaluations, split, evaluation_mean(method, split), untuned)
    elif sweep.benchmark is None and sweep.reference_id and 2 <= len(sweep.counted) <= ALL_SEEDS:
        split = comparison_split(sweep)
        for group in sorted(sweep.counted, key=lambda one: float(one.final.mean())):
            rows += _rows(group.label, [group], split, group.mean(split), math.nan)
    if not rows:
        return None
    caption = f"{SPLIT_NAMES[split]} accuracy"
    shown = [DIED_NOTE] if any(not row.values["trained"] for row in rows) else []
    means = [mean for row in rows if isinstance(mean := row.values["mean"], Estimate) and has_interval(mean)]
    if any(mean.low < 0 or mean.high > 100 for mean in means):
        shown.append(CUT_NOTE)
    shown += sweep.benchmark.notes if sweep.benchmark else ()
    columns = (CONFIGURATION, Column("accuracy", caption, "%"), Column("mean", "Mean", "%"))
    return Table("evaluation", caption, columns, rows, shown)


def _rows(
    name: str, evaluations: list[ConfigurationRuns], split: str, mean: Estimate, untuned: float
) -> list[Row]:  # fmt: skip
    return [
        Row({"configuration": name, "accuracy": float(value), "trained": bool(trained), "mean": mean,
             "untuned": untuned}, [run_id])
        for runs in evaluations
        for value, trained, run_id in zip(runs.accuracy(split)[:, -1], runs.trained, runs.counted_ids, strict=True)
    ]  # fmt: skip


def draw_evaluation(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw every run as a point, and the mean with its 95 % t interval above the points, one row per configuration.

    There is no mean where a run did not train.
    """
    names = list(dict.fromkeys(str(row.values["configuration"]) for row in table.rows))
    trained = [_number(row.values["accuracy"]) for row in table.rows if row.values["trained"]] or [0.0]
    width = max(trained) - min(trained) or 1.0
    defaults = {str(row.values["configuration"]): _number(row.values["untuned"]) for row in table.rows}
    near = {name: value for name, value in defaults.items() if value >= min(trained) - MOST_OFFSET * width}
    crowded = any(not row.values["trained"] for row in table.rows) or len(near) < len(defaults)
    means = [mean for row in table.rows if isinstance(mean := row.values["mean"], Estimate) and has_interval(mean)]
    lows, highs = [mean.low for mean in means], [mean.high for mean in means]
    left = max(min([*trained, *near.values(), *lows]) - (0.25 if crowded else 0.05) * width, 0)
    right = min(max([*trained, *near.values(), *highs]) + 0.05 * width, 100)
    for place, name in enumerate(names):
        rows = [row for row in table.rows if row.values["configuration"] == name]
        style = styles[name]
        values = np.array([_number(row.values["accuracy"]) for row in rows])
        alive = np.array([bool(row.values["trained"]) for row in rows])
        heights = place - 0.12 + _spread(values)
        axes.plot(
            values[alive], heights[alive], color=style.color, marker="o", linestyle="none", markersize=2.6, alpha=0.55,
            markeredgewidth=0,
        )  # fmt: skip
        mean = rows[0].values["mean"]
        if isinstance(mean, Estimate) and alive.all():
            arms = [[_arm(mean.value - mean.low)], [_arm(mean.high - mean.value)]]
            axes.errorbar(
                [mean.value], [place + 0.24], xerr=arms, color=style.color, marker=style.marker, linestyle="none",
                elinewidth=1.3, capsize=2.5, markersize=4.5,
            )  # fmt: skip
            mark_cut_ends(axes, mean, place + 0.24, style, along_x=True)
        if name in near:
            axes.plot([near[name]], [place + 0.24], color=GREY, marker="d", linestyle="none", markerfacecolor=PAPER)
        words = [f"{int((~alive).sum())} of {len(alive)} at chance"] if not alive.all() else []
        if math.isfinite(defaults[name]) and name not in near:
            words.append(f"untuned {defaults[name]:.1f}")
        if words:
            axes.annotate(
                "◂ " + ", ".join(words), (left, place - 0.12), xytext=(2, 0), textcoords="offset points", va="center",
                fontsize=SMALL, color=INK,
            )  # fmt: skip
    axes.set_xlim(left, right)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(visible=False)
    heading = next(column.title for column in table.columns if column.key == "accuracy")
    heading = f"{heading[:1].upper()}{heading[1:]}: each run, {'mean with 95 % interval' if means else 'mean'}"
    axes.set_xlabel(heading)
    if near:
        axes.plot([], [], color=GREY, marker="d", linestyle="none", markerfacecolor=PAPER, label="untuned, mean")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)


def _spread(values: Floats) -> Floats:
    """Return heights that keep the points of a row apart: the order of the runs, which is that of the seeds."""
    n = len(values)
    return np.linspace(-SPREAD, SPREAD / 2, n) if n > 1 else np.zeros(n)


def _arm(length: float) -> float:
    return length if math.isfinite(length) else 0.0


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
