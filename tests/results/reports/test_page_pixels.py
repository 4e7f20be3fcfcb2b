"""An image inside a figure is visible in the report and in the article: a screenshot has ink where the PNG has."""

from __future__ import annotations

import base64
import io
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from results.reports.report import ReportFigure, ReportTexts, inline_svg, report_html
from results.reports.study.article import ArticleFigure, article_html
from tests.results.report_pages import a_sweep

CAPTION = "A map of activations."


def a_map() -> str:
    """A figure with an image of pure red, which nothing else on the page has; its SVG holds it as a PNG."""
    figure = Figure(figsize=(4, 3))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(np.tile(np.array([1.0, 0.0, 0.0]), (8, 8, 1)))
    axes.axis("off")
    text = io.StringIO()
    figure.savefig(text, format="svg")
    assert "data:image/png;base64," in text.getvalue()
    return text.getvalue()


def report_page() -> str:
    return report_html(a_sweep(), {}, {"map": ReportFigure("map", CAPTION, a_map())}, ReportTexts())


def article_page() -> str:
    figures = {"activations_all": ArticleFigure("activations_all", CAPTION, a_map(), "map.png")}
    return article_html("![Figure 1](map.png)\n\n**Figure 1.** A map.\n", figures, "title")


def test_only_png_data_is_kept() -> None:
    """Every other reference out of the figure is removed."""
    png = "data:image/png;base64," + base64.b64encode(b"png").decode()
    for href in (png, "data:image/svg+xml;base64,AAAA", "https://example.com/a.png", "data:image/png;base64,<x>"):
        quoted = href.replace("<", "&lt;")
        text = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><image href="{quoted}"/></svg>'
        assert (href in inline_svg(text, prefix="p-", label="x")) == (href == png)


def with_rules_for_print(text: str) -> str:
    """Return a page that a screenshot shows with the rules for print in place of those for the screen."""
    assert "@media print" in text
    return text.replace("@media screen", "@media none").replace("@media print", "@media screen")


@pytest.mark.parametrize("page", [report_page, article_page])
@pytest.mark.parametrize("medium", ["screen", "print"])
def test_a_map_has_ink(tmp_path: Path, page, medium: str) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs chromium (Debian: apt-get install chromium)")
    text = page()
    assert "data:image/png;base64," in text
    text = with_rules_for_print(text) if medium == "print" else text
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    subprocess.run(
        [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--hide-scrollbars", "--window-size=1000,3000",
         f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={tmp_path / 'shot.png'}",
         (tmp_path / "page.html").as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    pixels = imread(tmp_path / "shot.png")[..., :3]
    red = (pixels[..., 0] > 0.9) & (pixels[..., 1] < 0.1) & (pixels[..., 2] < 0.1)
    assert red.sum() > 10_000
