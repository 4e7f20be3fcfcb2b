"""The article: values come from tables, missing parts are named, and every name is escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from results.analyses.gradients import GradientCapture, ewma_meaning, gradient_tables
from results.reports.registry import report_tables
from results.reports.study.article import FIGURES, TABLES, TITLE, article_html, article_markdown
from results.reports.study.claims import CLAIMED_ADAM, claimed_configurations
from results.reports.study.sentences import claims_accuracy, claims_distance
from results.reports.study.tables import claimed_adam_table
from search_spaces import Configuration
from tests.results.articles import FINALS, OPTIMIZERS, STEP, all_figures, an_article, analysis_tables, study_sweep
from tests.results.report_pages import a_sweep

NASTY = (
    """<script>alert("x")</script> | & &lt; $1$ *b* _i_ `c` ~~s~~ [t](http://a.example) ![p](http://b.example/p) \\"""
)


class Page(HTMLParser):
    """Tables, texts, tags and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[str] = []
        self.body = ""
        self._within: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._within = [*self._within, tag]
        self.addresses += [
            value or "" for key, value in attrs if key in ("src", "href", "xlink:href", "data", "action")
        ]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag in ("h1", "h2", "h3"):
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._within:
            self._within = self._within[: len(self._within) - 1 - self._within[::-1].index(tag)]

    def handle_data(self, data: str) -> None:
        if "style" in self._within:
            return
        self.body += data
        if "td" in self._within or "th" in self._within:
            self.tables[-1][-1][-1] += data
        if {"h1", "h2", "h3"} & set(self._within):
            self.headings[-1] += data


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return an_article(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def page(whole) -> Page:
    markdown, _, figures = whole
    return Page(article_html(markdown, figures, TITLE))


def without_study_rows(name: str, text: list[list[str]]) -> list[list[str]]:
    """The convergence, stability and profile of the article leave out what is no claim of the study."""
    return [row for row in text if name not in ("convergence", "stability", "profile") or "StepLR" not in row[0]]


def lines_of_missing(markdown: str) -> list[str]:
    """The titles of missing figures, one text for each place."""
    return re.findall(r"^\*Figures that are not measured yet: (.*)\.\*$", markdown, flags=re.MULTILINE)


def test_every_table_is_in_the_article_cell_by_cell(whole, page):
    _, tables, _ = whole
    shown = [table[1:] for table in page.tables]
    assert {"convergence", "claimed", "adam", "schedulers", "gradient_stages", "lr_range"} <= tables.keys()
    for name, table in tables.items():
        assert without_study_rows(name, table.text()) in shown, name


def test_adams_claims_are_beside_the_cells_of_the_table_adam(whole, page):
    _, tables, _ = whole
    rows = next(table[1:] for table in page.tables if table[0][1] == "Claimed train loss")
    assert [[float(row[i]) for i in (1, 3, 5, 7)] for row in rows] == [list(v.values()) for v in CLAIMED_ADAM.values()]
    measured = {row[1]: row for row in tables["adam"].text()}
    assert [rows[1][i] for i in (2, 4)] == measured["10"][2:4]
    assert [rows[2][i] for i in (2, 4, 6, 8)] == ["n/a"] * 4  # ten epochs have no epoch 25


def test_figures_are_numbered_in_the_order_of_the_text(whole):
    markdown, _, figures = whole
    shown = re.findall(r"!\[Figure (\d+)\]\(figures%20%28all%29/(\w+)\.png\)", markdown)
    assert [int(number) for number, _ in shown] == list(range(1, len(figures) + 1))
    assert {name for _, name in shown} == set(figures)
    for number, name in shown:
        assert f"**Figure {number}.** {name[:1].upper()}{name[1:]}".replace("_", r"\_") in markdown


def test_a_caption_names_the_figure_of_the_study_after_its_text(tmp_path):
    figures = {"adam_loss": replace(all_figures()["adam_loss"], caption="Figure 3 of the study: the loss.")}
    markdown = an_article(tmp_path, figures=figures)[0]
    assert "**Figure 1.** The loss. (Figure 3 of the study.)" in markdown


def test_the_result_is_before_the_theory_and_no_number_names_a_missing_place(whole):
    markdown, _, _ = whole
    headings = re.findall(r"^##+ ([\d.]+) (.*)", markdown, flags=re.MULTILINE)
    titles = [title for _, title in headings]
    assert titles[0] == "Results"
    assert titles.index("The study's claims") < titles.index("The exponentially weighted moving average")
    numbers = [tuple(map(int, number.split("."))) for number, _ in headings]
    assert numbers == sorted(set(numbers))
    for i, number in enumerate(numbers[1:], start=1):  # each is the next one of its level, or the first one below
        assert number[-1] == 1 + (numbers[i - 1][len(number) - 1] if len(numbers[i - 1]) >= len(number) else 0)
    named = re.findall(r"[Ss]ection (\d+(?:\.\d+)?)", markdown)
    assert named
    assert set(named) <= {number for number, _ in headings}
    assert set(re.findall(r"[Tt]able (\d+)", markdown)) == set(re.findall(r"\*\*Table (\d+)\.", markdown))


def test_distances_are_the_claims_minus_the_test_means(tmp_path):
    """Means on test are 10, 30, 29 and 40 against 34.22, 52.18, 54.76 and 58.73."""
    sweep = study_sweep(tmp_path)
    table = report_tables(sweep)["claimed"]
    assert "18.7 to 25.8 pp higher than measured on the test set after 10 epochs" in claims_accuracy(table, sweep)
    each, inside, order, length = claims_distance(table, sweep)
    assert re.findall(r"\((.*?)\)", each) == ["24.2 pp higher", "22.2 pp higher", "25.8 pp higher", "18.7 pp higher"]
    assert "0 of 4" in inside
    assert order.endswith("Adam, SGD + momentum, SGD + Nesterov, SGD.")
    assert "40 more epochs" in length


def test_a_claim_that_holds_is_said_to(tmp_path):
    """Adam measured at 59.6 on average with a wide interval; the order of one is not spoken of."""
    sweep = study_sweep(tmp_path, {OPTIMIZERS[3]: [58, 60, 63]}, epochs=10)
    table = report_tables(sweep)["claimed"]
    assert "0.6 pp lower than measured" in claims_accuracy(table, sweep)
    lines = claims_distance(table, sweep)
    assert "Inside the 95 % interval of the measured mean: 1 of 1 claimed accuracies." in lines
    assert not [line for line in lines if "order" in line]


def test_without_test_results_the_claims_are_compared_with_validation(tmp_path):
    sweep = study_sweep(tmp_path, {OPTIMIZERS[0]: [10], OPTIMIZERS[3]: [40]}, tests=None)
    lines = claims_distance(report_tables(sweep)["claimed"], sweep)
    assert "on the validation split" in lines[0]
    assert "no interval" in lines[1]
    assert "also the order of the measured means" in lines[2]


def test_the_claims_on_gradients_are_compared_with_the_tables(whole):
    markdown, _, _ = whole
    assert "raw 139, adapted 1.8" in markdown  # 0.347/0.0025, 0.893/0.5
    assert "90.2 % and 70.5 %" in markdown
    assert "92.9 %" in markdown


def test_gradients_that_are_not_the_studys_are_compared_with_no_claim(tmp_path):
    tables = analysis_tables()
    stages = tables["gradient_stages"]
    tables["gradient_stages"] = replace(stages, columns=stages.columns[:2])
    assert "conv1.weight" not in an_article(tmp_path, tables=tables)[0]


def test_a_study_without_anything_says_what_is_missing():
    markdown = article_markdown(
        a_sweep("empty", epochs=0, protocol={}, data_name="", synthetic=False, devices=()), {}, {},
        sentences={}, commands=[], versions={},
    )  # fmt: skip
    for name in TABLES.values():
        assert f"*Not measured yet: the table of {name}.*" in markdown
    assert {name for line in lines_of_missing(markdown) for name in line.split("; ")} == set(FIGURES.values())
    assert not re.search(
        r"NaN|nan|None|Undefined|\{\{|\}\}\}|\bTrue\b|\bFalse\b", markdown.replace("B_{\\mathrm{simple}}", "")
    )


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """A study, and every table and figure of its article; `claimed_adam` is made from the table `adam`."""
    sweep = study_sweep(tmp_path_factory.mktemp("pieces"))
    return sweep, {**report_tables(sweep), **analysis_tables()}, all_figures()


@pytest.mark.parametrize("half", [0, 1])
def test_missing_pieces_are_named_and_the_others_are_shown(pieces, half):
    """Every second table and figure is missing: the article names exactly these, and no heading is without a text."""
    sweep, tables, figures = pieces
    missing_tables = set(list(TABLES)[half::2])
    missing_tables -= {"claimed_adam"}
    missing_tables |= {"claimed_adam"} if "adam" in missing_tables else set()
    missing_figures = set(list(FIGURES)[half::2])
    markdown = article_markdown(
        sweep, {name: table for name, table in tables.items() if name not in missing_tables},
        {name: figure for name, figure in figures.items() if name not in missing_figures},
        sentences={}, commands=[], versions={},
    )  # fmt: skip
    assert {name for name, title in TABLES.items() if f"the table of {title}.*" in markdown} == missing_tables
    titles = {FIGURES[name] for name in missing_figures}
    assert {title for line in lines_of_missing(markdown) for title in line.split("; ")} == titles
    blocks = [block for block in markdown.split("\n\n") if block.strip()]
    for block, after in zip(blocks, [*blocks[1:], "# end"], strict=True):
        level, level_after = (len(text) - len(text.lstrip("#")) for text in (block, after))
        assert not level or not level_after or level_after > level, block
    assert not re.search(r"\bNaN\b|\bnan\b|\bNone\b|Undefined|\{\{ |\{%", markdown)


def test_synthetic_data_are_compared_with_no_claim(tmp_path):
    sweep = study_sweep(tmp_path, synthetic=True, data_name="synthetic")
    markdown = article_markdown(sweep, report_tables(sweep), {}, sentences={}, commands=[], versions={})
    assert "The data here is synthetic" in markdown
    assert "They are not CIFAR-100." in markdown
    assert "CIFAR-100 has 50,000" not in markdown
    assert "pp higher" not in markdown


def test_tables_show_the_studys_four_with_a_note(tmp_path):
    markdown = an_article(tmp_path)[0]
    assert "4 of 5 configurations" in markdown
    other = study_sweep(tmp_path / "other", {STEP: FINALS[STEP]})
    alone = article_markdown(other, report_tables(other), {}, sentences={}, commands=[], versions={})
    convergence = next(part for part in alone.split("**Table ") if part[3:].startswith("Convergence"))
    assert "StepLR" in convergence
    assert "Only the study's" not in alone


def test_a_schedules_parameters_are_the_sweeps(page):
    row = next(row for table in page.tables for row in table if row[0] == "StepLR" and len(row) == 4)
    assert row[3] == "s = 3; γ = 0.1"
    assert (
        next(row for table in page.tables for row in table if row[0] == "CosineAnnealingLR")[3] == "not in this sweep"
    )


def test_a_sentence_is_not_repeated(whole):
    assert whole[0].count("The meaning.") == 1


@pytest.mark.parametrize("beta", [0.9, 0.5])
def test_the_meaning_of_gradients_is_not_repeated(beta, tmp_path):
    """The table's note and the sentence are made on their own."""
    gradients = np.random.default_rng(0).normal(size=(20, 4))
    about = {
        "run_id": "r", "label": "Adam", "seed": 0, "data": "cifar100", "synthetic": False, "beta": beta,
        "layer": "conv1.weight", "layer_shape": [2, 2], "batch_size": 8, "configuration": {"optimizer": {"name": "SGD"},
        "scheduler": {"name": "none"}, "warmup": 0}, "noise": {key: {"batch_size": 8, "batches": 4,
        "trace_covariance": 3.0, "mean_square_norm": 2.0} for key in ("layer", "all")},
    }  # fmt: skip
    steps = np.arange(20)
    capture = GradientCapture(gradients, gradients, gradients[0], gradients[:, 0], steps, about)
    tables, meaning = gradient_tables(capture, beta), ewma_meaning(capture, beta)
    assert meaning in tables["gradient_ewma"].notes
    markdown = an_article(tmp_path, tables=tables, sentences={"ewma_meaning": meaning})[0]
    assert markdown.count("Remaining variance of conv1.weight over the steps") == 1
    assert markdown.count("Variance: of each element over the steps") == 1


def test_only_what_section_1_has_is_said_to_be_there(whole):
    """No other table has the performance profile's columns."""
    parts = {part.split(".", 1)[1].lstrip()[:11]: part.split("\n## ")[0] for part in whole[0].split("**Table ")[1:]}
    said = {name for name, part in parts.items() if "Section 1.1 has all of them" in part}
    assert said == {"Convergence", "Stability o"}
    assert sum("Only the study's 4 of 5" in part for part in parts.values()) == 3


def test_one_result_of_several_seeds_is_not_called_one_seed(tmp_path):
    sweep = study_sweep(tmp_path, {OPTIMIZERS[0]: [10]})
    markdown = article_markdown(sweep, report_tables(sweep), {}, sentences={}, commands=[], versions={})
    assert "There is one result per configuration, so the variation over seeds" in markdown
    assert "There is no interval" in markdown
    assert "one seed per" not in markdown.lower()


def test_adams_claims_are_beside_the_adam_of_the_study(tmp_path):
    """Not beside the Adam with another ε that is earlier in the sweep."""
    other = Configuration("Adam", {"lr": 0.001, "betas": [0.9, 0.999], "eps": 1.0})
    ours = Configuration("Adam", {"lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-8})
    sweep = study_sweep(tmp_path, {OPTIMIZERS[0]: [10], other: [30], ours: [40]})
    found = claimed_configurations(sweep)
    assert {name: group.configuration for name, group in found.items()} == {"SGD": OPTIMIZERS[0], "Adam": ours}
    table = claimed_adam_table(sweep, report_tables(sweep)["adam"])
    assert {run_id for row in table.rows for run_id in row.run_ids} == set(found["Adam"].run_ids)
    last = study_sweep(tmp_path / "b", {other: [30], replace(other, optimizer_params={"lr": 0.001, "eps": 0.1}): [40]})
    assert claimed_configurations(last)["Adam"].configuration == other


def test_any_name_stays_text(tmp_path):
    markdown, tables, figures = an_article(tmp_path, NASTY)
    shown = Page(article_html(markdown, figures, TITLE))
    assert not {"script", "img", "a", "del", "iframe"} & set(shown.tags)
    assert all(not address or address.startswith(("#", "data:")) for address in shown.addresses)
    for name in ("lr_range", "activations"):
        assert tables[name].text() in [table[1:] for table in shown.tables]
    assert shown.body.count(NASTY) > 20
    assert shown.body.count("p](http") == shown.body.count("![p](http")


def test_no_control_character_of_a_name_reaches_the_article(tmp_path):
    markdown, _, figures = an_article(tmp_path, "a\u202eb\x07", figures={}, tables={})
    assert not {"\u202e", "\x07"} & {*markdown, *article_html(markdown, figures, TITLE)}
    assert r"\\u202e" in markdown


def test_a_name_makes_no_formula(tmp_path):
    plain, nasty = (an_article(tmp_path / text[:1], text, figures={})[0] for text in ("plain", "costs $x$ or $$y$$"))
    assert article_html(nasty, {}, "").count("<math") == article_html(plain, {}, "").count("<math")


def test_formulas_are_well_formed_mathml(whole):
    """As many as between dollars in the Markdown, without errors."""
    markdown, _, figures = whole
    text = re.sub(r"```.*?```", "", markdown, flags=re.DOTALL)
    blocks = re.findall(r"\$\$(.+?)\$\$", text, flags=re.DOTALL)
    inline = re.findall(r"\$(.+?)\$", re.sub(r"\$\$.+?\$\$", "", text, flags=re.DOTALL))
    found = re.findall(r"<math .*?</math>", article_html(markdown, figures, TITLE), flags=re.DOTALL)
    assert len(found) == len(blocks) + len(inline) > 60
    for formula in found:
        root = ElementTree.fromstring(formula)
        assert root.tag == "{http://www.w3.org/1998/Math/MathML}math"
        assert "\\" not in "".join(root.itertext())
    assert sum('display="block"' in formula for formula in found) == len(blocks)


def test_no_formula_has_a_backslash_that_markdown_takes_away(whole):
    """GitHub reads its Markdown before its formulas."""
    formulas = re.findall(r"\$\$?[^$]+\$\$?", whole[0])
    assert [f for f in formulas if re.search(r"\\[^A-Za-z\s]|\|", f)] == []


def test_the_page_fetches_nothing(whole, page):
    markdown, _, figures = whole
    assert all(not address or address.startswith(("#", "data:")) for address in page.addresses)
    assert page.tags.count("svg") == len(FIGURES) == page.tags.count("figure") == page.tags.count("figcaption")
    assert not {"script", "img", "link"} & set(page.tags) - {"link"}
    assert "url(http" not in article_html(markdown, figures, TITLE)


def test_ids_are_the_pages_only_ones(whole):
    """Figures of one kind have the same ids in their files."""
    markdown, _, figures = whole
    ids = re.findall(r'\bid="([^"]+)"', article_html(markdown, figures, TITLE))
    assert len(ids) == len(set(ids)) > len(FIGURES)


def test_commands_stay_as_they_are_typed(tmp_path):
    command = "sweep run 'a|b' --out \"$HOME\" ```"
    markdown, _, figures = an_article(tmp_path, commands=[command])
    assert f"\n{command}\n" in markdown
    assert command in Page(article_html(markdown, figures, TITLE)).body


def test_the_references_are_those_that_the_text_cites(whole):
    text, _, references = whole[0].partition("## References")
    names = re.findall(r"^- (\w+)[^(]*\((\d{4})\)", references, flags=re.MULTILINE)
    assert len(names) == 12
    for name, year in names:
        assert re.search(rf"{name}\b.{{0,40}}?{year}", text, flags=re.DOTALL) or name == "Holm", name
    assert "Holm" in text


def test_the_title_is_the_windows(whole, tmp_path: Path):
    markdown, _, figures = whole
    assert "<title>a &lt;b&gt; c</title>" in article_html(markdown, figures, "a <b> c")
