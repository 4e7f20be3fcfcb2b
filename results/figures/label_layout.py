"""Where names go in a figure: at line ends, beside points, or in a legend under the axes; never over one another."""

from __future__ import annotations

import math
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

from results.figures.style import GREY, SMALL, TEXT

LINE_HEIGHT = 1.3  # of the font's size


def name_line_ends(axes: Axes, ends: Mapping[str, tuple[float, float]], colours: Mapping[str, str]) -> None:
    """Write each line's name right of the axes, beside its last point ``(x, y)`` in data units.

    Names that would overlap are moved apart, and a thin line leads from each to its end. Call it last: it lays the
    figure out to learn how high the axes are.
    """
    labels = [
        axes.annotate(
            name,
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
                # A line that ends early (its runs diverged) must not look as if it went on.
                "linestyle": "-" if end[0] >= axes.get_xlim()[1] else (0, (1, 4)),
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 1,
            },
        )
        for name, end in ends.items()
    ]
    figure = _figure_of(axes)
    figure.draw_without_rendering()
    height = axes.get_window_extent().height
    wanted = [axes.transAxes.inverted().transform(axes.transData.transform(end))[1] for end in ends.values()]
    gap = (SMALL + 0.5) * LINE_HEIGHT * figure.dpi / 72 / height
    for label, place in zip(labels, moved_apart(wanted, gap), strict=True):
        label.set_position((1.045, place))


def moved_apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Return places at least ``gap`` apart, in the order of ``wanted`` and near it; within 0 … 1 where they fit.

    Without that limit the places are nearest to ``wanted`` in least squares: a place less its rank times ``gap`` must
    not fall from one rank to the next, which is an isotonic regression.
    """
    if not wanted:
        return []
    order = np.argsort(wanted, kind="stable")
    ranks = gap * np.arange(len(wanted))
    highest = max(1 - ranks[-1], 0)
    places = np.empty(len(wanted))
    places[order] = np.clip(isotonic_regression(np.asarray(wanted)[order] - ranks).x, 0, highest) + ranks
    return [float(place) for place in places]


def name_points(axes: Axes, points: Mapping[str, tuple[float, float]]) -> bool:
    """Write each point's name beside it, clear of the others; return False, and write none, where they do not fit.

    ``points`` are in data units. Call it last: it lays the figure out to learn where the points are.
    """
    figure = _figure_of(axes)
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    pixels = {name: axes.transData.transform(point) for name, point in points.items()}
    radius = 4 * figure.dpi / 72
    taken = [Bbox.from_bounds(x - radius, y - radius, 2 * radius, 2 * radius) for x, y in pixels.values()]
    labels: list[Annotation] = []
    for name, point in points.items():
        label = axes.annotate(name, xy=point, textcoords="offset points", xytext=(0, 0), fontsize=SMALL + 0.5)
        label.set_in_layout(False)
        labels.append(label)
        if not _placed(label, frame, taken):
            for written in labels:
                written.remove()
            return False
    return True


def _placed(label: Annotation, frame: Bbox, taken: list[Bbox]) -> bool:
    """Try the places around the point, the nearest first."""
    for distance in (6, 12, 20, 30):
        for angle, ha in ((0, "left"), (180, "right"), (90, "center"), (270, "center"), (45, "left"), (315, "left"),
                          (135, "right"), (225, "right")):  # fmt: skip
            label.set_position((distance * math.cos(math.radians(angle)), distance * math.sin(math.radians(angle))))
            label.set(ha=ha, va="center")
            box = label.get_window_extent()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                return True
    return False


def legend_below(axes: Axes, handles: Sequence[Artist], names: Sequence[str]) -> None:
    """Put a legend under the axes and above the notes, in as many columns as fit; the figure grows by its height."""
    figure = _figure_of(axes)
    width = figure.get_figwidth()
    widest = max(map(len, names)) * SMALL * 0.62 / 72 + 0.5
    columns = max(1, min(len(names), int(width / widest)))
    top = reserve_below(figure, (math.ceil(len(names) / columns) * TEXT * 1.45 + 6) / 72)
    legend = figure.legend(
        handles, names, loc="upper center", ncols=columns, columnspacing=1.4,
        bbox_to_anchor=(width / 2, top), bbox_transform=figure.dpi_scale_trans,
    )  # fmt: skip
    legend.set_in_layout(False)  # its place is reserved


def write_notes(figure: Figure, notes: Sequence[str]) -> None:
    """Write notes as small grey lines at the bottom of the figure, wrapped to its width."""
    if not notes:
        return
    characters = int(figure.get_figwidth() * 72 / (SMALL * 0.56))
    lines = [line for note in notes for line in textwrap.wrap(note, characters)]
    top = reserve_below(figure, (len(lines) * SMALL * 1.35 + 6) / 72)
    figure.text(
        0.05, top - 2 / 72, "\n".join(lines), transform=figure.dpi_scale_trans, fontsize=SMALL, color=GREY, va="top",
        linespacing=1.2,
    )  # fmt: skip


def reserve_below(figure: Figure, inches: float) -> float:
    """Make the figure higher by a strip under its axes; return the strip's upper edge in inches from the bottom.

    The strip lies above those reserved before, so what is placed first stands lowest. The axes keep their size.
    """
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    height = figure.get_figheight()
    top = engine.get()["rect"][1] * height + inches
    figure.set_figheight(height + inches)
    share = top / (height + inches)
    engine.set(rect=(0, share, 1, 1 - share))
    return top


def _figure_of(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure


def padded(low: float, high: float, share: float) -> tuple[float, float]:
    """Return the limits widened by a share of their distance; by 1 where there is none."""
    extra = (high - low) * share if high > low else 1.0
    return low - extra, high + extra
