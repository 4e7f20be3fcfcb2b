"""Placement of labels without overlap: at line ends, beside points, or in a legend below the axes."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from scipy.optimize import isotonic_regression

from results.figures.style import GREY, SINGLE_COLUMN, SMALL, TEXT
from search_spaces.plain_text import plain_text

LINE_HEIGHT = 1.3  # of the font's size
CHARACTER_WIDTH = SMALL * 0.62 / 72
"""Estimated width of a character of a label in inches."""
SHARE_OF_LABELS = 0.55
"""The share of a figure's width that labels beside the axes can use."""
LABEL_GAP = 4  # pixels between the labels of two points
KEY_WIDTH = 0.5
"""Width of the line and the margins of a legend's entry in inches."""


def figure_text(text: str) -> str:
    """Return ``text`` as matplotlib draws it literally: no formula between dollars, control characters as escapes."""
    return re.sub(r"(?<!\\)\$", r"\\$", plain_text(text, keep="\n"))


def label_line_ends(axes: Axes, ends: Mapping[str, tuple[float, float]], colours: Mapping[str, str]) -> None:
    """Label each line to the right of the axes, beside its last point ``(x, y)`` in data units.

    Labels that would overlap are moved apart; a thin line connects each label with its point. Call this function last:
    it needs the final layout of the figure.
    """
    labels = [
        axes.annotate(
            figure_text(name),
            xy=end,
            xytext=(1.045, 0.5),
            textcoords="axes fraction",
            va="center",
            ha="left",
            fontsize=SMALL + 0.5,
            color=colours[name],
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colours[name],
                "linewidth": 0.5,
                # Dotted for a line that ends early, because its runs diverged.
                "linestyle": "-" if end[0] >= axes.get_xlim()[1] else (0, (1, 4)),
                "relpos": (0, 0.5),
                "patchA": None,  # no search for the border of the text: the line starts in front of it
                "shrinkA": 3,
                "shrinkB": 1,
            },
        )
        for name, end in ends.items()
    ]
    figure = figure_of(axes)
    lay_out(figure)
    height = axes.get_window_extent().height
    positions = [axes.transAxes.inverted().transform(axes.transData.transform(end))[1] for end in ends.values()]
    gap = (SMALL + 0.5) * LINE_HEIGHT * figure.dpi / 72 / height
    for label, place in zip(labels, spread_apart(positions, gap), strict=True):
        label.set_position((1.045, place))


def spread_apart(positions: Sequence[float], gap: float) -> list[float]:
    """Return positions at least ``gap`` apart, in the order of ``positions`` and close to it; within 0 … 1 if possible.

    Without the limits the positions are the least-squares solution: position minus rank times ``gap`` must not
    decrease with the rank, which is an isotonic regression.
    """
    if not positions:
        return []
    order = np.argsort(positions, kind="stable")
    ranks = gap * np.arange(len(positions))
    highest = max(1 - ranks[-1], 0)
    places = np.empty(len(positions))
    places[order] = np.clip(isotonic_regression(np.asarray(positions)[order] - ranks).x, 0, highest) + ranks
    return [float(place) for place in places]


def label_points(
    axes: Axes, points: Mapping[str, tuple[float, float]], others: Sequence[tuple[float, float]] = ()
) -> bool:  # fmt: skip
    """Label each point without overlap; return False, without any label, if they do not fit.

    ``points``, and ``others`` without a label, are in data units. Call this function last: it needs the
    final layout of the figure.
    """
    figure = figure_of(axes)
    lay_out(figure)
    frame = axes.get_window_extent()
    radius = 4 * figure.dpi / 72
    pixels = [axes.transData.transform(point) for point in (*points.values(), *others)]
    taken = [Bbox.from_bounds(x - radius, y - radius, 2 * radius, 2 * radius) for x, y in pixels]
    labels: list[Annotation] = []
    for name, point in points.items():
        label = axes.annotate(
            figure_text(name), xy=point, textcoords="offset points", xytext=(0, 0), fontsize=SMALL + 0.5
        )
        label.set_in_layout(False)
        labels.append(label)
        if not _place_label(label, frame, taken):
            for written in labels:
                written.remove()
            return False
    return True


def _place_label(label: Annotation, frame: Bbox, taken: list[Bbox]) -> bool:
    """Place a label at the nearest free position around its point; return False if there is none."""
    for distance in (6, 12, 20, 30):
        for angle, ha in ((0, "left"), (180, "right"), (90, "center"), (270, "center"), (45, "left"), (315, "left"),
                          (135, "right"), (225, "right")):  # fmt: skip
            label.set_position((distance * math.cos(math.radians(angle)), distance * math.sin(math.radians(angle))))
            label.set(ha=ha, va="center")
            box = label.get_window_extent()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box.padded(LABEL_GAP))
                return True
    return False


def legend_below(axes: Axes, handles: Sequence[Artist], names: Sequence[str]) -> None:
    """Add a legend below the axes and above the notes, in as many columns as fit; the figure grows by its height."""
    figure = figure_of(axes)
    width = figure.get_figwidth()
    texts = [wrapped(figure_text(name), width - KEY_WIDTH) for name in names]
    widest = max(len(line) for text in texts for line in text.splitlines()) * CHARACTER_WIDTH + KEY_WIDTH
    columns = max(1, min(len(texts), int(width / widest)))
    rows = math.ceil(len(texts) / columns)
    lines = sum(max(text.count("\n") + 1 for text in texts[row::rows]) for row in range(rows))
    top = reserve_below(figure, (lines * TEXT * 1.45 + 6) / 72)
    legend = figure.legend(
        handles, texts, loc="upper center", ncols=columns, columnspacing=1.4,
        bbox_to_anchor=(width / 2, top), bbox_transform=figure.dpi_scale_trans,
    )  # fmt: skip
    legend.set_in_layout(False)  # its space is reserved


def width_of(axes: Axes) -> float:
    """Return the width of the figure in inches."""
    return figure_of(axes).get_figwidth()


def fit_beside_axes(axes: Axes, names: Sequence[str]) -> bool:
    """Whether names leave enough of a figure over both columns to its axes; a narrower figure has no space for them."""
    width = width_of(axes)
    return width > SINGLE_COLUMN and all(len(name) * CHARACTER_WIDTH <= SHARE_OF_LABELS * width for name in names)


def wrapped(text: str, inches: float) -> str:
    """Return ``text`` in lines that are at most ``inches`` wide, broken between the parts of a label if possible."""
    characters = max(1, int(inches / CHARACTER_WIDTH))
    if len(text) <= characters:
        return text or " "
    parts = text.split(" · ")
    pieces = [part + " ·" for part in parts[:-1]] + parts[-1:]
    return "\n".join(line for piece in pieces for line in textwrap.wrap(piece, characters, break_on_hyphens=False))


def write_notes(figure: Figure, notes: Sequence[str]) -> None:
    """Add notes in small grey type at the bottom of the figure, wrapped to its width."""
    if not notes:
        return
    characters = int(figure.get_figwidth() * 72 / (SMALL * 0.56))
    lines = [line for note in notes for line in textwrap.wrap(figure_text(note), characters)]
    top = reserve_below(figure, (len(lines) * SMALL * 1.35 + 6) / 72)
    figure.text(
        0.05, top - 2 / 72, "\n".join(lines), transform=figure.dpi_scale_trans, fontsize=SMALL, color=GREY, va="top",
        linespacing=1.2,
    )  # fmt: skip


def reserve_below(figure: Figure, inches: float) -> float:
    """Add a strip below the axes; return its upper edge in inches from the bottom of the figure.

    The strip is above strips that were reserved before. The axes keep their size and the figure grows.
    """
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    height = figure.get_figheight()
    top = engine.get()["rect"][1] * height + inches
    figure.set_figheight(height + inches)
    share = top / (height + inches)
    engine.set(rect=(0, share, 1, 1 - share))
    return top


def lay_out(figure: Figure) -> None:
    """Place the axes of a figure for the artists that it has; nothing is drawn."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)


def figure_of(axes: Axes) -> Figure:
    """Return the figure of ``axes``."""
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure


def padded_limits(low: float, high: float, share: float) -> tuple[float, float]:
    """Return limits extended by a share of their distance; by 1 if they are equal."""
    extra = (high - low) * share if high > low else 1.0
    return low - extra, high + extra
