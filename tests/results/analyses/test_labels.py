"""Any label from a spec is plain text in every figure of an analysis."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from results.analyses.activations import activation_figures
from results.analyses.gradient_figures import gradient_figures
from results.analyses.gradients import GradientCapture
from results.analyses.lr_range import range_figures
from results.analyses.trajectory import trajectory_figure
from results.figures.style import drawing_style
from tests.results.analyses.test_activations import made_up
from tests.results.analyses.test_lr_range import made_test, valley
from tests.results.analyses.test_trajectory import made_path, made_trajectory

HOSTILE = "a$\\frac{x$ \x1b[31m <svg>&--> \u202e$"


def ranges(label: str) -> Figure:
    return range_figures([made_test(valley(), label), made_test(valley(3e-3), "SGD")])["lr_range"]


def trajectories(label: str) -> Figure:
    two = made_trajectory(2)
    return trajectory_figure(replace(two, paths=[made_path(label, (1.0, 2.0)), *two.paths[1:]]))


def activations(label: str) -> Figure:
    maps = made_up(1)
    return next(iter(activation_figures(replace(maps, about={**maps.about, "label": label})).values()))


def gradients(label: str) -> Figure:
    steps = np.random.default_rng(0).normal(size=(20, 4))
    about = {
        "run_id": "r", "label": label, "seed": 0, "data": "cifar100", "synthetic": False, "layer": "conv1.weight",
        "layer_shape": [2, 2], "batch_size": 16, "configuration": {"optimizer": {"name": "SGD", "lr": 0.1}},
    }  # fmt: skip
    capture = GradientCapture(steps, steps, steps[0], steps[:, 0], np.ones(20, dtype=np.int64), about)
    return next(iter(gradient_figures(capture, 0.9).values()))


@pytest.mark.parametrize("figure_of", [ranges, trajectories, activations, gradients])
def test_a_label_is_drawn_literally_and_the_svg_is_valid(figure_of: Callable[[str], Figure]) -> None:
    figure = figure_of(HOSTILE)
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert any(r"a\$" in text and r"\x1b[31m" in text and "\x1b" not in text for text in texts), texts
    with drawing_style():
        svg = io.BytesIO()
        figure.savefig(svg, format="svg")
    ElementTree.fromstring(svg.getvalue())
