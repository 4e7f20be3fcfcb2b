"""The report in a real Chromium, controlled by selenium: properties that its text does not show."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.support.wait import WebDriverWait

from results.figures.registry import make_figures
from results.ledger.arrays import SweepData
from results.reports.lead import sweep_lead
from results.reports.registry import report_tables
from results.reports.report import ReportFigure, ReportTexts, report_html
from results.reports.summary import question
from tests.chromium import colours, load, resize
from tests.results.figure_sweeps import made_up_sweep
from tests.results.report_pages import HOSTILE, a_page

FILLS = """
const fills = (selector) => [...document.querySelectorAll(selector)].map((e) => getComputedStyle(e).fill);
return [fills("figure svg [id$=patch_1] path"), fills("figure svg [id*=text_] use, figure svg text")];
"""
"""The colours of the background and of the glyphs of all figures."""

ORDER = """
const table = document.querySelector("#table-consolidated").parentElement.querySelector("table");
return [...table.tBodies[0].rows].map((row) => row.cells[0].textContent.trim()).join("");
"""


def channels(colour: str) -> list[float]:
    """The channels from 0 to 255 of ``rgb(1, 2, 3)`` or ``color(srgb 0.1 0.2 0.3)``."""
    values = [float(value) for value in re.findall(r"[\d.]+", colour)]
    return [255 * value for value in values] if colour.startswith("color(srgb") else values


def contrast(colour: Sequence[float], paper: Sequence[float]) -> float:
    """As WCAG 2.2 defines it."""

    def luminance(values: Sequence[float]) -> float:
        red, green, blue = (((v / 255 + 0.055) / 1.055) ** 2.4 if v > 10.31475 else v / 255 / 12.92 for v in values)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(colour), luminance(paper)))
    return (high + 0.05) / (low + 0.05)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(a_page(HOSTILE), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Any:
    """The report, newly loaded, with empty logs before, at the size of a laptop."""
    load(browser, address)
    return browser


@pytest.fixture
def header(page: Any) -> Callable[[str], Any]:
    """The cell that heads a column of the consolidated table, by its first words."""

    def find(words: str) -> Any:
        table = page.find_element("css selector", "#table-consolidated ~ .frame table")
        return next(cell for cell in table.find_elements("css selector", "thead th") if cell.text.startswith(words))

    return find


def test_it_loads_without_console_output_and_requests_only_itself(page, address):
    """For any names."""
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [address]
    assert page.get_log("browser") == []


def test_the_page_itself_forbids_a_request(page):
    """Its policy stops even a script that is already in it."""
    blocked = page.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        document.addEventListener("securitypolicyviolation", (event) => done(event.blockedURI));
        document.body.append(Object.assign(new Image(), { src: "http://127.0.0.1:9/picture" }));
        """
    )
    assert blocked == "http://127.0.0.1:9/picture"


@pytest.mark.parametrize(
    ("words", "ascending", "descending"),
    [
        ("Final", "aebcd", "cbead"),  # 9.5, 10, 28, 101: as numbers; n/a stays last
        ("Epochs to target", "beacd", "ebacd"),  # 9, 12.5, then > 50 and ∞ in their previous order, then n/a
        ("Configuration", "abcde", "edcba"),
        ("Speed", "beacd", "caebd"),
        ("n", "adceb", "bcead"),  # 0, 0, 1, 1, 2 runs
    ],
)
def test_a_click_on_a_header_sorts_up_then_down(page, header, words, ascending, descending):
    """The header says which; the others say that they do not sort."""
    cell = header(words)
    assert cell.get_attribute("aria-sort") == "none"
    cell.find_element("css selector", "button").click()
    assert (cell.get_attribute("aria-sort"), page.execute_script(ORDER)) == ("ascending", ascending)
    cell.find_element("css selector", "button").click()
    assert (cell.get_attribute("aria-sort"), page.execute_script(ORDER)) == ("descending", descending)
    table = cell.find_element("xpath", "..")
    assert len(table.find_elements("css selector", "[aria-sort=none]")) == 4


def test_the_keyboard_sorts_too(page, header):
    """Enter on the header's button."""
    header("Configuration").find_element("css selector", "button").send_keys("\ue007")
    assert page.execute_script(ORDER) == "abcde"


def test_the_search_box_filters_the_rows_of_all_tables(page):
    """By every word, in any column, run ids too; and says how many are left."""

    def shown() -> int:
        return sum(row.is_displayed() for row in page.find_elements("css selector", "table.data tbody tr"))

    box, count = page.find_element("id", "filter"), page.find_element("css selector", ".search output")
    assert shown() == 8
    box.send_keys("FAST r2")
    assert (shown(), count.text) == (1, "1 of 8 rows")
    box.clear()
    box.send_keys("no such row")
    assert (shown(), count.text) == (0, "0 of 8 rows")
    assert all(note.is_displayed() for note in page.find_elements("css selector", ".no-match"))
    page.execute_script("arguments[0].value = ''; arguments[0].dispatchEvent(new Event('input'))", box)
    assert (shown(), count.text) == (8, "")


@pytest.mark.parametrize("width", [320, 400, 1200])
def test_the_page_does_not_scroll_sideways(page, width):
    """A table of twenty columns scrolls in its own frame, and a figure too."""
    resize(page, width)
    for details in page.find_elements("css selector", "details"):
        page.execute_script("arguments[0].open = true", details)
    asked = "const e = document.documentElement; return [e.scrollWidth, e.clientWidth];"
    scroll_width, client_width = page.execute_script(asked)
    assert client_width == width
    assert scroll_width <= client_width
    scrolls = "return arguments[0].scrollWidth > arguments[0].clientWidth"
    assert page.execute_script(scrolls, page.find_element("css selector", "#table-wide ~ .frame"))
    card = page.find_element("css selector", ".card")
    assert page.execute_script(scrolls, card) == (width < 500)
    assert page.execute_script("return arguments[0].firstElementChild.getBoundingClientRect().width", card) >= 500


def test_a_column_is_described_under_the_pointer_with_the_keyboard_and_after_a_touch(page, header):
    """Inside the window, at the column's head. Escape closes the description."""
    cell = header("Configuration")
    button, tip = cell.find_element("css selector", "button"), cell.find_element("css selector", "[role=tooltip]")
    assert button.get_attribute("aria-describedby") == tip.get_attribute("id")
    assert not tip.is_displayed()
    ActionChains(page).move_to_element(button).perform()
    assert tip.is_displayed()
    assert tip.text.startswith("Optimizer and learning rate")
    ActionChains(page).move_to_element(page.find_element("css selector", "h1")).perform()
    assert not tip.is_displayed()
    page.execute_script("arguments[0].focus()", button)
    assert tip.is_displayed()
    button.send_keys("\ue00c")
    assert not tip.is_displayed()
    resize(page, 400)
    page.execute_script("arguments[0].blur(); arguments[0].scrollIntoView({block: 'center'})", button)
    place = button.rect
    offset = page.execute_script("return scrollY")
    point = {"x": place["x"] + 5, "y": place["y"] - offset + 5}
    page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    WebDriverWait(page, 20).until(lambda _: tip.is_displayed())
    assert tip.rect["x"] >= 0
    assert tip.rect["x"] + tip.rect["width"] <= 400


def test_the_contents_stay_in_sight_on_a_wide_screen_and_are_folded_on_a_narrow_one(page):
    contents = page.find_element("css selector", ".contents")
    link = contents.find_element("css selector", "a[href='#table-consolidated']")
    top = "return arguments[0].getBoundingClientRect().top"
    before = page.execute_script(top, link)
    page.execute_script("scrollTo(0, document.body.scrollHeight)")
    assert page.execute_script("return scrollY") > 500
    assert page.execute_script(top, link) == before < 800
    resize(page, 400)
    WebDriverWait(page, 20).until(lambda _: not link.is_displayed())
    contents.find_element("css selector", "summary").click()
    assert link.is_displayed()


def test_the_first_screen_has_the_answer_the_figure_and_the_table(browser, tmp_path):
    """At 1200 × 800 pixels, of a sweep of eight configurations, without scrolling."""
    load(browser, lead_page(made_up_sweep(8, seeds=6, epochs=50), tmp_path))
    boxes = [browser.find_element("css selector", f".lead {place}").rect for place in (".answer", "figure", "tbody tr")]
    assert [box["y"] for box in boxes] == sorted(box["y"] for box in boxes)
    assert all(box["y"] + box["height"] <= 800 for box in boxes)


@pytest.mark.parametrize("width", [400, 1280])
def test_the_names_of_many_configurations_are_readable_in_the_first_figure(browser, tmp_path, width):
    """The figure has at most twelve of 24. Its names have 7 points, a viewBox has one unit per point."""
    load(browser, lead_page(made_up_sweep(24, seeds=3), tmp_path), width)
    pixels = "const s = document.querySelector('.lead svg'); return s.clientWidth / s.viewBox.baseVal.width"
    assert 7 * browser.execute_script(pixels) >= 11
    scrolls = "const c = document.querySelector('.lead .card'); return c.scrollWidth > c.clientWidth"
    assert browser.execute_script(scrolls) == (width == 400)
    root = "const e = document.documentElement; return e.scrollWidth <= e.clientWidth"
    assert browser.execute_script(root)


def lead_page(sweep: SweepData, folder: Path) -> str:
    """Write a report that begins with the final accuracies; return its address."""
    figure = io.StringIO()
    make_figures(sweep, only=("final_accuracy",))["final_accuracy"].savefig(figure, format="svg")
    figures = {"final_accuracy": ReportFigure("final_accuracy", "Caption", figure.getvalue())}
    texts = ReportTexts(question(sweep), lead=sweep_lead(sweep))
    (folder / "report.html").write_text(report_html(sweep, report_tables(sweep), figures, texts), encoding="utf-8")
    return (folder / "report.html").as_uri()


def test_dark_is_dark_its_figures_too(page):
    """By the reader's own setting. Text has the contrast of WCAG 2.2, 4.5, on the paper of its figure."""
    light, dark = colours(page, "light"), colours(page, "dark")
    assert light[0] == "rgb(255, 255, 255)"
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    for scheme, paper in (("light", (255, 255, 255)), ("dark", (27, 30, 34))):
        colours(page, scheme)
        fills = page.execute_script(FILLS)
        papers, texts = ([channels(fill) for fill in kind] for kind in fills)
        assert {tuple(round(value) for value in found) for found in papers} == {paper}
        assert len(texts) > 20
        assert min(contrast(found, paper) for found in texts) >= 4.5


def test_it_prints_without_controls_and_in_light_colours(page):
    """To PDF, also for a reader whose screen is dark."""
    colours(page, "dark")
    pdf = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert pdf.startswith(b"%PDF-")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    assert not page.find_element("css selector", ".search").is_displayed()
    assert (
        page.find_element("css selector", "body").value_of_css_property("background-color") == "rgba(255, 255, 255, 1)"
    )
