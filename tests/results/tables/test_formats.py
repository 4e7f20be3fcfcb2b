"""One table, six formats."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from itertools import chain
from pathlib import Path

import pandas as pd
import pypdfium2
import pytest

from results.metrics.intervals import Estimate
from results.tables.formats import (
    TABLE_WRITERS,
    TEXT_WRITERS,
    as_csv,
    as_document,
    as_html,
    as_json,
    as_latex,
    as_markdown,
    as_text_cells,
)
from results.tables.latex import LATEX_ESCAPES, _LatexColumn
from results.tables.registry import make_tables
from results.tables.table import Column, Row, Table
from tests.results.figure_sweeps import made_up_sweep

NASTY = 'a&b % _x_ #1 $2 ^3 ~ \\cmd {y} <b> | "q" ± ∞ · × χ² β ρ τ ≥ ≤ – … `c` *d* ö é'


def a_table(text: str = NASTY) -> Table:
    columns = (Column("name", text), Column("x", "Mean", "%"), Column("n", "N"), Column("inf", "∞"), Column("w", "W"))
    rows = [
        Row({"name": text, "x": Estimate(1 / 3, 1 / 3 - 0.5, 1 / 3 + 0.5, 3), "n": 7, "inf": math.inf, "w": "> 10"},
            ("run1", "run2")),
        Row({"name": "short", "x": Estimate(2.0, math.nan, math.nan, 1), "inf": math.nan, "w": "[1"}, ("run3",)),
        Row({"name": "[first"}),
    ]  # fmt: skip
    return Table("a_table", f"Caption {text}", columns, rows, [f"Note {text}"], data="here & there")


def test_csv_reads_back_as_the_frame():
    """Floats to the last bit, the missing as missing, text as it was."""
    table = a_table()
    frame = table.frame()
    again = pd.read_csv(StringIO(as_csv(table)), dtype="string", keep_default_na=False)
    again["run_ids"] = again["run_ids"].str.replace("rrun", "run")  # the letter before an id
    again = again.mask(again == "").astype(frame.dtypes.to_dict())  # not pandas' own floats: some cut the last bit
    again["run_ids"] = again["run_ids"].fillna("")  # a row without runs
    pd.testing.assert_frame_equal(again, frame, check_exact=True)


def test_parquet_reads_back_as_the_frame(tmp_path):
    table = a_table()
    TABLE_WRITERS["parquet"](table, tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), table.frame(), check_exact=True)


def refuse(constant: str) -> None:
    raise AssertionError(constant)


def test_json_is_json():
    """No NaN, no Infinity; values, texts, run ids, notes and the data are all there."""
    whole = json.loads(as_json(a_table()), parse_constant=refuse)
    assert (whole["name"], whole["caption"], whole["notes"]) == ("a_table", f"Caption {NASTY}", [f"Note {NASTY}"])
    assert whole["data"] == "here & there"
    assert [column["key"] for column in whole["columns"]] == ["name", "x", "n", "inf", "w"]
    first, second, third = whole["rows"]
    assert first["values"] == {
        "name": NASTY, "x": {"value": 1 / 3, "low": 1 / 3 - 0.5, "high": 1 / 3 + 0.5, "n": 3}, "n": 7, "inf": None,
        "w": "> 10",
    }  # fmt: skip
    assert first["text"] == {"name": NASTY, "x": "0.3 ± 0.5", "n": "7", "inf": "∞", "w": "> 10"}
    assert first["run_ids"] == ["run1", "run2"]
    assert second["values"]["x"] == {"value": 2.0, "low": None, "high": None, "n": 1}
    assert third["values"] == {"name": "[first", "x": None, "n": None, "inf": None, "w": None}


def markdown_cells(line: str) -> list[str]:
    """What a reader of Markdown sees in a row: split at the unescaped pipes, with escapes resolved."""
    cells = re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]
    return [re.sub(r"\\([\\|*_`<])", r"\1", cell).strip() for cell in cells]


def test_markdown_is_aligned_in_its_source():
    """All rows have one width, and unescaped pipes are aligned."""
    lines = [line for line in as_markdown(a_table()).splitlines() if line.startswith("|")]
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1
    bare = [[match.start() for match in re.finditer(r"(?<!\\)\|", line)] for line in lines]
    assert all(places == bare[0] for places in bare)
    assert len(bare[0]) == 6


def test_markdown_shows_the_text_of_every_cell():
    """Pipes, stars and the like are escaped: the cells are those of the table."""
    table = a_table()
    header, rule, *body = (line for line in as_markdown(table).splitlines() if line.startswith("|"))
    assert markdown_cells(header) == [column.title for column in table.columns]
    assert [markdown_cells(line) for line in body] == table.text()
    assert [cell.strip().endswith(":") for cell in rule.split("|")[1:-1]] == [False, True, True, True, False]


def test_a_line_break_stays_in_its_markdown_cell():
    assert r"| a\\nb |" in as_markdown(Table("t", "c", (Column("x", "X"),), [Row({"x": "a\nb"})]))


class Cells(HTMLParser):
    """The texts and the tags of a fragment."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag in ("td", "th", "caption", "li"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells and data.strip():
            self.cells[-1] += data


def test_html_escapes_what_it_is_given():
    """The texts are unchanged and add no tag."""
    attack = "<script>alert(\"x\")</script> & 'more'"
    table = a_table(attack)
    page = Cells(as_html(table))
    assert page.tags == {"table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    assert page.cells == [
        table.caption, *(column.title for column in table.columns), *chain.from_iterable(table.text()), *table.notes
    ]  # fmt: skip
    assert html.escape(attack) in as_html(table)


def test_latex_escapes_every_special_sign():
    """No character that is LaTeX syntax is left, and none that its basic fonts lack."""
    body = as_latex(Table("t", "c", (Column("x", "X"),), [Row({"x": NASTY})])).splitlines()
    (line,) = (line for line in body if line.startswith("a"))
    assert line.replace(r"\allowbreak{}", "") == (
        r"a\&b \% \_x\_ \#1 \$2 \textasciicircum{}3 \textasciitilde{} \textbackslash{}cmd \{y\} "
        r"\textless{}b\textgreater{} \textbar{} ''q'' $\pm$ $\infty$ $\cdot$ $\times$ $\chi$$^2$ $\beta$ $\rho$ $\tau$ "
        r"$\geq$ $\leq$ -- \ldots{} `c` *d* " + '\\"o ' + r"\'e \\"
    )


@pytest.mark.parametrize("sign", sorted(LATEX_ESCAPES))
def test_a_latex_special_character_is_escaped_everywhere(sign):
    text = as_latex(Table("t", f"c{sign}", (Column("x", f"h{sign}"),), [Row({"x": f"d{sign}"})], [f"n{sign}"]))
    for place in "chdn":
        assert f"{place}{LATEX_ESCAPES[sign]}" in text


def test_an_unknown_sign_does_not_stop_latex():
    """Its code point is printed in its place."""
    assert "U+2713" in as_latex(Table("t", "c", (Column("x", "X"),), [Row({"x": "✓"})]))


def test_a_bracket_at_the_start_of_a_row_is_no_argument():
    r"""After ``\\`` LaTeX reads a bracket as its argument."""
    lines = as_latex(a_table()).splitlines()
    assert not any(line.startswith(("[", "*")) for line in lines)
    assert any(line.startswith("{}[first &") for line in lines)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_and_nothing_is_wider_than_the_page(tmp_path):
    """Every table of a sweep, one with special characters, and one of many rows, which continues on the next page."""
    tables = [*make_tables(made_up_sweep(6, 3, 12)).values(), a_table(NASTY + " ✓ naïve")]
    long = tables[0]
    tables.append(replace(long, name="long", rows=[*long.rows] * 10))
    high = make_tables(made_up_sweep(20, 3, 12))["convergence"]
    tables.append(replace(high, name="high", notes=[*high.notes, "A long note. " * 40]))
    for table in tables:
        (tmp_path / f"{table.name}.tex").write_text(as_latex(table), encoding="utf-8")
    inputs = "\n".join(rf"\input{{{table.name}}}\clearpage" for table in tables)
    packages = r"\usepackage{booktabs,longtable,siunitx}"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}{inputs}\end{{document}}"
    log = compiled(document, tmp_path)
    assert "Missing character" not in log
    assert "Float too large for page" not in log
    assert re.findall(r"Overfull .hbox.*", log) == []


def compiled(document: str, folder: Path) -> str:
    """Write ``article.pdf`` with pdfLaTeX and return its log."""
    (folder / "article.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"],
        cwd=folder, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    return (folder / "article.log").read_text(errors="replace")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_the_decimal_points_of_a_latex_column_are_below_one_another(tmp_path):
    """In the page as it is set: numbers of different lengths, with and without an interval, beside other cells."""
    values = [Estimate(1.5, 1.3, 1.7, 3), -112.25, 7.125, None, 0.5, math.inf]
    columns = (Column("name", "Name"), Column("x", "X", infinite="< 0.001"))
    table = Table("t", "c", columns, [Row({"name": "row", "x": value}) for value in values])
    packages = r"\usepackage{booktabs,longtable,siunitx}"
    compiled(rf"\documentclass{{article}}{packages}\begin{{document}}{as_latex(table)}\end{{document}}", tmp_path)
    with pypdfium2.PdfDocument(tmp_path / "article.pdf") as pdf:
        page = pdf[0].get_textpage()
        text = page.get_text_range()
        boxes = [page.get_charbox(i) for i, sign in enumerate(text) if sign == "." and text[i + 1].isdigit()]
    lefts = sorted(round(left, 1) for left, *_ in boxes)
    common = max(set(lefts), key=lefts.count)
    assert lefts.count(common) == sum(isinstance(value, float | Estimate) and value != math.inf for value in values)


def test_latex_has_at_most_seven_columns_and_names_the_others():
    table = make_tables(made_up_sweep(6, 3, 12))["convergence"]
    text = as_latex(table)
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    assert {line.count(" & ") for line in body.splitlines()[1:]} == {6}
    assert text.startswith("% Columns that the other formats have: best_val_acc, ")


def test_latex_aligns_numbers_and_braces_other_cells():
    texts = ["1.5 ± 0.2", "n/a", "-12.25"]
    column = Column("x", "X")
    assert _LatexColumn(column, texts).specification.startswith("S[table-format=-2.2(1),separate-uncertainty=true,")
    assert _LatexColumn(column, texts).cells == [r"1.5 \pm 0.2", "{n/a}", "-12.25"]
    assert not _LatexColumn(column, ["17.2, 17.9", "1.0"]).numeric


@pytest.mark.parametrize(("rows", "environment"), [(40, "tabular"), (41, "longtable")])
def test_more_than_forty_rows_are_a_long_table(rows, environment):
    text = as_latex(Table("t", "c", (Column("x", "X"),), [Row({"x": 1})] * rows))
    assert rf"\begin{{{environment}}}" in text


@pytest.mark.parametrize("name", TABLE_WRITERS)
def test_a_table_without_rows_is_written_too(tmp_path, name):
    """A header, and nothing under it."""
    path = tmp_path / f"t.{name}"
    TABLE_WRITERS[name](Table("t", "Caption", (Column("x", "X"),), [], ["Empty."]), path)
    assert path.stat().st_size > 0


@pytest.mark.parametrize("name", TEXT_WRITERS)
def test_a_file_holds_what_the_text_is(tmp_path, name):
    """In UTF-8, for any encoding of the system."""
    path: Path = tmp_path / f"t.{name}"
    TABLE_WRITERS[name](a_table(), path)
    assert path.read_bytes().decode("utf-8") == TEXT_WRITERS[name](a_table())


def test_every_number_of_a_sweep_stays_a_number():
    """No column of floats or whole numbers turns into text on the way to Parquet."""
    looked_at = 0
    for table in make_tables(made_up_sweep(12, 3, 12)).values():
        frame = table.frame()
        for column in table.columns:
            values = [row.values.get(column.key) for row in table.rows]
            if all(isinstance(value, Estimate | float | int | None) for value in values):
                assert pd.api.types.is_numeric_dtype(frame[column.key]), (table.name, column.key)
                looked_at += 1
    assert looked_at > 40


def test_a_text_that_is_a_formula_has_an_apostrophe_in_csv():
    """Numbers, also negative ones, stay numbers."""
    columns = (Column("name", "Name"), Column("x", "X"))
    rows = [Row({"name": sign + "1+1", "x": -1.5}) for sign in "=+-@"] + [Row({"name": "a=b", "x": 2.0})]
    read = pd.read_csv(StringIO(as_csv(Table("t", "c", columns, rows))))
    assert list(read["name"]) == ["'=1+1", "'+1+1", "'-1+1", "'@1+1", "a=b"]
    assert list(read["x"]) == [-1.5] * 4 + [2.0]


def test_several_tables_are_one_document():
    tables = [a_table(), a_table()]
    assert [table["name"] for table in json.loads(as_document(tables, "json"))] == ["a_table", "a_table"]
    assert len(pd.read_csv(StringIO(as_document(tables, "csv")))) == 3


def test_an_id_in_a_csv_file_is_no_number() -> None:
    """``39786e2451`` is infinity for a program that reads numbers, and ``0012`` loses its zeros."""
    columns = (Column("configuration_id", "Configuration"), Column("x", "X"))
    table = Table("t", "c", columns, [Row({"configuration_id": "39786e2451", "x": 1}, ["0012345678901234", "12e4"])])
    (read,) = pd.read_csv(StringIO(as_csv(table))).to_dict("records")
    assert (read["configuration_id"], read["run_ids"]) == ("c39786e2451", "r0012345678901234 r12e4")
    frame = pd.DataFrame({"run_id": pd.Series(["0012345678901234"], dtype="string")})
    assert list(as_text_cells(frame)["run_id"]) == ["r0012345678901234"]
    assert table.frame()["run_ids"].iloc[0] == "0012345678901234 12e4"
