"""Charts that compare configurations. Each function draws a table on an ``Axes`` and computes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator

from results.figures.chart_data import has_interval
from results.figures.label_layout import (
    SHARE_OF_LABELS,
    figure_of,
    label_points,
    legend_below,
    padded_limits,
    width_of,
    wrapped,
)
from results.figures.style import (
    FAINT,
    FEW_SEEDS,
    INK,
    LIGHT_GREY,
    MARKERS,
    ON_DARK,
    ON_LIGHT,
    PAPER,
    SMALL,
    Style,
    Styles,
)  # fmt: skip
from results.metrics.intervals import Estimate
from results.tables.numbers import rounded
from results.tables.table import Column, Row, Table, Value

ROW_INCHES = 0.19  # height of one row of a dot plot
LANE = 0.17  # of a row, between the mean and the points of its runs
PERCENT = (0.0, 100.0)


def draw_final_accuracy(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw ``final_val_acc`` as one dot per configuration with its 95 % interval, first row at the bottom.

    Runs are points below the mean where n is small. Where a run did not train, there are only the runs: those that
    trained are points, the others are counted at the left edge.
    """
    estimates = [_estimate(row.values["final_val_acc"]) for row in table.rows]
    for i, (row, estimate) in enumerate(zip(table.rows, estimates, strict=True)):
        style = styles[str(row.values["configuration"])]
        if _shows_runs(estimate):
            lane = i - (2 * LANE if estimate.n_at_chance else LANE)  # the words of runs at chance need more height
            _points(axes, estimate.values, [lane] * len(estimate.values), style)
        if not estimate.n_at_chance:
            axes.errorbar(
                [estimate.value], [i], xerr=_error_bar(estimate), color=style.color, marker=style.marker,
                linestyle="none", elinewidth=1.0, capsize=2,
            )  # fmt: skip
    _label_rows(axes, table)
    low, high = axes.get_xlim() if any(one.values or not one.n_at_chance for one in estimates) else PERCENT
    died = any(estimate.n_at_chance for estimate in estimates)
    axes.set_xlim(max(low - (0.25 * (high - low) if died else 0), 0), min(high, 100))
    left = axes.get_xlim()[0]
    for i, (row, estimate) in enumerate(zip(table.rows, estimates, strict=True)):
        if estimate.n_at_chance:
            words = f"◂ {estimate.n_at_chance} of {estimate.n} at chance"
            axes.annotate(
                words, (left, i), xytext=(2, 2), textcoords="offset points", va="center", fontsize=SMALL, color=INK
            )
        mark_cut_ends(axes, estimate, i, styles[str(row.values["configuration"])], along_x=True)
    axes.grid(visible=False)
    axes.set_xlabel(wrapped("Final validation accuracy (%)", (1 - SHARE_OF_LABELS) * width_of(axes)))


def draw_epochs_to_target(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw the median epochs to the target as dots; a miss as ``> E`` at the right edge.

    A configuration of which no run reaches the target has a text in place of a line.
    """
    last_epoch = max(int(_number(row.values["last_epoch"])) for row in table.rows)
    edge = last_epoch * 1.04
    medians = [_number(row.values["epochs_to_target"]) for row in table.rows]
    places = 0 if all(not math.isfinite(one) or one == round(one) for one in medians) else 1
    for i, (row, epochs) in enumerate(zip(table.rows, medians, strict=True)):
        style = styles[str(row.values["configuration"])]
        hits = str(row.values.get("hits") or "").replace(" of ", "/")
        if math.isfinite(epochs):
            axes.plot([0, epochs], [i, i], color=style.color, linewidth=0.8)
            axes.plot([epochs], [i], color=style.color, marker=style.marker, linestyle="none")
            text = rounded(epochs, places)
        elif row.values.get("n_hit") == 0:
            text = f"not reached in {last_epoch} epochs"
        else:
            axes.plot([0, edge], [i, i], color=style.color, linewidth=0.8, linestyle=(0, (1, 2)))
            axes.plot([edge], [i], color=style.color, marker=">", markerfacecolor=PAPER, linestyle="none")
            text = f"> {last_epoch}"
        place = 0.0 if text.startswith("not") else min(epochs, edge)
        axes.annotate(
            f"{text}  ({hits})" if hits else text, (place, i), xytext=(5, 0), textcoords="offset points",
            va="center", fontsize=SMALL, color=INK, annotation_clip=False,
        )  # fmt: skip
    _label_rows(axes, table)
    axes.set_xlim(0, edge * 1.01)
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10]))
    axes.set_xlabel("Epochs to target: median over seeds (runs that reach it)")


def draw_stability_and_accuracy(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw the standard deviation over seeds against the final accuracy, one point per configuration.

    The best configurations have a colour and a name, the others are grey.
    """
    points: dict[str, tuple[float, float]] = {}
    others: list[tuple[float, float]] = []
    for row in table.rows:
        point = (_number(row.values["final_val_acc"]), _number(row.values["seed_sd"]))
        if row.values.get("named", True):
            name = str(row.values["configuration"])
            points[name] = point
            axes.plot(
                *point, color=styles[name].color, marker=styles[name].marker, linestyle="none", markersize=5,
                label=name, clip_on=False,
            )  # fmt: skip
        else:
            others.append(point)
            axes.plot(*point, color=FAINT, marker="o", linestyle="none", markersize=3, clip_on=False, zorder=1.5)
    accuracies, spreads = zip(*points.values(), *others, strict=True)
    axes.set_xlim(padded_limits(min(accuracies), max(accuracies), 0.12))
    axes.set_ylim(0, max(spreads) * 1.15 or 1)
    axes.set(xlabel=_title(table, "final_val_acc"), ylabel=_title(table, "seed_sd"))
    if not label_points(axes, points, others):
        _legend_of_lines(axes)


def draw_scheduler_heat_map(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw ``final_val_acc`` as one cell per scheduler (row) and optimizer (column); hatched: not in the sweep.

    A cell with a run that did not train has no colour: its text is the mean of those that trained, and their number.
    """
    schedulers = _distinct(table, "scheduler")
    optimizers = _distinct(table, "optimizer")
    estimates = [_estimate(row.values["final_val_acc"]) for row in table.rows]
    known = [one.value for one in estimates if math.isfinite(one.value) and not one.n_at_chance]
    low, high = min(known, default=0.0), max(known, default=0.0)
    colours = ScalarMappable(Normalize(low, high if high > low else low + 1), colormaps["cividis"])
    for y in range(len(schedulers)):
        for x in range(len(optimizers)):
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="none", edgecolor=LIGHT_GREY, hatch="////"))
    for row, estimate in zip(table.rows, estimates, strict=True):
        if not math.isfinite(estimate.value):
            continue
        x, y = optimizers.index(str(row.values["optimizer"])), schedulers.index(str(row.values["scheduler"]))
        red, green, blue, _ = colours.to_rgba(np.array([estimate.value]))[0]
        face = PAPER if estimate.n_at_chance else (red, green, blue)
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=face, edgecolor=PAPER))
        rate = row.values.get("lr")
        text = _cell_of_heat_map(estimate)
        axes.text(
            x, y, f"{text}\nlr {rate:g}" if isinstance(rate, int | float) else text, ha="center", va="center",
            fontsize=SMALL, linespacing=1.15,
            color=INK if estimate.n_at_chance else text_colour((red, green, blue)),
        )  # fmt: skip
    axes.set(xlim=(-0.5, len(optimizers) - 0.5), ylim=(len(schedulers) - 0.5, -0.5))
    axes.set_xticks(range(len(optimizers)), [name.replace(" ", "\n") for name in optimizers])
    axes.set_yticks(range(len(schedulers)), schedulers)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if not known:
        return
    bar = figure_of(axes).colorbar(colours, ax=axes, pad=0.02, aspect=30)
    bar.set_label("Final validation accuracy (%)")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2)


def text_colour(background: tuple[float, float, float]) -> str:
    """Return the colour of a text on ``background`` (sRGB, 0 to 1): the one with the higher contrast (WCAG 2.1)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in background]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return ON_LIGHT if (luminance + 0.05) ** 2 > 1.05 * 0.05 else ON_DARK


def _cell_of_heat_map(estimate: Estimate) -> str:
    """Return the text of a cell, in all cells with one decimal."""
    if estimate.n_at_chance:
        trained = f"{rounded(sum(estimate.values) / len(estimate.values), 1)}\n" if estimate.values else ""
        return f"{trained}{estimate.n - estimate.n_at_chance} of {estimate.n} trained"
    half = (estimate.high - estimate.low) / 2
    return rounded(estimate.value, 1) + (f" ± {rounded(half, 1)}" if math.isfinite(half) else "")


def draw_learning_rate_sensitivity(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw ``final_val_acc`` with its interval against the learning rate, one line per ``group``."""
    axes.set_xscale("log")
    rates = sorted({_number(row.values["lr"]) for row in table.rows})
    axes.set_xlim(rates[0] / 1.5, rates[-1] * 1.5)
    groups = {name: [row for row in table.rows if row.values["group"] == name] for name in _distinct(table, "group")}
    _draw_groups(axes, groups, "lr", styles)
    if len(rates) <= 8:
        axes.xaxis.set_major_locator(FixedLocator(rates))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="Learning rate", ylabel="Final validation accuracy (%)")
    _legend_of_lines(axes)


def draw_momentum(axes: Axes, table: Table, styles: Styles) -> None:
    """Draw ``final_val_acc`` against momentum β: one line per ``variant``."""
    betas = sorted({_number(row.values["momentum"]) for row in table.rows})
    variants: dict[str, list[Row]] = {name: [] for name in _distinct(table, "variant")}
    for row in table.rows:
        name = str(row.values["variant"])
        place = betas.index(_number(row.values["momentum"]))
        shift = (list(variants).index(name) - (len(variants) - 1) / 2) * 0.08  # so that intervals do not overlap
        variants[name].append(Row({**row.values, "place": place + shift}, row.run_ids))
    _draw_groups(axes, variants, "place", styles)
    decimals = max(len(f"{beta:g}".partition(".")[2]) for beta in betas)
    axes.set_xticks(range(len(betas)), [f"{beta:.{decimals}f}" for beta in betas])
    axes.set_xlim(-0.4, len(betas) - 0.6)
    axes.set(xlabel="Momentum β", ylabel="Final validation accuracy (%)")
    _legend_of_lines(axes)


def _draw_groups(axes: Axes, groups: Mapping[str, list[Row]], key: str, styles: Styles) -> None:
    """Draw a line of means per group against the column ``key``, with the runs and with what lies beyond the limits.

    A line has the colour and the line style of its last configuration. Lines of one colour have different markers.
    """
    seen: dict[str, int] = {}
    drawn: list[tuple[float, Estimate, Style]] = []
    for name, unsorted in groups.items():
        rows = sorted(unsorted, key=lambda row: _number(row.values[key]))
        xs = [_number(row.values[key]) for row in rows]
        estimates = [_estimate(row.values["final_val_acc"]) for row in rows]
        means = [math.nan if one.n_at_chance else one.value for one in estimates]
        if not rows[0].values.get("named", True):
            axes.plot(xs, means, color=FAINT, linewidth=0.5, zorder=1.5, label=f"_{name}")
            continue
        own = styles[str(rows[-1].values["configuration"])]
        style = Style(own.color, own.linestyle, MARKERS[seen.get(own.color, 0) % len(MARKERS)])
        seen[own.color] = seen.get(own.color, 0) + 1
        lengths = [[_error_bar(one)[side][0] for one in estimates] for side in (0, 1)]
        axes.errorbar(
            xs, means, yerr=lengths, label=name, color=style.color, linestyle=style.linestyle, marker=style.marker,
            elinewidth=0.8, capsize=2,
        )  # fmt: skip
        for x, one in zip(xs, estimates, strict=True):
            if _shows_runs(one):
                _points(axes, [x] * len(one.values), one.values, style)
            drawn.append((x, one, style))
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0), min(high, 100))
    for x, one, style in drawn:
        mark_cut_ends(axes, one, x, style, along_x=False)
    floor = axes.get_ylim()[0]
    died = [(x, floor) for x, one, _ in drawn if one.n_at_chance]
    if died:
        axes.plot(
            *zip(*died, strict=True), color=INK, marker="x", linestyle="none", markersize=4, clip_on=False,
            label="a run diverged or ended at chance", zorder=3,
        )  # fmt: skip


def _points(axes: Axes, xs: Iterable[float], ys: Iterable[float], style: Style) -> None:
    """Draw runs as small points, through which what lies below is visible."""
    axes.plot(
        list(xs), list(ys), color=style.color, marker="o", linestyle="none", markersize=2.8, alpha=0.55,
        markeredgewidth=0,
    )  # fmt: skip


def _shows_runs(estimate: Estimate) -> bool:
    return bool(estimate.n_at_chance) or 1 < estimate.n < FEW_SEEDS


def mark_cut_ends(axes: Axes, estimate: Estimate, place: float, style: Style, *, along_x: bool) -> None:
    """Mark an interval that extends beyond the axis of an accuracy with an arrow at the edge."""
    if not has_interval(estimate):
        return
    ends = zip(PERCENT, (estimate.low < PERCENT[0], estimate.high > PERCENT[1]), "<>" if along_x else "v^", strict=True)
    for edge, is_cut, marker in ends:
        if is_cut:
            point = ([edge], [place]) if along_x else ([place], [edge])
            axes.plot(*point, color=style.color, marker=marker, linestyle="none", markersize=4.5, clip_on=False)


def _legend_of_lines(axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    legend_below(axes, handles, names)


def _label_rows(axes: Axes, table: Table) -> None:
    width = width_of(axes)
    names = [wrapped(str(row.values["configuration"]), SHARE_OF_LABELS * width) for row in table.rows]
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(names) - 0.4)


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
