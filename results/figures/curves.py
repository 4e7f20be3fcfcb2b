"""Curves by epoch. Each function draws a table on an ``Axes`` and computes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from results.figures.label_layout import fit_beside_axes, label_line_ends, legend_below
from results.figures.plot_data import LOG_RATES
from results.figures.style import GREY, INK, MAX_DIRECT_LABELS, Style, Styles
from results.tables.table import Table

Series = dict[str, list[float]]


def draw_curves(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw ``value`` against ``epoch``, one line per configuration, with a band from ``low`` to ``high``."""
    _draw_lines(axes, table, styles)
    axes.set_ylabel(_title(table, "value"))
    _label_lines(axes, _with_points(axes.get_lines()), styles)


def draw_learning_rates(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw the learning rate against the epoch, on a logarithmic axis if it spans more than one decade."""
    positive = [value for _, series in _series(table) for value in series["value"] if value >= LOG_RATES[0]]
    if positive and max(positive) > 10 * min(positive):
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(min(positive) / 1.6, max(positive) * 1.6)
        axes.yaxis.set_major_locator(LogLocator(numticks=8))
        axes.yaxis.set_minor_formatter(NullFormatter())
    _draw_lines(axes, table, styles)
    axes.set_ylabel(_title(table, "value"))
    _label_lines(axes, _with_points(axes.get_lines()), styles)


def draw_train_and_test(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw training accuracy as solid lines, and held-out accuracy as dashed lines of the same colour."""
    markers = len({styles[name].color for name, _ in _series(table)}) < sum(1 for _ in _series(table))
    for name, series in _series(table):
        style = styles[name]
        line_style: dict[str, Any] = {"color": style.color, "marker": style.marker if markers else None}
        every = max(1, len(series["epoch"]) // 6)
        for key, dash in (("train", "-"), ("held_out", (0, (3.5, 1.5)))):
            (line,) = axes.plot(series["epoch"], series[key], linestyle=dash, label=name, markevery=every, **line_style)
            _mark_single_point(line, style)
    _epoch_axis(axes)
    axes.set_ylabel("Accuracy (%)")
    split = next(column.heading for column in table.columns if column.key == "held_out")
    keys = [Line2D([], [], color=GREY, linestyle="-"), Line2D([], [], color=GREY, linestyle=(0, (3.5, 1.5)))]
    axes.legend(keys, ["training", split], loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    _label_lines(axes, _with_points(axes.get_lines()[::2]), styles)


def draw_profile(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw ``share``, the share of targets reached within ``tau`` times the fastest, as steps at their true places."""
    for name, series in _series(table):
        style = styles[name]
        axes.step(
            series["tau"], series["share"], where="post", color=style.color, linestyle=style.linestyle, label=name
        )
    axes.set(ylim=(-0.03, 1.03), xlabel="τ: epochs over those of the fastest", ylabel="Share of targets reached, ρ(τ)")
    axes.set_xlim(1, max(_plain(row.values["tau"]) for row in table.rows))
    _label_lines(axes, _with_points(axes.get_lines()), styles)


def _draw_lines(axes: Axes, table: Table, styles: Styles) -> None:
    many = sum(1 for _ in _series(table)) > MAX_DIRECT_LABELS
    for name, series in _series(table):
        style = styles[name]
        (line,) = axes.plot(series["epoch"], series["value"], color=style.color, linestyle=style.linestyle, label=name)
        _mark_single_point(line, style)
        axes.fill_between(
            series["epoch"], series["low"], series["high"], color=style.color, alpha=0.08 if many else 0.16, linewidth=0
        )
    _epoch_axis(axes)


def _mark_single_point(line: Line2D, style: Style) -> None:
    """Add a marker to a line with a single point, which would be invisible."""
    if sum(map(math.isfinite, _numbers(line.get_ydata()))) == 1:
        line.set_marker(style.marker)


def _epoch_axis(axes: Axes) -> None:
    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10], min_n_ticks=1))
    epochs = [x for line in axes.get_lines() for x in _numbers(line.get_xdata())]
    if len(set(epochs)) > 1:
        axes.set_xlim(min(epochs), max(epochs))
    elif epochs:
        axes.set_xlim(epochs[0] - 0.5, epochs[0] + 0.5)


def _label_lines(axes: Axes, lines: list[Line2D], styles: Styles) -> None:
    """Label the lines at their ends if the names are few and short, otherwise in a legend below the axes."""
    names = [str(line.get_label()) for line in lines]
    if len(lines) > MAX_DIRECT_LABELS or not fit_beside_axes(axes, names):
        legend_below(axes, lines, names)
        return
    ends = {name: end for name, line in zip(names, lines, strict=True) if (end := _last_point(line)) is not None}
    axes.set_ylim(axes.get_ylim())  # labels must not change the limits
    label_line_ends(axes, ends, {name: styles[name].color if name in styles else INK for name in names})


def _with_points(lines: Iterable[Line2D]) -> list[Line2D]:
    return [line for line in lines if _last_point(line) is not None]


def _last_point(line: Line2D) -> tuple[float, float] | None:
    points = zip(_numbers(line.get_xdata()), _numbers(line.get_ydata()), strict=True)
    return next((point for point in reversed(list(points)) if all(map(math.isfinite, point))), None)


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in values]


def _series(table: Table) -> Iterator[tuple[str, Series]]:
    """Yield each configuration with its columns as lists over epochs."""
    series: dict[str, Series] = {}
    keys = [column.key for column in table.columns if column.key != "configuration"]
    for row in table.rows:
        lists = series.setdefault(str(row.values["configuration"]), {key: [] for key in keys})
        for key in keys:
            lists[key].append(_plain(row.values.get(key)))
    yield from series.items()


def _plain(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _title(table: Table, key: str) -> str:
    return next(column.title for column in table.columns if column.key == key)
