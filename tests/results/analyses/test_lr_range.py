"""What a range test suggests, on curves with a known answer; its table and its figure."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from results.analyses.file_format import write_analysis
from results.analyses.lr_range import (
    RANGE_CAPTIONS,
    RangeTest,
    range_curves,
    range_figures,
    range_styles,
    range_table,
    read_range_test,
)
from results.figures.style import FAINT
from results.metrics.lr_range import batch_noise_sd, divergence_point, smooth_loss, suggest_steepest, suggest_tenth
from search_spaces.errors import LedgerError

LR = np.geomspace(1e-6, 10, 141)  # 20 steps a decade


def valley(falls_at: float = 1e-3, bursts_at: float = 0.1, depth: float = 1.0, start: float = 4.6) -> np.ndarray:
    """A logistic fall in log10 of the rate, and a steep rise."""
    fall = depth / (1 + (falls_at / LR) ** 3)
    return start - fall + np.where(bursts_at < LR, 50 * np.log10(LR / bursts_at), 0.0)


def made_test(loss: np.ndarray, label: str = "SGD lr=0.01", **about: Any) -> RangeTest:
    facts = {"kind": "lr-range", "run_id": "a" * 16, "label": label, "data": "cifar100", "synthetic": False,
             "configuration": {"optimizer": {"name": "SGD", "lr": 0.01}}, **about}  # fmt: skip
    return RangeTest(label, LR, loss, np.where(np.isfinite(loss), LR * 3, np.nan), facts)


@pytest.mark.parametrize("beta", [0.5, 0.9])
def test_smoothing_is_a_weighted_mean_of_the_finite_losses_so_far(beta: float) -> None:
    loss = np.random.default_rng(0).normal(4.6, 0.1, 50)
    loss[[0, 7, 8, 49]] = math.nan, math.inf, -math.inf, math.nan
    found = smooth_loss(loss, beta)
    for t in range(50):
        known = loss[: t + 1][np.isfinite(loss[: t + 1])]
        weights = beta ** np.arange(len(known))[::-1]
        expected = np.average(known, weights=weights) if math.isfinite(loss[t]) else math.nan
        assert found[t] == pytest.approx(expected, abs=1e-13, nan_ok=True)


def test_smoothing_leaves_out_what_is_not_finite() -> None:
    """By hand: (2/4 + 4/2) / (1 - 1/4)."""
    np.testing.assert_allclose(smooth_loss(np.array([2.0, math.inf, 4.0]), 0.5), [2, math.nan, 10 / 3])


def test_the_steepest_fall_of_a_logistic_is_its_middle() -> None:
    found = suggest_steepest(LR, valley(falls_at=1e-3))
    assert found == pytest.approx(1e-3, rel=0.07)  # a step is a factor of 1.12


def test_the_steepest_fall_lies_before_the_lowest_point() -> None:
    """A second, steeper decrease after the divergence does not count."""
    loss = valley(falls_at=1e-4, bursts_at=0.01)
    loss[LR > 1] = 0.0
    assert suggest_steepest(LR, loss) == pytest.approx(1e-4, rel=0.07)


def test_the_first_tenth_of_the_steps_does_not_count() -> None:
    """A first batch that happens to be hard makes the steepest slope of all."""
    loss = valley(falls_at=1e-2, bursts_at=1.0)
    loss[0] += 3
    assert suggest_steepest(LR, loss) == pytest.approx(1e-2, rel=0.07)


def test_a_divergence_is_found_at_its_start_and_a_tenth_of_it_is_suggested() -> None:
    loss = valley(bursts_at=0.1)
    first = LR[LR > 0.1][0]
    assert divergence_point(LR, loss) == pytest.approx(first)
    assert suggest_tenth(LR, loss) == pytest.approx(first / 10)


def test_a_loss_that_is_not_finite_is_a_divergence() -> None:
    loss = valley(bursts_at=100)
    loss[100:] = np.nan
    assert divergence_point(LR, loss) == LR[100]
    assert suggest_tenth(LR, loss) == pytest.approx(LR[100] / 10)


def test_a_dead_network_is_a_divergence_although_its_loss_rises_little() -> None:
    """From 4.50 back to chance: 2 % above its lowest."""
    loss = valley(depth=0.11, bursts_at=100, start=4.61)
    loss[120:] = 4.606
    assert divergence_point(LR, loss) == LR[120]


def test_without_a_divergence_in_range_there_is_no_tenth() -> None:
    assert divergence_point(LR, valley(bursts_at=100)) is None
    assert suggest_tenth(LR, valley(bursts_at=100)) is None


def test_a_plateau_suggests_nothing_even_if_it_diverges() -> None:
    rng = np.random.default_rng(1)
    for seed_noise in (0.0, 0.01, 0.1):
        loss = smooth_loss(4.606 + rng.normal(0, seed_noise, len(LR)))
        assert suggest_steepest(LR, loss) is None
        loss[130:] = 50.0
        assert divergence_point(LR, loss) == LR[130]
        assert suggest_tenth(LR, loss) is None


def test_noise_of_batches_is_no_divergence_and_no_decrease() -> None:
    """A trained network's loss, in 200 draws: batches of 128 scatter by 0.1, smaller ones by more."""
    rng = np.random.default_rng(2)
    for scatter in (0.1, 0.3):
        draws = [smooth_loss(3.6 + rng.normal(0, scatter, len(LR))) for _ in range(200)]
        assert sum(divergence_point(LR, draw) is not None for draw in draws) <= 4
        assert sum(suggest_steepest(LR, draw) is not None for draw in draws) <= 4


def test_batch_noise_is_the_spread_of_smoothed_white_noise() -> None:
    white = np.random.default_rng(3).normal(0, 1, 200_000)
    assert batch_noise_sd(smooth_loss(white)) == pytest.approx(np.std(smooth_loss(white)[1000:]), rel=0.02)
    assert batch_noise_sd(smooth_loss(white)) == pytest.approx(math.sqrt(0.1 / 1.9), rel=0.02)


def test_the_table_holds_what_the_functions_say() -> None:
    loss = valley(falls_at=1e-3, bursts_at=0.1)
    test = made_test(loss)
    smooth = test.smooth
    (row,) = range_table([test]).rows
    assert row.values["lr"] == 0.01
    assert row.values["steepest"] == suggest_steepest(LR, smooth)
    assert row.values["tenth"] == suggest_tenth(LR, smooth)
    end = int(np.searchsorted(LR, row.values["diverged"]))
    assert row.values["lowest_loss"] == smooth[14:end].min()
    assert row.values["lowest_lr"] == LR[14 + smooth[14:end].argmin()]
    assert row.values["moved"] == pytest.approx(3 * LR[end - 1])
    assert row.run_ids == ["a" * 16]


def test_a_run_that_diverges_at_once_has_a_row_without_suggestions() -> None:
    loss = np.full(len(LR), np.nan)
    loss[0] = 4.6
    (row,) = range_table([made_test(loss)]).rows
    assert row.values["steepest"] is row.values["tenth"] is row.values["lowest_loss"] is None
    assert row.values["diverged"] == LR[1]


def test_synthetic_data_are_noted_in_table_and_figure() -> None:
    tests = [made_test(valley(), synthetic=True, data="synthetic")]
    for table in (range_table(tests), range_curves(tests)):
        assert "Synthetic data (made from a seed)" in table.notes[-1]
        assert table.data == "synthetic (made from a seed)"
    assert any("Synthetic data" in text for text in texts(range_figures(tests)["lr_range"]))
    assert not any("Synthetic" in note for note in range_table([made_test(valley())]).notes)


def test_a_flat_test_has_a_note_with_a_hint() -> None:
    notes = range_table([made_test(np.full(len(LR), 4.606)), made_test(valley(), "Adam lr=0.001")]).notes
    assert any(note.startswith("No suggestion for 1 of 2") for note in notes)


def test_a_fall_within_the_noise_is_not_said_to_be_none() -> None:
    """A trained network whose smoothed loss fell by 2 %, among batches that scatter by 8 %."""
    fall = np.linspace(3.6, 3.5, len(LR))
    test = made_test(fall + np.random.default_rng(4).normal(0, 0.3, len(LR)))
    settled = test.smooth[14:]
    assert settled.min() < 0.98 * settled[0]
    (note,) = [note for note in range_table([test]).notes if note.startswith("No suggestion")]
    assert "did not decrease by 1 %" in note


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


@pytest.mark.parametrize("count", [1, 4, 24])
def test_the_figure_shows_the_falls_and_no_text_over_another(count: int) -> None:
    """Six lines have a name and their marks; the others are thin and grey."""
    rng = np.random.default_rng(0)
    tests = [
        made_test(valley(10 ** rng.uniform(-4, -2), 10 ** rng.uniform(-1.5, 0.8)), f"SGD lr=0.01 momentum=0.{i}")
        for i in range(count)
    ]
    figures = range_figures(tests)
    assert set(figures) == set(RANGE_CAPTIONS)
    figure = figures["lr_range"]
    figure.draw_without_rendering()
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    assert 3 < low < 3.7
    assert 4.6 < high < 6  # the divergence reaches 90
    named = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text().startswith("SGD")]
    assert len({text.get_text() for text in named}) == min(count, 6)
    colours = [line.get_color() for line in axes.get_lines() if len(line.get_xdata()) == len(LR)]
    assert colours.count(FAINT) == max(count - 6, 0)
    note = f"In colour: the best 6 of {count} by lowest smoothed loss."
    assert any(note in " ".join(text.split()) for text in texts(figure)) == (count > 6)
    boxes = [Text.get_window_extent(text) for text in named]  # without the line to the end of its curve
    for one, other in itertools.combinations(boxes, 2):
        assert matplotlib.transforms.Bbox.intersection(one, other) is None
    marks = [line for line in axes.get_lines() if line.get_linestyle() == "None" and len(line.get_xdata())]
    assert len(marks) == 2 * min(count, 6)


def test_colours_are_optimizers_and_line_styles_are_schedulers() -> None:
    """The same rule as in a sweep's own figures; the names are at the ends of the lines."""
    cosine = {"name": "CosineAnnealingLR", "T_max": 5, "eta_min": 0}
    configurations = {
        "SGD lr=0.01": {"optimizer": {"name": "SGD", "lr": 0.01}, "scheduler": {"name": "none"}},
        "SGD lr=0.1": {"optimizer": {"name": "SGD", "lr": 0.1}, "scheduler": {"name": "none"}},
        "SGD lr=0.01 · Cosine": {"optimizer": {"name": "SGD", "lr": 0.01}, "scheduler": cosine},
        "Adam": {"optimizer": {"name": "Adam", "lr": 0.001}, "scheduler": {"name": "none"}},
    }
    tests = [
        made_test(valley(10.0**-i), label, run_id=f"{i}" * 16, configuration=configuration)
        for i, (label, configuration) in enumerate(configurations.items(), start=2)
    ]
    styles = range_styles(tests)
    plain, other_rate, scheduled, adam = (styles[name] for name in configurations)
    assert plain.color == other_rate.color == scheduled.color != adam.color
    assert plain.linestyle == other_rate.linestyle == adam.linestyle == "-" != scheduled.linestyle
    assert plain.marker != other_rate.marker
    figure = range_figures(tests)["lr_range"]
    (axes,) = figure.axes
    assert set(configurations) <= {text.get_text() for text in axes.texts}
    low, high = axes.get_ylim()
    assert all(low <= label.xy[1] <= high for label in axes.texts if isinstance(label, Annotation))


def test_a_file_without_its_configuration_has_a_style() -> None:
    styles = range_styles([made_test(valley(), "a", configuration={}), made_test(valley(), "b", configuration=None)])
    assert styles["a"].color != styles["b"].color


def test_the_data_are_named_without_their_path() -> None:
    assert range_table([made_test(valley(), data="/data/mine", title="mine")]).data == "mine"
    assert range_table([made_test(valley(), data="/data/old")]).data == "old"


def test_tests_of_one_configuration_under_two_seeds_have_different_labels() -> None:
    tests = [made_test(valley(), seed=seed) for seed in (0, 7)]
    names = ["SGD lr=0.01 seed 0", "SGD lr=0.01 seed 7"]
    assert [row.values["configuration"] for row in range_table(tests).rows] == names
    assert set(names) <= set(texts(range_figures(tests)["lr_range"]))


ONE, OTHER = ({"run_id": letter * 16, "seed": 0, "data": "/data/cifar100"} for letter in "bc")


@pytest.mark.parametrize(
    ("abouts", "names"),
    [
        ([ONE, OTHER | {"data": "synthetic"}], ["SGD cifar100", "SGD synthetic"]),
        ([ONE, OTHER], ["SGD bbbbbbbb", "SGD cccccccc"]),  # of another rate, which no label says
        (
            [ONE, OTHER | {"data": "synthetic"}, {**ONE, "run_id": "d" * 16, "seed": 123456}],
            ["SGD seed 0 cifar100", "SGD seed 0 synthetic", "SGD seed 123456"],
        ),
    ],
)
def test_runs_of_one_label_have_a_name_and_a_line_each(abouts: list[dict[str, Any]], names: list[str]) -> None:
    tests = [made_test(valley(10.0**-i), "SGD", **about) for i, about in enumerate(abouts, start=2)]
    assert [row.values["configuration"] for row in range_table(tests).rows] == names
    (axes,) = range_figures(tests)["lr_range"].axes
    drawn = {str(line.get_label()): np.asarray(line.get_xdata()) for line in axes.get_lines()}
    for name in names:
        np.testing.assert_array_equal(drawn[name], LR)


def test_no_tests_make_no_figure() -> None:
    assert range_figures([]) == {}


def test_a_file_is_read_back_unchanged(tmp_path: Path) -> None:
    test = made_test(valley(), start="the seed's own weights")
    path = tmp_path / "a.parquet"
    write_analysis(path, {"lr": test.lr, "loss": test.loss, "moved": test.moved}, test.about)
    found = read_range_test(path)
    assert found.label == test.label
    assert found.about["configuration"] == test.about["configuration"]
    for name in ("lr", "loss", "moved"):
        np.testing.assert_array_equal(getattr(found, name), getattr(test, name))


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    write_analysis(tmp_path / "a.parquet", {"lr": LR}, {"kind": "gradients"})
    with pytest.raises(LedgerError, match=r"a\.parquet: holds the analysis 'gradients', not 'lr-range'"):
        read_range_test(tmp_path / "a.parquet")
    write_analysis(tmp_path / "b.parquet", {"lr": LR}, {"kind": "lr-range"})
    with pytest.raises(LedgerError, match=r"b\.parquet: has no 'loss'"):
        read_range_test(tmp_path / "b.parquet")
