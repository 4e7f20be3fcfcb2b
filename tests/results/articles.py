"""An article of a real ledger with hand-made analyses; any text can be used as a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from results.ledger.arrays import SweepData
from results.reports.registry import report_tables
from results.reports.study.article import FIGURES, TABLES, ArticleFigure, article_markdown
from results.tables.table import Column, Row, Table
from search_spaces import Configuration
from tests.results.ledger_sweeps import climb, sweep_of
from tests.results.report_pages import a_figure

SGD = {"lr": 0.01, "momentum": 0, "dampening": 0, "nesterov": False}
STEP = Configuration("SGD", {**SGD, "momentum": 0.9}, "StepLR", {"step_size": 3, "gamma": 0.1})

OPTIMIZERS = (
    Configuration("SGD", SGD),
    Configuration("SGD", {**SGD, "momentum": 0.9}),
    Configuration("SGD", {**SGD, "momentum": 0.9, "nesterov": True}),
    Configuration("Adam", {"lr": 0.001, "betas": [0.9, 0.999]}),
)

FINALS = {
    OPTIMIZERS[0]: [10, 11, 12],
    OPTIMIZERS[1]: [30, 31, 32],
    OPTIMIZERS[2]: [29, 30, 31],
    OPTIMIZERS[3]: [40, 41, 42],
    STEP: [33, 34, 35],
}

ANALYSES = ("equivalent_windows", "gradient_noise", "trajectory", "lr_range", "activations")

MEASURED = {"train_loss": 3.0, "train_acc": 20.0, "val_loss": 2.9, "test_loss": 2.8}


def study_sweep(folder: Path, finals: Mapping[Configuration, list[int]] = FINALS, **facts: Any) -> SweepData:
    """The study's four optimizers and one schedule, three seeds; test accuracies are 1 pp below validation."""
    return sweep_of(
        folder,
        {configuration: [climb(final) for final in members] for configuration, members in finals.items()},
        **({"tests": {c: [final - 1 for final in members] for c, members in finals.items()}} | facts),
        measured=MEASURED,
    )  # fmt: skip


def analysis_tables(text: str = "plain") -> dict[str, Table]:
    """Tables as the analyses make them; `text` is used in a cell and in a note."""
    columns = (Column("what", "What"), Column("number", "Number", decimals=3))
    simple = {
        name: Table(name, f"Caption of {name}", columns, [Row({"what": text, "number": 0.125 + i})], [text])
        for i, name in enumerate(ANALYSES)
    }
    stages = (
        Column("gradients", "Stage"), Column("variance", "Variance", decimals=4),
        Column("claimed_variance", "Claimed variance", decimals=3),
    )  # fmt: skip
    smoothed = (
        Column("gradients", "Gradients"), Column("cut", "Cut", "%", 1), Column("peak_cut", "Peak cut", "%", 1),
        Column("white_noise", "of white noise", "%"),
    )  # fmt: skip
    return simple | {
        "gradient_stages": Table(
            "gradient_stages", "Stages", stages,
            [
                Row({"gradients": "raw", "variance": 0.0025, "claimed_variance": 0.347}),
                Row({"gradients": "adapted", "variance": 0.5, "claimed_variance": 0.893}),
            ],
        ),
        "gradient_ewma": Table(
            "gradient_ewma", "EWMA", smoothed,
            [Row({"gradients": "EWMA β = 0.9", "cut": 90.25, "peak_cut": 70.5, "white_noise": 7.1})],
            ["a note", "The meaning."],
        ),
    }  # fmt: skip


def all_figures(text: str = "plain") -> dict[str, ArticleFigure]:
    """Every figure of the article, in a file whose name needs escaping."""
    drawn = a_figure("any", text)
    return {name: ArticleFigure(name, f"{name} {text}", drawn.svg, f"figures (all)/{name}.png") for name in FIGURES}


def an_article(
    folder: Path, text: str = "plain", *, tables: Mapping[str, Table] | None = None, **changes: Any
) -> tuple[str, dict[str, Table], dict[str, ArticleFigure]]:
    """A whole article, with the tables and figures that it was given; `text` is used for every name."""
    sweep = replace(study_sweep(folder), name=text, data_name=text, devices=(text,), versions=({text: text},))
    given = {**report_tables(sweep), **analysis_tables(text)} if tables is None else dict(tables)
    figures: dict[str, ArticleFigure] = changes.pop("figures") if "figures" in changes else all_figures(text)
    facts: dict[str, Any] = {
        "sentences": {"answer": text, "ewma_meaning": "The meaning."}, "commands": [text, "sweep study"],
        "versions": {text: text},
    }  # fmt: skip
    markdown = article_markdown(sweep, given, figures, **(facts | changes))
    return markdown, {name: table for name, table in given.items() if name in TABLES}, figures
