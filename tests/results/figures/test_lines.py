"""Lines of figures: colour and dash of a configuration, names of the best, and runs in place of a mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from results.figures.configuration_styles import sweep_styles
from results.figures.curves import THICK, THIN, Series, draw_named_lines
from results.figures.registry import FIGURES, make_figures
from results.figures.selection import select_lines
from results.figures.style import FAINT, LINESTYLES, PALETTE, Style
from results.ledger.arrays import SweepData
from search_spaces import Configuration
from tests.results.figure_sweeps import CROWDED, crowded_figures, made_up_sweep

OF_LINES = ("validation_loss", "validation_accuracy", "training_loss", "train_and_test", "learning_rate", "profile")
SOME_DIED = made_up_sweep(3, 3, 6)


def with_a_dead_run(sweep: SweepData, place: int, run: int) -> SweepData:
    """The sweep, in which a run of one configuration is diverged from epoch 3 on."""
    groups = list(sweep.configurations)
    epochs = np.full(len(groups[place].run_ids), np.nan)
    epochs[run] = 3
    statuses = tuple("diverged" if one == run else "done" for one in range(len(epochs)))
    groups[place] = replace(groups[place], diverged_epochs=epochs, statuses=statuses)
    return replace(sweep, configurations=tuple(groups))


def lines_of(figure: Figure, name: str) -> list[Line2D]:
    return [line for line in figure.axes[0].get_lines() if line.get_label() == name]


def test_the_colour_is_the_optimizer_and_the_dash_the_scheduler() -> None:
    styles = sweep_styles(CROWDED)
    colours: dict[str, set[str]] = {}
    dashes: dict[str, set[str]] = {}
    for group in CROWDED.configurations:
        momentum = " + momentum" if group.columns.get("optimizer.momentum") else ""
        colours.setdefault(f"{group.columns['optimizer']}{momentum}", set()).add(styles[group.label].color)
        dashes.setdefault(group.columns["scheduler"], set()).add(str(styles[group.label].linestyle))
    schedulers = ["none", "CosineAnnealingLR", "StepLR", "ExponentialLR", "LinearLR"]
    for found, expected in ((colours, ["SGD", "SGD + momentum", "Adam"]), (dashes, schedulers)):
        assert list(found) == expected
        assert all(len(one) == 1 for one in found.values())
        assert len(set.union(*found.values())) == len(expected)
    assert dashes["none"] == {LINESTYLES[0]}


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in ("tuning_curves", "evaluation")])
def test_every_figure_has_the_style_of_the_sweep(name: str) -> None:
    styles = sweep_styles(CROWDED)
    for line in crowded_figures()[name].axes[0].get_lines():
        if (style := styles.get(str(line.get_label()))) is not None:
            assert line.get_color() == style.color
            if len(line.get_xdata()) > 1:
                assert line.get_linestyle() == ("-" if style.linestyle == "-" else "--")


def test_more_optimizers_than_colours_leave_the_best_their_own() -> None:
    made = made_up_sweep(12)
    groups = tuple(
        replace(group, configuration=Configuration(f"Optimizer{i}", {"lr": 0.1}), label=f"Optimizer{i}")
        for i, group in enumerate(made.configurations)
    )
    styles = sweep_styles(replace(made, configurations=groups))
    assert len({styles[f"Optimizer{i}"].color for i in range(6, 12)}) == 6
    assert len({(style.color, style.marker) for style in styles.values()}) == 12


def test_the_palette_is_safe_for_colour_blind_readers() -> None:
    """Okabe and Ito's colours, by their published RGB values (yellow is not used, and black is that of the text)."""
    published = [(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0)]
    assert [tuple(round(255 * part) for part in to_rgb(colour)) for colour in PALETTE[:-1]] == published


@pytest.mark.parametrize("name", OF_LINES)
def test_past_six_the_best_have_a_name_and_the_others_are_thin_and_grey(name: str) -> None:
    figure = crowded_figures()[name]
    finals = {group.label: group.final.mean() for group in CROWDED.configurations}
    best = sorted(finals, key=lambda label: -finals[label])[:6]
    (axes,) = figure.axes
    figure.draw_without_rendering()
    labels = {text.get_text(): text for text in axes.texts}
    assert set(labels) == set(best)
    assert not figure.legends
    right = axes.get_window_extent().x1
    assert all(text.get_window_extent().x0 > right for text in labels.values())
    others = [line for line in axes.get_lines() if line.get_label() not in best]
    assert len(others) == 18 * (2 if name == "train_and_test" else 1)
    assert {(line.get_color(), line.get_linewidth()) for line in others} == {(FAINT, 0.5)}
    assert "In colour: the best 6 of 24" in " ".join(text.get_text() for text in figure.texts)


def test_the_grey_runs_of_a_configuration_are_one_artist_with_gaps() -> None:
    """A line from the end of a run to the begin of the next one would be no measurement."""
    runs = [Series("Adam", True, False, {"epoch": [1.0, 2.0], "value": values}) for values in ([3.0, 4.0], [5.0, 6.0])]
    axes = Figure().add_subplot()
    assert draw_named_lines(axes, runs, {"Adam": Style("red", "-", "o")}, "epoch", "value") == {}
    (line,) = axes.get_lines()
    assert line.get_xydata() == pytest.approx(np.array([[1, 3], [2, 4], [np.nan, np.nan], [1, 5], [2, 6]]), nan_ok=True)


def test_six_lines_are_all_named_and_no_more_than_the_limit_are_drawn() -> None:
    assert select_lines(made_up_sweep(6)).best == {group.label for group in made_up_sweep(6).configurations}
    few = select_lines(CROWDED, named=2, most=5)
    assert len(few.best) == 2
    assert [group.label for group in few.configurations] == [
        group.label for group in sorted(CROWDED.configurations, key=lambda one: -one.final.mean())[:5]
    ][::-1]
    assert "5 of 24 configurations shown" in " ".join(few.notes)


def test_lines_of_one_colour_and_dash_have_markers() -> None:
    figure = crowded_figures()["validation_accuracy"]
    named = [line for line in figure.axes[0].get_lines() if line.get_color() != FAINT]
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in named]
    assert len(set(looks)) == len(looks) == 6


def test_training_is_thin_and_held_out_is_thick_in_the_style_of_the_configuration() -> None:
    sweep = made_up_sweep(2)
    figure = make_figures(sweep, only=["train_and_test"])["train_and_test"]
    for group in sweep.configurations:
        train, held_out = lines_of(figure, group.label)
        assert (train.get_linewidth(), held_out.get_linewidth()) == (THIN, THICK)
        assert train.get_linestyle() == held_out.get_linestyle()
        assert train.get_ydata() == pytest.approx(group.curves["train_acc"].mean(axis=0))
        assert held_out.get_ydata() == pytest.approx(group.curves["val_acc"].mean(axis=0))


@pytest.mark.parametrize("name", ["validation_accuracy", "training_loss", "train_and_test"])
def test_runs_are_drawn_in_place_of_a_mean_where_one_of_them_died(name: str) -> None:
    sweep = with_a_dead_run(SOME_DIED, 1, 2)
    figure = make_figures(sweep, only=[name])[name]
    whole, died, _ = sweep.configurations
    quantity, chance = {"validation_accuracy": ("val_acc", 1.0), "training_loss": ("train_loss", np.nan)}.get(
        name, ("train_acc", 1.0)
    )
    expected = died.curves[quantity].copy()
    expected[2, 2:] = chance
    drawn = np.array([line.get_ydata() for line in lines_of(figure, died.label)][:3])
    np.testing.assert_allclose(drawn, expected)
    assert lines_of(figure, whole.label)[0].get_ydata() == pytest.approx(whole.curves[quantity].mean(axis=0))
    bands = [one for one in figure.axes[0].collections if isinstance(one, PolyCollection)]
    assert len(bands) == (0 if name == "train_and_test" else 2)
    assert "each run is a line" in " ".join(text.get_text() for text in figure.texts)
    assert [text.get_text() for text in figure.axes[0].texts].count(died.label) == 1
