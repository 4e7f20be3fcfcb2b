"""Figures of a gradient capture. Functions that draw take an ``Axes`` and a table and compute nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from results.analyses.gradient_plot_data import STAGES, band_table, element_table, ewma_key
from results.analyses.gradients import BETA, BETAS, GradientCapture
from results.figures.label_layout import legend_below, write_notes
from results.figures.style import DOUBLE_COLUMN, GREY, LIGHT_GREY, LINESTYLES, PALETTE, drawing_style
from results.tables.table import Table

HEIGHT = 2.7
OUTER, INNER = LIGHT_GREY, "#b3b3b3"  # greys of the bands
_LABELS = {"raw": "Gradient g", "smoothed": "Smoothed gradient m̂", "adapted": "Adapted gradient m̂/(√v̂ + ε)"}
BAND_NAMES = ("lowest to highest element", "5 to 95 % of the elements")

GRADIENT_CAPTIONS = {
    "sma_and_ewma": "A simple moving average and the bias-corrected EWMA of the equivalent window, N = 2/(1-β) - 1, on "
    "the gradient of one element.",
    "ewma_on_gradients": "Bias-corrected EWMAs on the gradient of one element.",
    "gradients_raw": "Raw gradients of the layer over the mini-batches.",
    "gradients_smoothed": "Gradients of the layer after a bias-corrected EWMA, Adam's m̂.",
    "gradients_adapted": "Gradients of the layer as adapted by Adam, m̂/(√v̂ + ε): the update divided by -lr.",
    "gradient_stages": "The three stages of a gradient: raw, smoothed and adapted. The first two have the same scale.",
}
"""Figure → its caption."""


def draw_averages(axes: Axes, table: Table, keys: Sequence[str]) -> None:
    """Draw the raw gradient in grey, and the columns ``keys`` over it, by step."""
    steps = _column(table, "step")
    lines = axes.plot(steps, _column(table, "raw"), color=INNER, linewidth=0.8, label="raw")
    for key, color, linestyle in zip(
        keys, PALETTE, LINESTYLES, strict=False
    ):  # different line styles, because averages can coincide
        lines += axes.plot(steps, _column(table, key), color=color, linestyle=linestyle, label=_heading(table, key))
    _step_axis(axes, steps)
    axes.set_ylabel("Gradient")
    legend_below(axes, lines, [str(line.get_label()) for line in lines])


def draw_bands(axes: Axes, table: Table) -> tuple[list[Patch | Line2D], list[str]]:
    """Draw the range over the elements as two bands, and single elements as lines; return the legend's entries."""
    steps = _column(table, "step")
    handles: list[Patch | Line2D] = []
    for low, high, colour in (("lowest", "highest", OUTER), ("p5", "p95", INNER)):
        axes.fill_between(steps, _column(table, low), _column(table, high), color=colour, linewidth=0)
        handles.append(Patch(color=colour, linewidth=0))
    elements = [column.key for column in table.columns if column.key.startswith("element_")]
    for key, colour in zip(elements, PALETTE, strict=False):
        handles += axes.plot(steps, _column(table, key), color=colour, linewidth=0.9)
    _step_axis(axes, steps)
    return handles, [*BAND_NAMES, *(_heading(table, key) for key in elements)]


def gradient_figures(capture: GradientCapture, beta: float = BETA) -> dict[str, Figure]:
    """Return the figures of a capture by name; :data:`GRADIENT_CAPTIONS` has a caption for each.

    Raises:
        SpecError: β outside [0, 1).
    """
    element = element_table(capture, beta)
    bands = {stage: band_table(capture, stage, beta) for stage in STAGES}
    figures = {
        "sma_and_ewma": _figure(element, partial(draw_averages, table=element, keys=["sma", ewma_key(beta)])),
        "ewma_on_gradients": _figure(
            element, partial(draw_averages, table=element, keys=[ewma_key(one) for one in BETAS])
        ),
    }
    for stage, table in bands.items():
        figures[f"gradients_{stage}"] = _figure(table, partial(_draw_stage, table=table, label=_LABELS[stage]))
    figures["gradient_stages"] = _side_by_side(bands)
    return figures


def _draw_stage(axes: Axes, table: Table, label: str) -> None:
    handles, names = draw_bands(axes, table)
    axes.set_ylabel(label)
    legend_below(axes, handles, names)


def _figure(table: Table, draw: Callable[[Axes], None]) -> Figure:
    with drawing_style():
        figure = Figure(figsize=(DOUBLE_COLUMN, HEIGHT), layout="constrained")
        write_notes(figure, [f"{table.caption}.", *table.notes])
        draw(figure.add_subplot())
    return figure


def _side_by_side(bands: dict[str, Table]) -> Figure:
    with drawing_style():
        figure = Figure(figsize=(DOUBLE_COLUMN, HEIGHT - 0.3), layout="constrained")
        write_notes(figure, bands["raw"].notes)
        raw, smoothed, adapted = figure.subplots(1, 3, sharex=True)
        smoothed.sharey(raw)  # one scale shows the reduction
        for axes, (stage, table) in zip((raw, smoothed, adapted), bands.items(), strict=True):
            handles, names = draw_bands(axes, table)
            axes.set_title(_LABELS[stage])
        legend_below(raw, handles, names)
    return figure


def _column(table: Table, key: str) -> list[float]:
    return [float(row.values[key]) for row in table.rows]  # type: ignore[arg-type]  # plain numbers


def _heading(table: Table, key: str) -> str:
    return next(column.heading for column in table.columns if column.key == key)


def _step_axis(axes: Axes, steps: Sequence[float]) -> None:
    axes.axhline(0, color=GREY, linewidth=0.5, zorder=1)
    axes.set_xlabel("Mini-batch")
    axes.set_xlim(min(steps), max(steps))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
