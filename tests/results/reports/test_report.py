from __future__ import annotations

import re
import unicodedata
from collections import Counter
from html.parser import HTMLParser

import pytest

from results.metrics.intervals import Estimate
from results.reports.inline_svg import inline_svg
from results.reports.report import ReportTexts, plain_text, report_html
from results.tables.table import Column, Row, Table
from tests.results.report_pages import COLUMNS, HOSTILE, ROWS, a_figure, a_page, a_sweep

VOID = {"meta", "link", "input", "img", "br"}


class Page(HTMLParser):
    """What a browser would see: the elements with their attributes, and the text outside style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data.strip())

    def tags(self) -> Counter[str]:
        return Counter(tag for tag, _ in self.elements)

    def values(self, key: str) -> list[str]:
        return [attributes[key] for _, attributes in self.elements if key in attributes]


@pytest.fixture(scope="module")
def hostile() -> Page:
    return Page(a_page(HOSTILE))


@pytest.fixture(scope="module")
def plain() -> Page:
    return Page(a_page())


def test_a_hostile_name_makes_no_element_and_no_handler(hostile, plain):
    """The page has the same elements for any names; only the number of matplotlib's glyphs differs."""
    drawn = {"path", "use", "g", "defs", "text", "clipPath", "clippath", "rect"}
    assert {t: n for t, n in hostile.tags().items() if t not in drawn} == {
        t: n for t, n in plain.tags().items() if t not in drawn
    }
    assert hostile.tags()["script"] == 1
    assert "img" not in hostile.tags()
    assert not [key for _, attributes in hostile.elements for key in attributes if key.startswith("on")]


def test_every_element_is_closed(hostile):
    """Each end tag met its start tag while reading; none is left."""
    assert hostile.open == []


def test_a_hostile_name_is_shown_as_it_is(hostile):
    """In the title, the question, an answer, data, captions, cells, run ids, notes, lint, commands and the spec."""
    assert hostile.texts.count(HOSTILE) >= 10
    assert f"{HOSTILE} – sweep report" in hostile.texts
    assert [label for label in hostile.values("aria-label") if HOSTILE in label]
    assert [text for text in hostile.texts if text.startswith("sweep run ") and "<script>" in text]


def test_a_hostile_name_does_not_reach_style_or_script():
    """Style and script contain only text of the template."""

    def code(page: str) -> list[str]:
        return re.findall(r"<(?:style|script)>.*?</(?:style|script)>", page, re.DOTALL)

    assert code(a_page(HOSTILE)) == code(a_page())


def test_nothing_is_fetched_from_elsewhere(hostile):
    """Every address on the page is a place on the page, but for an empty icon."""
    assert not {"src", "srcset", "action", "xlink:href"} & {key for _, keys in hostile.elements for key in keys}
    assert {value for value in hostile.values("href") if not value.startswith("#")} == {"data:,"}
    assert not re.findall(r"(?:https?:)?//\w[^\s<]*", a_page())
    assert "@import" not in a_page()
    assert [value for value in hostile.values("content") if value.startswith("default-src 'none'; ")]


def test_ids_are_unique_and_every_reference_has_its_target(hostile):
    """Three figures, two of them with the same ids in their files."""
    ids = hostile.values("id")
    assert len(ids) == len(set(ids))
    asked = [value[1:] for value in hostile.values("href") if value.startswith("#")]
    asked += [name for value in hostile.values("clip-path") for name in re.findall(r"url\(#(.*?)\)", value)]
    asked += hostile.values("aria-labelledby") + hostile.values("for")
    assert set(asked) <= set(ids)
    assert sum(name.startswith("svg2-") for name in asked) > 2


def test_every_table_and_figure_is_there_and_in_the_contents(plain):
    """The consolidated table first."""
    anchors = [value for value in plain.values("id") if value.startswith(("table-", "figure-"))]
    assert anchors == ["table-consolidated", "table-wide", "figure-one", "figure-two", "figure-plain"]
    assert {f"#{anchor}" for anchor in anchors} <= set(plain.values("href"))
    assert plain.tags()["svg"] == 3
    assert plain.tags()["table"] == 3


def test_two_names_that_make_one_anchor_get_two():
    """``a b`` and ``a-b``."""
    tables = {name: Table(name, name, COLUMNS, ROWS) for name in ("a b", "a-b", "ü")}
    page = Page(report_html(a_sweep(), tables, {}, ReportTexts()))
    anchors = [value for value in page.values("id") if value.startswith("table-")]
    assert len(anchors) == len(set(anchors)) == 3


def test_a_cell_sorts_by_its_number():
    """An estimate by its value, a miss as infinity, n/a as nothing; text has no number to sort by."""
    columns = (Column("x", "X"),)
    values = [Estimate(28.0, 27.4, 28.6, 3), 3, True, "> 50", float("-inf"), float("nan"), None, "n/a", "fast"]
    table = Table("t", "t", columns, [Row({"x": value}) for value in values])
    page = Page(report_html(a_sweep(), {"t": table}, {}, ReportTexts()))
    cells = [attributes.get("data-value") for tag, attributes in page.elements if tag == "th" and "scope" in attributes]
    assert cells[1:] == ["28.0", "3.0", "1.0", "inf", "-inf", "", "", "", None]


def test_a_row_shows_its_run_ids(plain):
    """And their number, to sort by."""
    assert {"r1", "r2", "r3", "r4"} <= set(plain.texts)
    assert plain.tags()["details"] == 3 + 1 + 1 + 1  # three rows of one table, one of the other, the spec, the contents


def test_an_empty_report_is_reported_as_empty():
    """No table, no figure, no answer, no provenance: still a page."""
    page = Page(report_html(a_sweep(), {}, {}, ReportTexts("?")))
    assert {"No table yet.", "No figure yet.", "No answer: no run has a result yet."} <= set(page.texts)


def test_caveats_are_on_the_page():
    """Synthetic data and a short protocol; a full sweep of real data has no banner."""
    page = Page(report_html(a_sweep(epochs=5), {}, {}, ReportTexts()))
    assert sum(text in a_sweep(epochs=5).caveats() for text in page.texts) == 2
    real = a_sweep(synthetic=False, data_name="cifar100")
    assert "aside" not in Page(report_html(real, {}, {}, ReportTexts())).tags()


def test_a_figure_s_style_sheet_does_not_reach_the_page():
    """matplotlib sets line joins on ``*``; here the drawing inherits them."""
    svg = inline_svg(a_figure("a", "a").svg, prefix="p-", label="L")
    assert "<style" not in svg
    assert "metadata" not in svg
    assert svg.startswith("<svg ")
    assert "stroke-linejoin: round" in svg


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("command", ["sweep", "run", "a b"], "sweep run 'a b'"),
        ("versions", {"torch": "2.11", "ray": "2.52"}, "torch 2.11, ray 2.52"),
        ("data", {"name": "x", "synthetic": False}, "name x, synthetic no"),
        ("cluster", {"CPU": 2.0, "object_store_memory": 2**31}, "CPU 2, object store memory 2.0 GiB"),
        ("git_commit", None, "n/a"),
    ],
)
def test_provenance_reads_as_words(key, value, text):
    """Not as Python writes it."""
    assert plain_text(key, value) == text


def test_no_control_character_reaches_the_page() -> None:
    """From a spec, a command line or a table: a change of direction hides what the next words are."""
    text = "a\x1b[31m\u202eb\x07\x00\u2066c"
    table = Table("t", text, (Column("x", text, text),), [Row({"x": text}, [text])], [text])
    texts = ReportTexts(text, [text], [{"command": [text], "versions": {text: text}}], [text], text)
    page = report_html(a_sweep(text, devices=(text,), protocol={text: text}), {"t": table}, {}, texts)
    hidden = {char for char in page if unicodedata.category(char) == "Cc"} | ({*page} & {"\u202e", "\u2066"})
    assert hidden <= {"\n", "\t"}
    assert r"\u202e" in page
