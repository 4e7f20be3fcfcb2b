"""Charts that compare configurations. Each function draws a table on an ``Axes`` and computes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator

from results.figures.label_layout import SHARE_OF_LABELS, label_points, legend_below, padded_limits, width_of, wrapped
from results.figures.style import INK, LINESTYLES, MARKERS, MAX_DIRECT_LABELS, PALETTE, SMALL, Styles
from results.metrics.intervals import Estimate
from results.tables.table import Column, Row, Table, Value, cell_text

ROW_INCHES = 0.21  # height of one row of a dot plot


def draw_final_accuracy(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw ``final_val_acc`` as one dot per configuration with its 95 % interval, first row at the bottom."""
    for i, row in enumerate(table.rows):
        style = styles[str(row.values["configuration"])]
        estimate = _estimate(row.values["final_val_acc"])
        _interval(axes, estimate.value, i, xerr=_error_bar(estimate), color=style.color, marker=style.marker)
    _label_rows(axes, table)
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, 0), min(high, 100))  # an interval of few seeds can exceed the range of an accuracy
    axes.grid(visible=False)
    room = (1 - SHARE_OF_LABELS) * width_of(axes)
    axes.set_xlabel(wrapped("Final validation accuracy (%), 95 % interval", room))


def draw_epochs_to_target(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw the median epochs to the target as dots; a miss is drawn at the right edge as ``> E``."""
    last_epoch = max(int(_number(row.values["last_epoch"])) for row in table.rows)
    edge = last_epoch * 1.04
    for i, row in enumerate(table.rows):
        style = styles[str(row.values["configuration"])]
        epochs = _number(row.values["epochs_to_target"])
        hits = str(row.values.get("hits") or "").replace(" of ", "/")
        if math.isfinite(epochs):
            axes.plot([0, epochs], [i, i], color=style.color, linewidth=0.8)
            axes.plot([epochs], [i], color=style.color, marker=style.marker, linestyle="none")
            text = f"{epochs:g}"
        else:
            axes.plot([0, edge], [i, i], color=style.color, linewidth=0.8, linestyle=(0, (1, 2)))
            axes.plot([edge], [i], color=style.color, marker=">", markerfacecolor="white", linestyle="none")
            text = f"> {last_epoch}"
        axes.annotate(
            f"{text}  ({hits})" if hits else text, (min(epochs, edge), i), xytext=(5, 0), textcoords="offset points",
            va="center", fontsize=SMALL, color=INK, annotation_clip=False,
        )  # fmt: skip
    _label_rows(axes, table)
    axes.set_xlim(0, edge * 1.01)
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10]))
    axes.set_xlabel("Epochs to target: median over seeds (runs that reach it)")


def draw_stability_and_accuracy(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw the standard deviation over seeds against the final accuracy, one labelled point per configuration."""
    points = {}
    for row in table.rows:
        name = str(row.values["configuration"])
        point = (_number(row.values["final_val_acc"]), _number(row.values["seed_sd"]))
        style = styles[name]
        axes.plot(
            *point, color=style.color, marker=style.marker, linestyle="none", markersize=5, label=name, clip_on=False
        )
        points[name] = point
    axes.set_xlim(padded_limits(min(x for x, _ in points.values()), max(x for x, _ in points.values()), 0.12))
    axes.set_ylim(0, max(y for _, y in points.values()) * 1.15 or 1)
    axes.set(xlabel=_title(table, "final_val_acc"), ylabel=_title(table, "seed_sd"))
    if len(points) > MAX_DIRECT_LABELS or not label_points(axes, points):
        lines = axes.get_lines()
        legend_below(axes, lines, [str(line.get_label()) for line in lines])


def draw_scheduler_heat_map(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw ``final_val_acc`` as one cell per scheduler (row) and optimizer (column); hatched: not in the sweep."""
    schedulers = _distinct(table, "scheduler")
    optimizers = _distinct(table, "optimizer")
    column = _column(table, "final_val_acc")
    values = [_estimate(row.values["final_val_acc"]).value for row in table.rows]
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known), max(known)
    colour_map = colormaps["cividis"]
    for y in range(len(schedulers)):
        for x in range(len(optimizers)):
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="white", edgecolor="#d9d9d9", hatch="////"))
    for row, value in zip(table.rows, values, strict=True):
        if not math.isfinite(value):
            continue
        x, y = optimizers.index(str(row.values["optimizer"])), schedulers.index(str(row.values["scheduler"]))
        red, green, blue, _ = colour_map((value - low) / (high - low) if high > low else 0.5)
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=(red, green, blue), edgecolor="white"))
        luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
        text = cell_text(row.values["final_val_acc"], column)
        rate = row.values.get("lr")
        axes.text(
            x, y, f"{text}\nlr {rate:g}" if isinstance(rate, int | float) else text, ha="center", va="center",
            fontsize=SMALL, linespacing=1.15, color="black" if luminance > 0.18 else "white",
        )  # fmt: skip
    axes.set(xlim=(-0.5, len(optimizers) - 0.5), ylim=(len(schedulers) - 0.5, -0.5))
    axes.set_xticks(range(len(optimizers)), [name.replace(" ", "\n") for name in optimizers])
    axes.set_yticks(range(len(schedulers)), schedulers)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def draw_learning_rate_sensitivity(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw ``final_val_acc`` with its interval against the learning rate, one line per ``group``."""
    groups = _distinct(table, "group")
    for i, name in enumerate(groups):
        rows = sorted(
            (row for row in table.rows if row.values["group"] == name), key=lambda row: _number(row.values["lr"])
        )
        _line_of_estimates(axes, [_number(row.values["lr"]) for row in rows], rows, i, name)
    axes.set_xscale("log")
    rates = sorted({_number(row.values["lr"]) for row in table.rows})
    axes.set_xlim(rates[0] / 1.5, rates[-1] * 1.5)
    if len(rates) <= 8:
        axes.xaxis.set_major_locator(FixedLocator(rates))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="Learning rate", ylabel="Final validation accuracy (%)")
    _within_percent(axes)
    _legend_of_lines(axes)


def draw_momentum(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw ``final_val_acc`` against momentum β: one line each for classical momentum, each dampening, and Nesterov."""
    betas = sorted({_number(row.values["momentum"]) for row in table.rows})
    variants: dict[str, list[Row]] = {}
    for row in table.rows:
        variants.setdefault(_variant(row), []).append(row)
    for i, (name, rows) in enumerate(variants.items()):
        rows.sort(key=lambda row: _number(row.values["momentum"]))
        shift = (i - (len(variants) - 1) / 2) * 0.08  # so that intervals do not overlap
        _line_of_estimates(axes, [betas.index(_number(row.values["momentum"])) + shift for row in rows], rows, i, name)
    axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    axes.set_xlim(-0.4, len(betas) - 0.6)
    axes.set(xlabel="Momentum β", ylabel="Final validation accuracy (%)")
    _within_percent(axes)
    _legend_of_lines(axes)


def _within_percent(axes: Axes) -> None:
    """Limit an axis of accuracies to 0 … 100: an interval of few seeds can exceed this range."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0), min(high, 100))


def _line_of_estimates(axes: Axes, xs: list[float], rows: Iterable[Row], index: int, name: str) -> None:
    estimates = [_estimate(row.values["final_val_acc"]) for row in rows]
    lengths = [[_error_bar(estimate)[side][0] for estimate in estimates] for side in (0, 1)]
    lap = index // len(PALETTE)
    axes.errorbar(
        xs, [estimate.value for estimate in estimates], yerr=lengths, label=name, color=PALETTE[index % len(PALETTE)],
        linestyle=LINESTYLES[lap % len(LINESTYLES)], marker=MARKERS[lap % len(MARKERS)], elinewidth=0.8, capsize=2,
    )  # fmt: skip


def _legend_of_lines(axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    legend_below(axes, handles, names)


def _interval(axes: Axes, x: float, y: float, *, xerr: list[list[float]], color: str, marker: str) -> None:
    axes.errorbar([x], [y], xerr=xerr, color=color, marker=marker, linestyle="none", elinewidth=1.0, capsize=2)


def _label_rows(axes: Axes, table: Table) -> None:
    width = width_of(axes)
    names = [wrapped(str(row.values["configuration"]), SHARE_OF_LABELS * width) for row in table.rows]
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(names) - 0.4)


def _variant(row: Row) -> str:
    if row.values.get("nesterov") in (True, "yes", "True"):
        return "Nesterov"
    dampening = _number(row.values.get("dampening"))
    return f"dampening {dampening:g}" if dampening > 0 else "classical"


def _estimate(value: Value) -> Estimate:
    if isinstance(value, Estimate):
        return value
    return Estimate(_number(value), math.nan, math.nan, 0)


def _error_bar(estimate: Estimate) -> list[list[float]]:
    """Return the lengths of an error bar ``[[low], [high]]``; 0 without an interval."""
    lengths = (estimate.value - estimate.low, estimate.high - estimate.value)
    return [[arm if math.isfinite(arm) else 0.0] for arm in lengths]


def _number(value: Any) -> float:
    value = value.value if isinstance(value, Estimate) else value
    return float(value) if isinstance(value, int | float) else math.nan


def _distinct(table: Table, key: str) -> list[str]:
    return list(dict.fromkeys(str(row.values[key]) for row in table.rows))


def _column(table: Table, key: str) -> Column:
    return next(column for column in table.columns if column.key == key)


def _title(table: Table, key: str) -> str:
    return _column(table, key).title
