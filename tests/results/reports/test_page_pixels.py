"""Every figure is visible in the report and in the article, light, dark and in print: it has ink where its PNG has."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2
import pytest
from matplotlib.figure import Figure
from PIL import Image

from results.analyses.activations import activation_figures
from results.figures.registry import make_figures, write_figures
from results.reports.inline_svg import DARK_PAPER, inline_svg
from results.reports.report import ReportFigure, ReportTexts, report_html
from results.reports.study.article import ArticleFigure, article_html
from tests.chromium import load
from tests.results.analyses.test_activations import made_up
from tests.results.figure_sweeps import made_up_sweep
from tests.results.report_pages import a_sweep

Ink = npt.NDArray[np.float64]
Drawn = dict[str, tuple[str, Ink]]

BLOCKS = (48, 32)
"""Columns and rows of the grid in which the ink of two images of one figure is compared."""
SOME_INK = 0.03
"""The mean darkness of a block from which it counts as drawn."""
RED, WHITE = (255, 0, 0), (255, 255, 255)
DARK = (27, 30, 34)
SCALE = 0.5
PLACES = """
return [...document.querySelectorAll("figure svg[role=img]")].map((e) => {
  const r = e.getBoundingClientRect();
  return [r.left + scrollX, r.top + scrollY, r.right + scrollX, r.bottom + scrollY];
});
"""
"""Left, top, right and bottom edge of every figure on the page."""


def a_map() -> Figure:
    """A figure with an image of pure red, which nothing else on the page has; its SVG holds it as a PNG."""
    figure = Figure(figsize=(4, 3))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(np.tile(np.array([1.0, 0.0, 0.0]), (8, 8, 1)))
    axes.axis("off")
    return figure


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """All figures of a sweep, two of activation maps, and the red map: the text of the SVG, and the ink of the PNG."""
    folder = tmp_path_factory.mktemp("figures")
    maps = activation_figures(made_up())
    figures = {**make_figures(made_up_sweep()), **{name: maps[name] for name in list(maps)[-2:]}, "red": a_map()}
    write_figures(figures, folder, ("svg", "png"))
    return {
        name: ((folder / f"{name}.svg").read_text(encoding="utf-8"), ink_of(Image.open(folder / f"{name}.png")))
        for name in figures
    }


def report_page(drawn: Drawn) -> str:
    figures = {name: ReportFigure(name, f"Caption of {name}", svg) for name, (svg, _) in drawn.items()}
    return report_html(a_sweep(), {}, figures, ReportTexts())


def article_page(drawn: Drawn) -> str:
    figures = {name: ArticleFigure(name, f"Caption of {name}", svg, f"{name}.png") for name, (svg, _) in drawn.items()}
    text = "\n\n".join(f"![{name}]({name}.png)\n\n**Figure.** Caption of {name}" for name in figures)
    return article_html(f"{text}\n", figures, "title")


@pytest.fixture(params=[report_page, article_page])
def page(request: pytest.FixtureRequest, drawn: Drawn, browser: Any, tmp_path: Path) -> Any:
    made: Callable[[Drawn], str] = request.param
    (tmp_path / "page.html").write_text(made(drawn), encoding="utf-8")
    load(browser, (tmp_path / "page.html").as_uri(), 1000)
    return browser


def ink_of(image: Image.Image, paper: tuple[int, int, int] = WHITE) -> Ink:
    """Return the mean difference of each block from the paper, ``[rows, columns]`` between 0 and 1."""
    difference = np.abs(np.asarray(image.convert("RGB"), dtype=np.int16) - np.array(paper)).max(axis=-1)
    blocks = Image.fromarray(difference.astype(np.uint8)).resize(BLOCKS, Image.Resampling.BOX)
    return np.asarray(blocks, dtype=np.float64) / 255


def around(ink: Ink) -> Ink:
    """Return the most ink in each block and its eight neighbours: a line may lie beside the border of a block."""
    padded = np.pad(ink, 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return np.asarray(windows.max(axis=(2, 3)))


def screenshots(browser: Any) -> list[Image.Image]:
    """Return the pixels of each figure, cut out of one screenshot of the whole page at half its size."""
    places = browser.execute_script(PLACES)
    width, height = browser.execute_script("const e = document.documentElement; return [e.scrollWidth, e.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": SCALE}
    asked = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    shot = Image.open(io.BytesIO(base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", asked)["data"])))
    return [shot.crop(tuple(round(SCALE * edge) for edge in place)) for place in places]


def test_every_figure_has_ink_where_its_png_has(page: Any, drawn: Drawn) -> None:
    """In a light and a dark theme, and in print for a reader of the dark theme, where the paper is white."""
    assert f"#{bytes(DARK).hex()}" == DARK_PAPER
    for medium, scheme, paper, share in (
        ("screen", "light", WHITE, 4),
        ("screen", "dark", DARK, 8),
        ("print", "dark", WHITE, 4),
    ):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": features})
        assert page.execute_script("return matchMedia(arguments[0]).matches", medium)
        shots = dict(zip(drawn, screenshots(page), strict=True))
        assert len(shots) > 10
        for name, (_, expected) in drawn.items():
            found = ink_of(shots[name], paper)
            assert expected.max() > SOME_INK, name
            assert (around(found) > expected / share)[expected > SOME_INK].all(), (name, medium, scheme)
            assert (around(expected) > found / share)[found > SOME_INK].all(), (name, medium, scheme)
        red = (np.asarray(shots["red"].convert("RGB")) == RED).all(axis=-1)
        assert red.mean() == pytest.approx(3 / 4, abs=0.02)  # a square in a figure of 4 × 3 inches


def test_a_printed_map_has_its_pixels(page: Any) -> None:
    """In the PDF that the browser prints."""
    pdf = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    red = 0
    with pypdfium2.PdfDocument(pdf) as document:
        for sheet in document:
            pixels = np.asarray(sheet.render(scale=0.5).to_pil().convert("RGB"), dtype=np.int16)
            red += int((np.abs(pixels - np.array(RED)).max(axis=-1) < 30).sum())
    assert red > 3_000  # of 4 × 3 inches at 36 dots per inch, in a column that may be narrower


def test_only_png_data_is_kept() -> None:
    """Every other reference out of the figure is removed."""
    png = "data:image/png;base64," + base64.b64encode(b"png").decode()
    for href in (png, "data:image/svg+xml;base64,AAAA", "https://example.com/a.png", "data:image/png;base64,<x>"):
        quoted = href.replace("<", "&lt;")
        text = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><image href="{quoted}"/></svg>'
        assert (href in inline_svg(text, prefix="p-", label="x")) == (href == png)
