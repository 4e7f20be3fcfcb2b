"""Charts: runs as points, intervals cut at an axis, misses, heat maps, and momentum at an equal number of tries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from results.figures.charts import text_colour
from results.figures.label_layout import lay_out
from results.figures.registry import make_figures
from results.figures.style import INK
from results.ledger.arrays import SweepData
from search_spaces import Configuration
from tests.results.figure_sweeps import made_up_sweep
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, climb, sweep_of


def drawn(sweep: SweepData, name: str) -> Figure:
    return make_figures(sweep, only=[name])[name]


def notes_of(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def points_of(figure: Figure, size: float = 2.8) -> list[tuple[float, float]]:
    """The small points of runs."""
    return [
        (float(x), float(y))
        for line in figure.axes[0].get_lines()
        if line.get_markersize() == size
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def markers_of(figure: Figure, marker: str) -> list[tuple[float, float]]:
    return [
        (float(x), float(y))
        for line in figure.axes[0].get_lines()
        if line.get_marker() == marker
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def sgd(lr: float, momentum: float = 0, nesterov: bool = False, weight_decay: float = 0) -> Configuration:
    settings = {"lr": lr, "momentum": momentum, "dampening": 0, "nesterov": nesterov, "weight_decay": weight_decay}
    return Configuration("SGD", settings)


@pytest.mark.parametrize(("seeds", "shown"), [(1, False), (2, True), (5, True), (6, False)])
def test_runs_are_points_below_six_seeds(seeds: int, shown: bool) -> None:
    sweep = made_up_sweep(2, seeds)
    figure = drawn(sweep, "final_accuracy")
    expected = sorted(value for group in sweep.configurations for value in group.final) if shown else []
    assert sorted(x for x, _ in points_of(figure)) == pytest.approx(expected)
    assert ("Small points: the runs" in notes_of(figure)) == shown
    assert ("95 % t intervals" in notes_of(figure)) == (seeds > 1)
    figure = drawn(made_up_sweep(3, seeds), "momentum")
    assert len(points_of(figure)) == (3 * seeds if shown else 0)


def test_an_interval_beyond_the_axis_ends_in_an_arrow(tmp_path: Path) -> None:
    """Of 2 and 90 %: 46 ± 559; of 30 and 30.1 %: 30.05 ± 0.64."""
    sweep = sweep_of(tmp_path, {ADAM: [climb(2), climb(90)], PLAIN: [climb(30), climb(30.1)]})
    figure = drawn(replace(sweep, facts=replace(sweep.facts, classes=1000)), "final_accuracy")
    assert markers_of(figure, "<") == [(0, 1)]
    assert markers_of(figure, ">") == [(100, 1)]
    assert figure.axes[0].get_xlim() == (0, 100)
    assert "Arrow at the edge" in notes_of(figure)
    inside = drawn(made_up_sweep(), "final_accuracy")
    assert not markers_of(inside, "<")
    assert "Arrow" not in notes_of(inside)


def test_there_is_no_mean_where_a_run_died(tmp_path: Path) -> None:
    rates = {rate: sgd(rate, 0.9) for rate in (0.01, 0.1)}
    curves = {rates[0.01]: [climb(30), climb(31), climb(32)], rates[0.1]: [climb(33), climb(34), [5.0]]}
    sweep = sweep_of(tmp_path, curves, diverged={(rates[0.1], 2): 1})
    figure = drawn(sweep, "final_accuracy")
    assert sorted(x for x, _ in points_of(figure)) == pytest.approx([30, 31, 32, 33, 34])
    assert [text.get_text() for text in figure.axes[0].texts] == ["◂ 1 of 3 at chance"]
    assert figure.axes[0].get_xlim()[0] > 20
    assert "there is no mean" in notes_of(figure)
    figure = drawn(sweep, "learning_rates")
    (means,) = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o" and line.get_markersize() > 3]
    np.testing.assert_allclose(np.asarray(means.get_ydata(), dtype=float), [31, np.nan])
    assert sorted(y for _, y in points_of(figure)) == pytest.approx([30, 31, 32, 33, 34])
    assert [x for x, _ in markers_of(figure, "x")] == pytest.approx([0.1])


def test_the_number_of_runs_at_chance_does_not_hide_a_run(tmp_path: Path) -> None:
    """The point at 4 % is as near to the left edge as the words."""
    curves = {ADAM: [climb(4), climb(7), [5.0]], PLAIN: [climb(30), climb(31), climb(32)]}
    figure = drawn(sweep_of(tmp_path, curves, diverged={(ADAM, 2): 1}), "final_accuracy")
    lay_out(figure)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    (words,) = axes.texts
    assert words.get_text() == "◂ 1 of 3 at chance"
    box = words.get_window_extent()
    places = axes.transData.transform([point for point in points_of(figure) if point[0] < 10])
    assert len(places) == 2
    radius = 1.4 * figure.dpi / 72
    assert box.x0 < min(x for x, _ in places) < box.x1
    assert all(y + radius < box.y0 for _, y in places)


def test_nothing_is_drawn_where_no_run_reaches_the_target() -> None:
    sweep = replace(made_up_sweep(), given_target=22.0)  # the configurations end at 16 to 19 % of 20 to 23
    figure = drawn(sweep, "epochs_to_target")
    assert not figure.axes[0].get_lines()
    assert [text.get_text() for text in figure.axes[0].texts] == ["not reached in 5 epochs  (0/2)"] * 4
    assert "No run reaches the target" in notes_of(figure)
    assert "triangle" not in notes_of(figure)


def test_a_median_miss_is_at_the_edge_and_all_medians_have_the_same_decimals() -> None:
    """Finals of 16.2 and 16.7 to 18.7 and 19.2 %: the target 16.5 % is a miss of one run of the first."""
    group = made_up_sweep().configurations[0]
    ends = group.final
    sweep = replace(made_up_sweep(), given_target=float(ends.mean()))
    figure = drawn(sweep, "epochs_to_target")
    texts = [text.get_text().split()[0] for text in figure.axes[0].texts]
    assert texts[0] == ">"
    assert len({len(text.partition(".")[2]) for text in texts[1:]}) == 1
    assert len(markers_of(figure, ">")) == 1
    assert "open triangle" in notes_of(figure)


def test_a_heat_map_has_a_unit_a_bar_and_one_decimal() -> None:
    figure = drawn(made_up_sweep(24), "schedulers")
    axes, bar = figure.axes
    assert bar.get_ylabel() == "Final validation accuracy (%)"
    assert figure.axes[1].collections[-1].get_rasterized()  # the page keeps the colours of an image in a dark theme
    first_lines = [text.get_text().splitlines()[0] for text in axes.texts]
    assert len(first_lines) == 20
    assert all(len(number.partition(".")[2]) == 1 for line in first_lines for number in line.split(" ± "))
    finals = [float(line.partition(" ")[0]) for line in first_lines]
    assert bar.get_ylim() == pytest.approx((min(finals), max(finals)), abs=0.1)


def test_a_cell_with_a_dead_run_has_no_colour(tmp_path: Path) -> None:
    step = Configuration("SGD", MOMENTUM.optimizer_params, "StepLR", {"step_size": 3, "gamma": 0.1})
    curves = {MOMENTUM: [climb(30), climb(31)], step: [climb(33), [5.0]]}
    figure = drawn(sweep_of(tmp_path, curves, diverged={(step, 1): 1}), "schedulers")
    texts = {text.get_text().splitlines()[0]: text for text in figure.axes[0].texts}
    assert texts["33.0"].get_text().splitlines()[1] == "1 of 2 trained"
    assert texts["33.0"].get_color() == INK
    assert "Without a colour" in notes_of(figure)
    assert "mean of the others" in notes_of(figure)


def test_the_text_of_a_cell_has_the_contrast_of_wcag() -> None:
    """At least 4.5, by the definition of contrast in WCAG 2.1, on every colour of the map."""

    def luminance(colour: tuple[float, float, float]) -> float:
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
        return float(np.dot([0.2126, 0.7152, 0.0722], parts))

    figure = drawn(made_up_sweep(24), "schedulers")
    cells = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and patch.get_hatch() is None]
    assert len(cells) == len(figure.axes[0].texts) == 20
    for cell, text in zip(cells, figure.axes[0].texts, strict=True):
        light, dark = sorted((luminance(to_rgb(cell.get_facecolor())), luminance(to_rgb(text.get_color()))))[::-1]
        assert (light + 0.05) / (dark + 0.05) >= 4.5
    assert text_colour((1, 1, 0)) != text_colour((0, 0, 0.3))


def test_momentum_compares_equal_numbers_of_tries(tmp_path: Path) -> None:
    """Classical momentum was tried at 0.1 as well, where it is best: this try does not count."""
    finals = {
        sgd(0.01): 10.0, sgd(0.03): 12.0,
        sgd(0.01, 0.9): 20.0, sgd(0.03, 0.9): 21.0, sgd(0.1, 0.9): 40.0,
        sgd(0.01, 0.9, True): 25.0, sgd(0.03, 0.9, True): 24.0,
        sgd(0.01, 0.9, weight_decay=0.1): 50.0,
    }  # fmt: skip
    sweep = sweep_of(tmp_path, {one: [climb(final), climb(final)] for one, final in finals.items()})
    figure = drawn(sweep, "momentum")
    handles, names = figure.axes[0].get_legend_handles_labels()
    lines = {name: [float(y) for y in handle.lines[0].get_ydata()] for name, handle in zip(names, handles, strict=True)}
    assert lines == {"SGD + momentum": pytest.approx([12, 21]), "SGD + Nesterov": pytest.approx([25])}
    assert "the same 2 settings" in notes_of(figure)


def test_points_of_momentum_without_a_common_setting_are_left_out(tmp_path: Path) -> None:
    finals = {sgd(0.01): 10.0, sgd(0.01, 0.9): 20.0, sgd(0.03, 0.9): 25.0, sgd(0.1, 0.9, True): 30.0}
    figure = drawn(sweep_of(tmp_path, {one: [climb(final)] for one, final in finals.items()}), "momentum")
    assert [str(name) for name in figure.axes[0].get_legend_handles_labels()[1]] == ["SGD + momentum"]
    assert "2 of 3 points shown" in notes_of(figure)


def test_the_variants_of_momentum_have_the_colours_of_their_optimizers(tmp_path: Path) -> None:
    curves = {one: [climb(20)] for one in (sgd(0.01), sgd(0.01, 0.9), sgd(0.01, 0.9, True))}
    figures = make_figures(sweep_of(tmp_path, curves), only=["momentum", "validation_accuracy"])
    handles, names = figures["momentum"].axes[0].get_legend_handles_labels()
    colours = {name: handle.lines[0].get_color() for name, handle in zip(names, handles, strict=True)}
    lines = {str(line.get_label()): line.get_color() for line in figures["validation_accuracy"].axes[0].get_lines()}
    assert colours["SGD + momentum"] == lines["SGD lr=0.01 momentum=0.9"] != lines["SGD lr=0.01"]
    assert colours["SGD + Nesterov"] == lines["SGD lr=0.01 momentum=0.9 nesterov"]
