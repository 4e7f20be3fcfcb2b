"""Every table and every figure of a sweep, from nothing at all to one that diverged."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.figures.configuration_styles import sweep_styles
from results.figures.registry import FIGURES, draw_figure, make_figures
from results.ledger.arrays import SweepData
from results.reports.lead import sweep_lead
from results.reports.registry import REPORT_TABLES, report_tables
from results.reports.report import ReportTexts, report_html
from results.reports.study.figures import study_figures
from results.reports.summary import answer
from results.tables.formats import TEXT_WRITERS
from results.tables.registry import TABLES
from search_spaces import Configuration
from tests.results.hand_worked import replace_lr
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, climb, sweep_of

COSINE = Configuration("SGD", MOMENTUM.optimizer_params, "CosineAnnealingLR", {"T_max": 10})
ALL = (MOMENTUM, *(replace_lr(MOMENTUM, rate) for rate in (0.003, 0.03, 0.1)), COSINE, PLAIN, ADAM)
LOST = {(configuration, seed): 1 + seed for configuration in ALL for seed in (0, 1)}
STATES = {
    "nothing yet": ({configuration: [[], []] for configuration in ALL}, {}),
    **{
        f"no result of {index}": (
            {one: [[], []] if one is missing else [climb(30), climb(31)] for one in ALL}, {"failed": {(missing, 0)}},
        )
        for index, missing in enumerate(ALL)
    },
    "one run": ({ADAM: [climb(30)]}, {}),
    "all diverged": ({configuration: [[5.0], [5.0]] for configuration in ALL}, {"diverged": LOST}),
    "one epoch": ({configuration: [[9.0], [8.0]] for configuration in ALL}, {"epochs": 1}),
}  # fmt: skip


def _slow(state: str) -> bool:
    """Whether another state shows the same: SGD without its first rate, without a schedule, and Adam are left."""
    return state.startswith("no result of") and state.split()[-1] not in ("0", "4", "6")


@pytest.fixture(
    scope="module", params=[pytest.param(one, marks=[pytest.mark.slow] if _slow(one) else []) for one in STATES]
)
def sweep(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SweepData:
    curves, facts = STATES[request.param]
    return sweep_of(tmp_path_factory.mktemp("sweep"), curves, **facts)


@pytest.mark.parametrize("name", REPORT_TABLES)
def test_every_table_is_made_and_rendered(sweep: SweepData, name: str) -> None:
    table = REPORT_TABLES[name](sweep)
    if table is not None:
        assert all(render(table) for render in TEXT_WRITERS.values())


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn(sweep: SweepData, name: str) -> None:
    table = FIGURES[name].table(sweep, lambda other: TABLES[other](sweep))
    if table is not None and table.rows:
        figure = draw_figure(FIGURES[name], table, sweep_styles(sweep), sweep)
        assert figure.get_axes()
        figure.draw_without_rendering()


def test_the_study_figures_the_page_and_the_answer_are_made(sweep: SweepData) -> None:
    study_figures(sweep)
    assert all(answer(sweep))
    assert "<html" in report_html(sweep, report_tables(sweep), {}, ReportTexts(lead=sweep_lead(sweep)))


def test_text_of_a_spec_is_drawn_as_it_is(tmp_path: Path) -> None:
    """Dollars are not a formula, control characters are escapes, and the SVG is XML."""
    import io
    from xml.etree import ElementTree

    odd = Configuration("SGD", {"lr": 0.1, "note": "$x^$ \x1b[1m </svg> <!-- -- \u202e"})
    other = Configuration("SGD", {"lr": 0.1, "note": "=1+1"})
    sweep = sweep_of(tmp_path, {odd: [climb(30)], other: [climb(31)]})
    assert "\\x1b" in sweep.configurations[0].label
    assert "\\u202e" in sweep.configurations[0].label
    for figure in make_figures(sweep).values():
        file = io.StringIO()
        figure.savefig(file, format="svg")
        ElementTree.fromstring(file.getvalue())
