"""Curves by epoch. Each function draws a table on an ``Axes`` and computes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from results.figures.label_layout import fit_beside_axes, label_line_ends, legend_below
from results.figures.plot_data import MEAN
from results.figures.rate_data import LOG_RATES
from results.figures.style import FAINT, GREY, Style, Styles, repeated
from results.tables.table import Table

THIN, THICK = 0.7, 1.6
"""Line widths of training and of held-out accuracy."""
MARKED_PLACES = 6  # of a line


@dataclass(frozen=True)
class Series:
    """One line of a figure: the mean of a configuration's runs, or one of the runs."""

    configuration: str
    is_run: bool
    named: bool  # drawn in colour
    columns: Mapping[str, list[float]]


def draw_curves(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw ``value`` against ``epoch``, one line per configuration, with a band from ``low`` to ``high``."""
    series = _series(table)
    lines = draw_named_lines(axes, series, styles, "epoch", "value")
    for one in series:
        if one.named and not one.is_run:
            columns, style = one.columns, styles[one.configuration]
            axes.fill_between(
                columns["epoch"], columns["low"], columns["high"], color=style.color, alpha=0.13, linewidth=0
            )
    _epoch_axis(axes, series)
    axes.set_ylabel(_title(table, "value"))
    label_lines(axes, lines, styles)


def draw_learning_rates(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw the learning rate against the epoch, on a logarithmic axis if it spans more than one decade."""
    series = _series(table)
    positive = [value for one in series for value in one.columns["value"] if value >= LOG_RATES[0]]
    if positive and max(positive) > 10 * min(positive):
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(min(positive) / 1.6, max(positive) * 1.6)
        axes.yaxis.set_major_locator(LogLocator(numticks=8))
        axes.yaxis.set_minor_formatter(NullFormatter())
    lines = draw_named_lines(axes, series, styles, "epoch", "value")
    _epoch_axis(axes, series)
    axes.set_ylabel(_title(table, "value"))
    label_lines(axes, lines, styles)


def draw_train_and_test(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw training accuracy as thin lines, and held-out accuracy as thick lines of the same style."""
    series = _series(table)
    draw_named_lines(axes, series, styles, "epoch", "train", THIN)
    lines = draw_named_lines(axes, series, styles, "epoch", "held_out", THICK)
    _epoch_axis(axes, series)
    axes.set_ylabel("Accuracy (%)")
    split = next(column.heading for column in table.columns if column.key == "held_out")
    keys = [Line2D([], [], color=GREY, linewidth=width) for width in (THIN, THICK)]
    axes.legend(keys, ["training", split], loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    label_lines(axes, lines, styles)


def draw_profile(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw ``share``, the share of targets reached within ``tau`` times the fastest, as steps at their true places."""
    lines = draw_named_lines(axes, _series(table), styles, "tau", "share")
    for line in axes.get_lines():
        line.set_drawstyle("steps-post")
    axes.set(ylim=(-0.03, 1.03), xlabel="τ: epochs over those of the fastest", ylabel="Share of targets reached, ρ(τ)")
    axes.set_xlim(1, max(_plain(row.values["tau"]) for row in table.rows))
    label_lines(axes, lines, styles)


def draw_named_lines(
    axes: Axes, series: list[Series], styles: Styles, x: str, y: str, width: float | None = None
) -> dict[str, Line2D]:  # fmt: skip
    """Draw a line per series: in colour with its style, or thin and grey; return those with a name, by this name.

    The grey runs of a configuration are one artist with gaps: a sweep can have thousands of them. Lines of one colour
    and line style have markers. The runs of a configuration are thinner than a mean; the name is that of the one that
    ends highest.
    """
    with_markers = repeated(styles[name] for name in {one.configuration for one in series if one.named})
    lines: dict[str, Line2D] = {}
    unnamed: dict[str, tuple[list[float], list[float]]] = {}
    for one in series:
        if not one.named:
            xs, ys = unnamed.setdefault(one.configuration, ([], []))
            xs += [*one.columns[x], math.nan]
            ys += [*one.columns[y], math.nan]
    for name, (xs, ys) in unnamed.items():
        axes.plot(xs[:-1], ys[:-1], color=FAINT, linewidth=0.5, zorder=1.5, label=f"_{name}")
    for one in series:
        if not one.named:
            continue
        xs, ys, style = one.columns[x], one.columns[y], styles[one.configuration]
        (line,) = axes.plot(xs, ys, color=style.color, linestyle=style.linestyle, label=one.configuration)
        if width is not None or one.is_run:
            line.set_linewidth(width if width is not None else THIN)
        if (style.color, str(style.linestyle)) in with_markers:
            line.set(marker=style.marker, markevery=max(1, len(xs) // MARKED_PLACES), markersize=3)
        _mark_single_point(line, style)
        end, other = last_point(line), lines.get(one.configuration)
        if end is not None and (other is None or end[1] > (last_point(other) or end)[1]):
            lines[one.configuration] = line
    return lines


def label_lines(axes: Axes, lines: Mapping[str, Line2D], styles: Styles, *, within: bool = False) -> None:
    """Label the lines at their ends if the names are short enough, otherwise in a legend below the axes.

    ``within``: a line that leaves the axes ends where it leaves them.
    """
    if not lines:
        return
    if not fit_beside_axes(axes, list(lines)):
        legend_below(axes, list(lines.values()), list(lines))
        return
    axes.set_ylim(axes.get_ylim())  # labels must not change the limits
    limits = axes.get_ylim() if within else (-math.inf, math.inf)
    ends = {name: end for name, line in lines.items() if (end := last_point(line, limits)) is not None}
    label_line_ends(axes, ends, {name: styles[name].color for name in lines})


def last_point(
    line: Line2D, limits: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float] | None:  # fmt: skip
    """Return the last point of a line in data units whose y is within ``limits``; None without any."""
    points = zip(_numbers(line.get_xdata()), _numbers(line.get_ydata()), strict=True)
    known = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    return next(((x, y) for x, y in reversed(known) if limits[0] <= y <= limits[1]), None)


def _mark_single_point(line: Line2D, style: Style) -> None:
    """Add a marker to a line with a single point, which would be invisible."""
    if sum(map(math.isfinite, _numbers(line.get_ydata()))) == 1:
        line.set(marker=style.marker, markevery=None)


def _epoch_axis(axes: Axes, series: list[Series]) -> None:
    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10], min_n_ticks=1))
    epochs = {x for one in series for x in one.columns["epoch"]}
    if len(epochs) > 1:
        axes.set_xlim(min(epochs), max(epochs))
    else:
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)


def _series(table: Table) -> list[Series]:
    """Return each line with its columns as lists, those in colour last."""
    keys = [column.key for column in table.columns if column.key not in ("configuration", "named")]
    found: dict[tuple[str, Any], Series] = {}
    for row in table.rows:
        name, run = str(row.values["configuration"]), row.values.get("run", MEAN)
        if (name, run) not in found:
            found[name, run] = Series(name, run != MEAN, bool(row.values.get("named", True)), {key: [] for key in keys})
        for key in keys:
            found[name, run].columns[key].append(_plain(row.values.get(key)))
    return sorted(found.values(), key=lambda one: one.named)


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in values]


def _plain(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _title(table: Table, key: str) -> str:
    return next(column.title for column in table.columns if column.key == key)
