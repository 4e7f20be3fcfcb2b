"""Figures on a page with a light and a dark theme: the neutral colours of an SVG as variables of the page's CSS."""

from __future__ import annotations

import re

from results.figures.style import FAINT, GREY, INK, LIGHT_GREY, PAPER

NEUTRALS = {
    INK: "--figure-ink",
    GREY: "--figure-grey",
    FAINT: "--figure-faint",
    LIGHT_GREY: "--figure-grid",
    PAPER: "--figure-paper",
}
"""Neutral colour of a figure → variable of the page: text, axes, lines without a name, grid, background."""

_NEUTRAL = re.compile(rf"\b(fill|stroke):\s*({'|'.join(NEUTRALS)})\b", re.IGNORECASE)


def with_theme(svg: str) -> str:
    """Return the text of an SVG file for a page: every neutral colour becomes ``var(--figure-…, COLOUR)``.

    The page inserts the result as an element and sets the variables of :data:`NEUTRALS` in its dark theme, where
    ``--figure-paper`` is the colour behind the figure. Without a value, the colours are those of the file. The colours
    of :data:`results.figures.style.PALETTE`, of cells, and of texts on cells do not change; those of the palette have a
    contrast of at least 3 on ``#1e2125`` and darker backgrounds. An SVG file itself has no variables, as many programs
    that read SVG do not know them.
    """
    return _NEUTRAL.sub(lambda found: f"{found[1]}: var({NEUTRALS[found[2].lower()]}, {found[2]})", svg)
