"""Drawings of a gradient capture show their tables' numbers and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from results.analyses.gradient_figures import GRADIENT_CAPTIONS, gradient_figures
from results.analyses.gradients import GradientCapture
from results.figures.style import drawing_style

GRADIENTS = np.random.default_rng(1).normal(size=(40, 6))


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    about = {
        "run_id": "r", "label": "SGD", "seed": 0, "data": "cifar100", "synthetic": False, "layer": "conv1.weight",
        "layer_shape": [2, 3], "batch_size": 16, "configuration": {"optimizer": {"name": "SGD", "lr": 0.1}},
    }  # fmt: skip
    nothing = np.zeros((40, 6))
    capture = GradientCapture(GRADIENTS, nothing, nothing[0], nothing[:, 0], np.ones(40, dtype=np.int64), about)
    return gradient_figures(capture, 0.8)


def test_every_figure_has_a_caption(figures: dict[str, Figure]) -> None:
    assert set(figures) == set(GRADIENT_CAPTIONS)


def test_lines_are_named_by_their_beta_and_window(figures: dict[str, Figure]) -> None:
    """β = 0.8 is equivalent to a window of 2/0.2 - 1 = 9."""
    names = {name: [text.get_text() for text in figure.legends[0].get_texts()] for name, figure in figures.items()}
    assert names["sma_and_ewma"] == ["raw", "SMA, N = 9", "EWMA, β = 0.8"]
    assert names["ewma_on_gradients"] == ["raw", "EWMA, β = 0.9", "EWMA, β = 0.99", "EWMA, β = 0.999"]


def test_the_raw_line_is_the_gradient_itself(figures: dict[str, Figure]) -> None:
    element = GRADIENTS[:, GRADIENTS.var(axis=0).argmax()]
    line = figures["sma_and_ewma"].axes[0].get_lines()[0]
    np.testing.assert_array_equal(np.asarray(line.get_ydata()), element)


def test_raw_and_smoothed_have_one_scale_side_by_side(figures: dict[str, Figure]) -> None:
    raw, smoothed, adapted = figures["gradient_stages"].axes
    assert raw.get_ylim() == smoothed.get_ylim() != adapted.get_ylim()
    assert raw.get_xlim() == adapted.get_xlim() == (1, 40)


@pytest.mark.parametrize("name", sorted(GRADIENT_CAPTIONS))
def test_nothing_is_cut_off(figures: dict[str, Figure], name: str) -> None:
    figure = figures[name]
    with drawing_style():
        figure.draw_without_rendering()
        for artist in (*figure.axes, *figure.texts, *figure.legends):
            box = artist.get_tightbbox()
            assert box is not None
            assert box.x0 >= -1
            assert box.y0 >= -1
            assert box.x1 <= figure.bbox.x1 + 1
            assert box.y1 <= figure.bbox.y1 + 1
