"""A figure does not depend on the user's ``matplotlibrc``."""

from __future__ import annotations

import matplotlib
import pytest

from results.figures.registry import make_figures, write_figures
from results.figures.style import drawing_style
from tests.results.ledger_sweeps import MOMENTUM, climb, sweep_of

USERS = {
    "text.usetex": True,
    "font.size": 30,
    "axes.facecolor": "black",
    "lines.linestyle": ":",
    "svg.fonttype": "none",
}


def test_a_users_settings_change_no_figure(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``text.usetex`` a figure would need LaTeX."""
    sweep = sweep_of(tmp_path, {MOMENTUM: [climb(30), climb(32)]})
    pages = []
    for settings in ({}, USERS):
        with matplotlib.rc_context(settings):
            figure = make_figures(sweep)["validation_accuracy"]
            write_figures({"figure": figure}, tmp_path, ["svg"])
            pages.append((tmp_path / "figure.svg").read_bytes())
            with drawing_style():
                assert not matplotlib.rcParams["text.usetex"]
            assert matplotlib.rcParams["text.usetex"] == bool(settings)
    assert pages[0] == pages[1]
