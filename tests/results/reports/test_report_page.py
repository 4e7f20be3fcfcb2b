"""The report in a real Chromium, controlled by selenium: properties that its text does not show."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import colours, load, resize
from tests.results.report_pages import HOSTILE, a_page

ORDER = """
const table = document.querySelector("#table-consolidated").parentElement.querySelector("table");
return [...table.tBodies[0].rows].map((row) => row.cells[0].textContent.trim()).join("");
"""


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
    frame = page.find_element("css selector", "#table-wide ~ .frame")
    assert page.execute_script("return arguments[0].scrollWidth > arguments[0].clientWidth", frame)


def test_dark_is_dark_and_its_figures_stay_on_a_light_card(page):
    """By the reader's own setting."""
    light, dark = colours(page, "light"), colours(page, "dark")
    assert light[0] == "rgb(255, 255, 255)"
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    card = page.find_element("css selector", ".card")
    assert card.value_of_css_property("background-color") == "rgba(255, 255, 255, 1)"


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
