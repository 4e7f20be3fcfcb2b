"""Chance, the targets and the words of a sweep follow the number of its classes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from results.analyses.lr_range import RangeTest
from results.ledger.data_facts import DataFacts
from results.ledger.frames import runs_frame
from results.ledger.ledger import Ledger
from results.metrics.lr_range import divergence_point, smooth_loss
from results.metrics.stability import at_chance, chance_limit
from results.reports.registry import report_tables
from results.reports.report import sweep_facts
from results.reports.study.article import article_markdown
from results.reports.summary import answer
from tests.results.articles import study_sweep
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, climb, sweep_of

TEN = DataFacts("CIFAR-10", 10, 400, 800)


def test_a_diverged_run_counts_as_chance_of_its_data(tmp_path: Path) -> None:
    """10 % for ten classes, in arrays and frames; 12 % is then at chance, and not for 100 classes."""
    curves = {ADAM: [climb(60), climb(62)], MOMENTUM: [climb(50), [30.0, 30.0]], PLAIN: [climb(12), climb(61)]}
    facts = {"diverged": {(MOMENTUM, 1): 3}}
    sweep = sweep_of(tmp_path / "ten", curves, about=TEN, **facts)
    momentum, plain = (
        next(group for group in sweep.configurations if group.configuration == one) for one in (MOMENTUM, PLAIN)
    )
    assert momentum.final.tolist() == [50, 10]
    assert momentum.accuracy()[1].tolist() == [30, 30, *[10] * 8]
    assert plain.trained.tolist() == [False, True]
    with Ledger.open_read_only(tmp_path / "ten" / "ledger.sqlite") as ledger:
        lost = runs_frame(ledger).query("status == 'diverged'")
    assert lost["final_val_acc"].tolist() == [10]
    usual = sweep_of(tmp_path / "hundred", curves, **facts)
    assert [group.final.tolist() for group in usual.configurations][1] == [50, 1]
    assert all(group.trained.all() for group in usual.configurations if group.configuration == PLAIN)


def test_there_is_no_best_where_nothing_learned(tmp_path: Path) -> None:
    """19 % is below twice chance of ten classes, and the sentence says the limit."""
    sweep = sweep_of(tmp_path, {ADAM: [climb(19), climb(18)], PLAIN: [climb(15), climb(16)]}, about=TEN)
    assert sweep.best is None
    assert math.isnan(sweep.target)
    assert "below 20 %" in answer(sweep)[0]


@pytest.mark.parametrize(("classes", "limit"), [(1000, 0.2), (100, 2), (20, 10), (10, 20), (5, 260 / 9), (2, 500 / 9)])
def test_the_limit_of_chance_is_below_100_for_few_classes(classes: int, limit: float) -> None:
    """Twice chance for ten classes and more; for two classes it would be 100 %."""
    assert chance_limit(classes) == pytest.approx(limit, rel=1e-12)
    assert at_chance(np.array([limit - 0.01, limit]), classes).tolist() == [True, False]
    assert chance_limit() == 2.0


def test_the_note_on_chance_differences_has_the_sizes_of_the_splits(tmp_path: Path) -> None:
    """√(p(1 − p)/n) of 50 % on 400 and 800 images: 2.50 and 1.77 pp."""
    sweep = sweep_of(tmp_path, {ADAM: [climb(50), climb(50)], PLAIN: [climb(30), climb(30)]}, about=TEN)
    notes = " ".join(note for table in report_tables(sweep).values() for note in table.notes)
    assert "2.50 pp on 400 validation images and 1.77 pp on 800 test images" in notes


def test_the_report_names_other_data_and_their_classes(tmp_path: Path) -> None:
    """By their name, not by the path of their folder; so do the tables and the title of `sweep show`."""
    curves = {ADAM: [climb(60)]}
    sweeps = [
        sweep_of(tmp_path / str(i), curves, data_name=name, **facts)
        for i, (name, facts) in enumerate(
            (("/data/mine", {"about": TEN}), ("/data/mine", {}), ("synthetic", {"synthetic": True}))
        )
    ]
    assert [sweep_facts(sweep)["Data"] for sweep in sweeps] == [
        "CIFAR-10, 10 classes", "CIFAR-100", "synthetic images",
    ]  # fmt: skip
    labels = ["CIFAR-10", "CIFAR-100", "synthetic (made from a seed)"]
    assert [sweep.data_label for sweep in sweeps] == labels
    assert [{table.data for table in report_tables(sweep).values()} for sweep in sweeps] == [{one} for one in labels]


def test_an_article_on_other_data_does_not_call_them_cifar_100(tmp_path: Path) -> None:
    """Nor does it compare them with the study's numbers."""
    sweep = study_sweep(tmp_path, about=TEN, data_name="/data/mine")
    text = article_markdown(sweep, report_tables(sweep), {}, sentences={"answer": "A."}, commands=[], versions={})
    assert "CIFAR-10 has 10 classes" in text
    assert "84 → 10 with" in text
    assert "$\\ln(10) \\approx 2.303$" in text
    said = [line for line in text.splitlines() if "CIFAR-100" in line]
    assert all("normalised" in line or "The study that is repeated" in line for line in said)
    assert "claimed" not in report_tables(sweep)


def test_a_range_test_diverges_at_the_loss_of_its_classes() -> None:
    """Above ln 10 = 2.303 again after a fall of 3 %, and never near ln 100 = 4.6."""
    loss = np.full(120, 2.302)
    loss[40:80], loss[80:] = 2.235, 2.33
    lr = np.geomspace(1e-5, 1, 120)
    tests = [RangeTest("SGD", lr, loss, lr, {"classes": classes} if classes else {}) for classes in (10, None)]
    assert [test.chance for test in tests] == [math.log(10), math.log(100)]
    ten, hundred = (divergence_point(lr, smooth_loss(loss), test.chance) for test in tests)
    assert ten is not None
    assert hundred is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[" * 100_000,
        "3",
        '{"classes": 1e9}',
        '{"classes": -1, "title": 3}',
        '{"classes": true}',
    ],
)
def test_facts_that_are_damaged_are_the_defaults(text: str) -> None:
    """A ledger may come from another person."""
    assert DataFacts.from_json(text) == DataFacts()
    assert DataFacts.from_json(TEN.to_json()) == TEN
