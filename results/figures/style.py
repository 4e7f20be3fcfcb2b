"""One look for all figures: sizes, colours, line styles; nothing here touches matplotlib's global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SINGLE_COLUMN = 3.35
"""Width in inches of a figure in one column of a paper."""

DOUBLE_COLUMN = 7.0
"""Width in inches of a figure over both columns."""

PNG_DPI = 200

MOST_DIRECT_LABELS = 6
"""Up to so many lines are named where they end; more have a legend under the axes."""

INK = "#262626"
GREY = "#6b6b6b"
LIGHT_GREY = "#d9d9d9"

SMALL = 6.5  # points: notes, cell texts
TEXT = 7.5  # points: everything else

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito, *Color Universal Design* (2008), without the yellow, which nobody sees on white."""

DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same text everywhere
    "font.size": TEXT,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "xtick.labelsize": SMALL + 0.5,
    "ytick.labelsize": SMALL + 0.5,
    "legend.fontsize": SMALL + 0.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.borderaxespad": 0.2,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LIGHT_GREY,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "hatch.color": LIGHT_GREY,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.dpi": PNG_DPI,
    "svg.hashsalt": "sweep",  # the same drawing gives the same ids
    "svg.fonttype": "path",
    "mathtext.fontset": "dejavusans",
}
"""For ``matplotlib.rc_context``, around making and around saving; Any, as matplotlib types its keys one by one."""


@dataclass(frozen=True)
class Look:
    """How one configuration looks in every figure: the marker tells it where a dash means something else."""

    colour: str
    dash: Any
    marker: str


Looks = Mapping[str, Look]
"""Configuration → its look."""


def colour_of(configurations: Sequence[str]) -> dict[str, Look]:
    """Return the look of every configuration of a sweep, given in the sweep's order.

    Seven colours, then the same with other dashes and markers: 28 differ in colour or dash, 56 in some way.
    """
    looks = {}
    for i, name in enumerate(dict.fromkeys(configurations)):
        lap = i // len(PALETTE)
        looks[name] = Look(PALETTE[i % len(PALETTE)], DASHES[lap % len(DASHES)], MARKERS[lap % len(MARKERS)])
    return looks
