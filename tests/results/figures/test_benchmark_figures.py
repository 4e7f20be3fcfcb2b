"""The figures of a benchmark and of a confirmation show each run and each curve of the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from results.figures.registry import make_figures
from results.ledger.arrays import SweepData
from results.reports.registry import report_tables
from tests.results.ledger_sweeps import ADAM, MOMENTUM, TunedMethod, benchmark_of, climb, sweep_of

NAMES = ("tuning_curves", "evaluation")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepData:
    a = TunedMethod([[[30.0], [31.0], [33.0], [32.0]]], [[33.0, 33.4, 33.2]], [31.0, 31.2])
    b = TunedMethod([[[28.0], [34.0], [20.0], [21.0]]], [[34.0, 1.0, 34.3]], [5.0, 5.2])
    return benchmark_of(tmp_path_factory.mktemp("sweep"), {"a": a, "b": b})


@pytest.fixture(scope="module")
def figures(sweep: SweepData) -> dict[str, Figure]:
    return make_figures(sweep, only=NAMES)


def test_a_benchmark_has_both_figures(figures: dict[str, Figure]) -> None:
    assert tuple(figures) == NAMES
    for figure in figures.values():
        figure.draw_without_rendering()


def test_the_curves_are_those_of_the_table(figures: dict[str, Figure], sweep: SweepData) -> None:
    """Best of 3 of 30, 31, 32, 33: 32.75; of 20, 21, 28, 34: 32.5. Best of all 4: 33 and 34."""
    rows = report_tables(sweep)["tuning_curve"].rows
    lines = {str(line.get_label()): list(line.get_ydata()) for line in figures["tuning_curves"].axes[0].get_lines()}
    for name in ("a", "b"):
        assert lines[name] == [row.values["expected_best"] for row in rows if row.values["method"] == name]
    text = "\n".join(text.get_text() for text in figures["tuning_curves"].texts)
    assert "b passes a at 4 points" in text
    assert "no upper limit" in text


def test_every_run_that_trained_is_a_point_and_the_others_are_counted(figures: dict[str, Figure]) -> None:
    axes = figures["evaluation"].axes[0]
    drawn = sorted(
        tuple(sorted(map(float, line.get_xdata()))) for line in axes.get_lines() if len(line.get_xdata()) > 1
    )
    assert (33.0, 33.2, 33.4) in drawn
    assert (34.0, 34.3) in drawn
    words = [text.get_text() for text in axes.texts]
    assert any("1 of 3 at chance" in word and "untuned 5.1" in word for word in words)
    assert axes.get_xlim()[0] > 25  # the collapsed run does not compress the others


def test_a_confirmation_shows_every_seed_and_a_plain_sweep_does_not(tmp_path: Path) -> None:
    plain = sweep_of(tmp_path, {ADAM: [climb(30), climb(31)], MOMENTUM: [climb(32), climb(33)]})
    confirmed = replace(plain, reference_id=ADAM.configuration_id)
    assert make_figures(plain, only=NAMES) == {}
    axes = make_figures(confirmed, only=NAMES)["evaluation"].axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        group.label for group in sorted(confirmed.counted, key=lambda group: float(group.final.mean()))
    ]
