"""What the figures show: their lines, names and notes; no text overlaps another."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.optimize import lsq_linear

from results.figures.chart_data import best_lr_families
from results.figures.label_layout import spread_apart
from results.figures.registry import FIGURES, make_figures, save_figures, write_figures
from results.figures.style import drawing_style
from results.tables.learning_rates import learning_rates_table
from search_spaces import Configuration
from search_spaces.errors import UnknownNameError
from tests.results.figure_sweeps import CROWDED, crowded_figures, made_up_sweep
from tests.results.ledger_sweeps import climb, sweep_of

SWEEPS = {
    "plain": made_up_sweep(),
    "one epoch": made_up_sweep(epochs=1),
    "one seed": made_up_sweep(seeds=1),
    "one configuration": made_up_sweep(configurations=1),
    "one of everything": made_up_sweep(configurations=1, seeds=1, epochs=1),
    "all diverged": made_up_sweep(diverged=range(4)),
    "some diverged": made_up_sweep(diverged={1}),
    "six": made_up_sweep(6),
    "crowded": CROWDED,
}


@cache
def figures_of(kind: str) -> dict[str, Figure]:
    """The figures of a sweep, drawn once for all tests that only read them."""
    return crowded_figures() if kind == "crowded" else make_figures(SWEEPS[kind])


def texts_of(figure: Figure) -> list[Text]:
    """Every text that is drawn."""
    figure.draw_without_rendering()
    off_axis = set()
    for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not low <= tick.get_loc() <= high:
                off_axis |= {tick.label1, tick.label2}
    return [
        text
        for text in figure.findobj(Text)
        if isinstance(text, Text) and text.get_visible() and text.get_text().strip() and text not in off_axis
    ]


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in ("crowded", "plain") else pytest.mark.slow) for kind in SWEEPS]
)
def test_no_text_overlaps_another_or_is_cut_off(kind: str):
    for name, figure in figures_of(kind).items():
        boxes = [(text.get_text(), Text.get_window_extent(text)) for text in texts_of(figure)]
        for (a, first), (b, second) in itertools.combinations(boxes, 2):
            overlap = matplotlib.transforms.Bbox.intersection(first, second)
            touching = overlap is not None and min(overlap.width, overlap.height) > 1
            assert not touching, f"{name}: {a!r} overlaps {b!r}"
        for text, box in boxes:
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
            assert inside, f"{name}: {text!r} is cut off"


def test_every_sweep_draws_what_it_has():
    names = {kind: set(figures_of(kind)) for kind in SWEEPS}
    assert names["crowded"] == set(FIGURES) - {"tuning_curves", "evaluation"}
    assert {"validation_accuracy", "final_accuracy"} <= names["one of everything"]
    assert "validation_loss" not in names["all diverged"]
    assert "validation_accuracy" in names["all diverged"]
    assert "stability_and_accuracy" not in names["one seed"]


def test_a_line_shows_the_mean_of_its_configuration():
    sweep = SWEEPS["plain"]
    (axes,) = figures_of("plain")["validation_accuracy"].axes
    assert [line.get_label() for line in axes.get_lines()] == [group.label for group in sweep.configurations]
    expected = sweep.configurations[2].curves["val_acc"].mean(axis=0)
    assert axes.get_lines()[2].get_ydata() == pytest.approx(expected)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Epoch", "Validation accuracy (%)")


@pytest.mark.parametrize("length", [59, 150])
@pytest.mark.parametrize("configurations", [2, 12])
def test_a_long_label_stays_within_the_figure(configurations: int, length: int) -> None:
    """Beside the axes, at the end of a line, and in a legend; the axes keep a third of the width."""
    made = made_up_sweep(configurations, 3, 8)
    labels = [(f"{group.label} " + "setting=0.5 " * 20)[:length].strip() for group in made.configurations]
    groups = (replace(group, label=label) for group, label in zip(made.configurations, labels, strict=True))
    for name, figure in make_figures(replace(made, configurations=tuple(groups))).items():
        with drawing_style():
            figure.draw_without_rendering()
        labelled = [
            text.get_window_extent()
            for text in figure.findobj(lambda artist: isinstance(artist, Text) and "setting=" in artist.get_text())
        ]
        assert all(figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1 for box in labelled), name
        assert all(figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1 for box in labelled), name
        assert figure.axes[0].get_window_extent().width > figure.bbox.width / 3, name


@pytest.mark.slow
def test_the_same_data_gives_the_same_bytes(tmp_path: Path):
    first = save_figures(SWEEPS["plain"], tmp_path / "a")
    second = save_figures(SWEEPS["plain"], tmp_path / "b")
    assert [path.name for path in first] == [path.name for path in second]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, second, strict=True))
    assert {path.name for path in (tmp_path / "a").iterdir()} == {path.name for path in first}


def test_an_unknown_format_is_named_before_anything_is_written(tmp_path: Path):
    with pytest.raises(UnknownNameError, match="gif"):
        save_figures(SWEEPS["plain"], tmp_path / "figures", ["gif"])
    assert not (tmp_path / "figures").exists()


def test_drawing_leaves_matplotlibs_settings_alone():
    before = dict(matplotlib.rcParams)
    make_figures(SWEEPS["one of everything"])
    assert dict(matplotlib.rcParams) == before


def test_names_are_moved_apart_in_their_order():
    assert spread_apart([0.5, 0.5, 0.1], 0.2) == pytest.approx([0.4, 0.6, 0.1])
    assert spread_apart([1.0, 1.0], 0.1) == pytest.approx([0.9, 1.0])
    assert spread_apart([], 0.1) == []


@pytest.mark.parametrize("seed", range(5))
def test_moved_names_have_the_nearest_places_with_a_gap_between_them(seed):
    """Against bounded least squares over the lowest place and the distances between neighbours."""
    wanted, gap = np.sort(np.random.default_rng(seed).uniform(0.45, 0.55, 8)), 0.02
    lower = [-np.inf, *[gap] * 7]
    solved = lsq_linear(np.tril(np.ones((8, 8))), wanted, bounds=(lower, np.inf), tol=1e-15)
    np.testing.assert_allclose(spread_apart(list(wanted), gap), np.cumsum(solved.x), atol=1e-9)


@pytest.mark.parametrize(
    ("rates", "shown"),
    [
        ([0, 0.1], 1),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (([0, 1e-3, 1e-2], 2), ([0], 0), ([5e-324, 0.1, 1e300], 1))
        ),
    ],
)
def test_a_rate_that_a_logarithmic_axis_does_not_have_is_left_out_with_a_note(tmp_path, rates, shown):
    """Also where a schedule reaches it in every epoch."""
    curves = {Configuration("SGD", {"lr": rate, "momentum": 0}): [climb(30), climb(31)] for rate in rates}
    sweep = sweep_of(tmp_path, curves, measured={"lr": 0.0, "lr_first": 0.0, "lr_last": 0.0})
    figures = make_figures(sweep)
    write_figures(figures, tmp_path / "figures", ["png"])
    table = best_lr_families(learning_rates_table(sweep))
    assert (len(table.rows) if table else 0) == shown
    if table:
        assert any("such as 0" in note for note in table.notes)
