"""The colours of a figure follow the theme of the page, except for coloured areas and what is drawn on them."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from results.figures.style import PALETTE
from results.reports.inline_svg import contrast, inline_svg, themed

MIXED = "color-mix(in srgb, var(--figure-ink) {}%, var(--figure-paper))"


def styles_of(figure: Figure) -> dict[str, str]:
    """The style of the drawing in each group that has a ``gid``."""
    text = io.StringIO()
    figure.savefig(text, format="svg")
    root = ElementTree.fromstring(inline_svg(text.getvalue(), prefix="p-", label="L"))
    groups = {group.get("id", ""): group for group in root.iter("g")}
    return {
        name.removeprefix("p-"): " ".join(part.get("style", "") for part in group if part.tag != "defs")
        for name, group in groups.items()
    }


@pytest.mark.parametrize(
    ("colour", "css"),
    [
        ("000000", MIXED.format(100)),
        ("ffffff", MIXED.format(0)),
        ("333333", MIXED.format(80)),
        ("56b4e9", "#56b4e9"),  # light enough for a dark page
    ],
)
def test_grey_is_a_mixture_of_ink_and_paper(colour: str, css: str) -> None:
    assert themed(colour) == css


def test_the_contrast_of_black_and_white_is_21() -> None:
    """WCAG 2.2; and of #767676 and white 4.54, its known limit for grey text."""
    assert contrast((0, 0, 0), "#ffffff") == pytest.approx(21)
    assert contrast((0x76,) * 3, "#ffffff") == pytest.approx(4.54, abs=0.01)


def test_every_colour_of_the_figures_is_readable_on_dark_paper() -> None:
    """Mixed with white by the given share, as CSS mixes in sRGB."""
    for colour in PALETTE[:-1]:
        channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        share = float((re.findall(r"calc\((\d+)%", themed(colour[1:].lower())) or ["0"])[0]) / 100
        assert contrast(list(channels + share * (255 - channels))) >= 4.5
        assert share < 0.35  # it is still that colour


def test_a_text_keeps_its_colour_on_a_coloured_area_only() -> None:
    figure = Figure(figsize=(4, 3))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 4), ylim=(0, 3))
    axes.add_patch(Rectangle((1, 1), 1, 1, facecolor="#00224e", gid="dark"))
    axes.add_patch(Rectangle((2, 1), 1, 1, facecolor="#fee838", gid="bright"))
    axes.text(1.2, 1.5, "on", color="white", gid="white")
    axes.text(2.2, 1.5, "on", color="black", gid="black")
    axes.text(0.2, 0.5, "beside", color="black", gid="beside")
    axes.plot([0, 4], [0.2, 0.2], color="#262626", gid="line")
    found = styles_of(figure)
    assert "fill: #00224e" in found["dark"]
    assert "fill: #fee838" in found["bright"]
    assert found["white"] == "fill: #ffffff"
    assert found["black"].startswith("fill: #000000")
    assert "#" not in found["beside"]  # it inherits the ink of the figure
    assert f"stroke: {MIXED.format('85.1')}" in found["line"]


def test_a_text_keeps_its_colour_on_an_image() -> None:
    figure = Figure(figsize=(4, 3))
    axes = figure.add_axes((0, 0.5, 1, 0.5))
    axes.imshow(np.zeros((2, 4)), aspect="auto", extent=(0, 4, 0, 2))
    axes.text(1, 1, "on", color="white", gid="on")
    figure.text(0.5, 0.2, "below", color="white", gid="below")
    found = styles_of(figure)
    assert found["on"] == "fill: #ffffff"
    assert found["below"] == f"fill: {MIXED.format(0)}"
