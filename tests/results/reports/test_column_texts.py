"""The description of a column in the report is the text of docs/tables.md."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from results.reports.column_texts import column_text, column_texts, documented
from results.reports.lead import benchmark_lead, sweep_lead
from results.reports.registry import report_tables
from results.reports.report import ReportTexts, report_html
from tests.results.hand_worked import every_kind
from tests.results.ledger_sweeps import TunedMethod, benchmark_of

PAGE = """
## How numbers are printed

In the table `other`, a number has two decimals.

| shown | meaning |
| --- | --- |
| `1.00` | one |

## `first`

| column | meaning | source |
| --- | --- | --- |
| `a`, `b` | printed only: the mean of `x` | Student 1908 |
| `target_50` … `target_100` | epochs to [a share](#share) of the best | |

## `second`

| column | meaning |
| --- | --- |
| `a` | as in [`first`](#first), over all runs. A tie counts ½ |
| `b` | as in [`first`](#first) |

## Range test

The
table `range` has one row.

| column | meaning |
| --- | --- |
| `lr` | the learning rate |
"""


class Heads(HTMLParser):
    """The heads of each table: the text of the button, and the text that describes it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._place = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "th" and given.get("scope") == "col":
            self.found.append(("", ""))
        self._place = (
            "tip" if given.get("role") == "tooltip" else {"th": "head", "button": "head"}.get(tag, self._place)
        )
        if tag == "td":
            self._place = ""

    def handle_endtag(self, tag: str) -> None:
        self._place = "" if tag in ("thead", "th") else self._place

    def handle_data(self, data: str) -> None:
        if self._place and self.found:
            heading, tip = self.found[-1]
            self.found[-1] = (heading, tip + data) if self._place == "tip" else (heading + data, tip)


def test_the_page_in_the_package_is_the_page_of_the_documentation() -> None:
    root = Path(__file__).parents[3]
    assert (root / "results/reports/templates/tables.md").samefile(root / "docs/tables.md")


def test_a_text_is_plain_and_a_reference_is_replaced_by_its_text() -> None:
    texts = column_texts(PAGE)
    assert texts["first"] == {
        "a": "printed only: the mean of `x`",
        "b": "printed only: the mean of `x`",
        "target_": "epochs to a share of the best",
    }
    assert texts["second"] == {
        "a": "printed only: the mean of `x`. Here: over all runs. A tie counts ½", "b": "printed only: the mean of `x`"
    }  # fmt: skip
    assert texts["range"] == {"lr": "the learning rate"}
    assert "other" not in texts


def test_no_text_has_a_link() -> None:
    found = [text for texts in documented().values() for text in texts.values()]
    assert len(found) > 150
    assert [text for text in found if "](" in text or "as in [" in text] == []


def test_numbered_columns_and_the_tables_of_one_run_have_the_text_of_their_kind() -> None:
    assert column_text("profile", "target_70") == column_text("profile", "target_50") != ""
    assert column_text("gradient_ewma-Adam-seed-0", "variance").startswith("the variance of each element")
    assert column_text("convergence", "runs").startswith("number of planned runs")  # without `printed only`
    assert column_text("convergence", "no_such") == column_text("no_such", "runs") == ""


def test_every_column_of_every_table_of_a_report_has_its_description(tmp_path: Path) -> None:
    method = TunedMethod([[[30.0 + k] for k in range(5)]] * 2, [[34.0, 35.0]] * 2, [20.0])
    for sweep in (every_kind(tmp_path / "a"), benchmark_of(tmp_path / "b", {"one": method, "other": method})):
        tables = report_tables(sweep)
        lead = benchmark_lead(sweep, tables) if sweep.benchmark is not None else sweep_lead(sweep)
        assert lead is not None
        heads = Heads(report_html(sweep, tables, {}, ReportTexts(lead=lead))).found
        assert len(heads) > 40
        assert [heading for heading, tip in heads if len(tip) < 10] == []
        keys = {column.key for table in tables.values() for column in table.columns if "_" in column.key}
        assert [(heading, tip) for heading, tip in heads if keys & set(re.findall(r"\w+", tip))] == []
        described = {tip for _, tip in heads}
        for name in ("convergence", "benchmark_pairs"):
            for column in tables[name].printed if name in tables else ():
                text = column_text(name, column.key, {other.key: other.heading for other in tables[name].columns})
                moved = len({*tables[name].column_text(column)}) == 1
                assert moved or text[:1].upper() + text[1:] in described
