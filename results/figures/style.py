"""Style of all figures: sizes, colours, line styles. matplotlib's global settings are not changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

SINGLE_COLUMN = 3.35
"""Width in inches of a figure for one column of a paper."""

DOUBLE_COLUMN = 7.0
"""Width in inches of a figure over both columns."""

PNG_DPI = 200

MAX_DIRECT_LABELS = 6
"""Maximum number of lines that have a colour and a name; the others are thin and grey."""

FEW_SEEDS = 6
"""Below this n, every run is drawn as a point beside the mean."""

INK = "#262626"
GREY = "#6b6b6b"
LIGHT_GREY = "#d9d9d9"
FAINT = "#b4b4b4"  # lines without a name
PAPER = "#ffffff"
"""The neutral colours. The report page replaces every grey by one of its theme."""
ON_DARK, ON_LIGHT = "#fefefe", "#010101"
"""Colours of texts on a coloured cell, which do not depend on the theme of the page."""

SMALL = 6.5  # points: notes, cell texts
TEXT = 7.5  # points: everything else

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", INK)
"""Okabe and Ito, *Color Universal Design* (2008), without yellow, which has too little contrast on white."""

LINESTYLES: tuple[Any, ...] = (
    "-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)), (0, (10, 2)), (0, (5, 1.2, 1, 1.2, 1, 1.2)),
    (0, (2.5, 2.5)), (0, (10, 1.5, 2.5, 1.5)),
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")

RC_PARAMS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # part of matplotlib: the same text on every machine
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
    "svg.hashsalt": "sweep",  # the same figure gives the same ids
    "svg.fonttype": "path",
    "mathtext.fontset": "dejavusans",
}
"""What differs from matplotlib's own defaults. Any: matplotlib has a type per key."""


@contextmanager
def drawing_style(**changes: Any) -> Iterator[None]:
    """Set the style for making and for saving a figure: matplotlib's defaults, :data:`RC_PARAMS` and ``changes``.

    A user's ``matplotlibrc`` has no effect in this context, so that a figure is the same on every machine.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC_PARAMS | {key.replace("__", "."): value for key, value in changes.items()})
        yield


@dataclass(frozen=True)
class Style:
    """Line style of one configuration in all figures."""

    color: str
    linestyle: Any
    marker: str


Styles = Mapping[str, Style]
"""Configuration → its style."""


def repeated(styles: Iterable[Style]) -> set[tuple[str, str]]:
    """Return the pairs of colour and line style that several of ``styles`` have: their lines need markers."""
    counts = Counter((style.color, str(style.linestyle)) for style in styles)
    return {pair for pair, count in counts.items() if count > 1}
