"""The article in a real Chromium: properties that its text does not show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from results.reports.study.article import FIGURES, TITLE, article_html
from tests.chromium import colours, load, resize
from tests.results.articles import an_article
from tests.results.report_pages import HOSTILE

SIZES = "return [...document.querySelectorAll(arguments[0])].map((e) => [e.getBoundingClientRect(), e.textContent])"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("article")
    markdown, _, figures = an_article(folder, HOSTILE)
    path = folder / "article.html"
    path.write_text(article_html(markdown, figures, TITLE), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Any:
    load(browser, address)
    return browser


def test_it_loads_without_console_output_and_requests_only_itself(page, address):
    """For any names."""
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [address]
    assert page.get_log("browser") == []


@pytest.mark.parametrize("width", [400, 1200])
def test_every_figure_is_seen(page, width):
    resize(page, width)
    boxes = page.execute_script(SIZES, "figure svg[role=img]")
    assert len(boxes) == len(FIGURES)
    assert all(box["width"] > 300 and box["height"] > 100 for box, _ in boxes)


@pytest.mark.parametrize("width", [400, 1200])
def test_the_names_in_every_figure_are_readable(page, width):
    """They have 7 points; a viewBox has one unit per point. A narrow screen scrolls the figure."""
    resize(page, width)
    figures = "return [...document.querySelectorAll('figure svg[role=img]')]"
    scales = page.execute_script(f"{figures}.map((s) => s.clientWidth / s.viewBox.baseVal.width)")
    assert len(scales) == len(FIGURES)
    assert min(scales) * 7 >= 11


@pytest.mark.parametrize("width", [400, 1200])
def test_every_formula_has_a_size_and_a_display_formula_a_separate_line(page, width):
    resize(page, width)
    boxes = page.execute_script(SIZES, "math")
    assert len(boxes) > 60
    assert [text for box, text in boxes if box["width"] < 3 or box["height"] < 3] == []
    lines = page.execute_script(SIZES, ".math.block math")
    assert len(lines) > 10
    assert all(box["height"] > 15 for box, _ in lines)


def test_a_fraction_is_drawn_as_one(page):
    """Its numerator is above its denominator: the browser renders MathML."""
    above = page.execute_script(
        "const boxes = (f) => [...f.children].map((e) => e.getBoundingClientRect());"
        "return [...document.querySelectorAll('mfrac')].map(boxes)"
    )
    assert above
    assert all(numerator["bottom"] <= denominator["top"] + 1 for numerator, denominator in above)


@pytest.mark.parametrize("width", [320, 400, 1200])
def test_the_page_does_not_scroll_sideways(page, width):
    """A wide table scrolls in its own frame."""
    resize(page, width)
    asked = "const e = document.documentElement; return [e.scrollWidth, e.clientWidth];"
    scroll_width, client_width = page.execute_script(asked)
    assert client_width == width
    assert scroll_width <= client_width
    if width < 500:
        wide = "return [...document.querySelectorAll('.frame')].filter((f) => f.scrollWidth > f.clientWidth).length"
        assert page.execute_script(wide) > 3


def test_dark_is_dark_formulas_and_figures_too(page):
    """By the reader's own setting."""
    light, dark = colours(page, "light"), colours(page, "dark")
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    assert page.execute_script("return getComputedStyle(document.querySelector('math')).color") == dark[1]
    card = page.find_element("css selector", ".card")
    assert card.value_of_css_property("background-color") == "rgba(27, 30, 34, 1)"
