"""The notes of a figure: the sweep and n, and nothing that the figure does not have."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from results.figures.registry import make_figures
from results.figures.style import FAINT
from results.ledger.arrays import SweepData
from tests.results.figure_sweeps import made_up_sweep
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, climb, sweep_of

SWEEPS = {
    "plain": made_up_sweep(),
    "one seed": made_up_sweep(2, seeds=1),
    "one optimizer": made_up_sweep(1, seeds=3),
    "some diverged": made_up_sweep(diverged={1}),
    "crowded": made_up_sweep(8),
}


@pytest.fixture(params=[*SWEEPS, "unfinished"])
def sweep(request: pytest.FixtureRequest, tmp_path: Path) -> SweepData:
    if request.param in SWEEPS:
        return SWEEPS[request.param]
    return sweep_of(tmp_path, {ADAM: [climb(30), climb(31)], MOMENTUM: [[], []], PLAIN: [climb(20), []]}, name="mine")


def notes_of(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def test_a_note_has_the_sweep_and_n_and_names_only_what_is_in_the_figure(sweep: SweepData) -> None:
    counts = [group.n_done for group in sweep.counted]
    expected = {f"n = {low} run" for low in counts} | {f"n = {min(counts)} to {max(counts)} run"}
    for name, figure in make_figures(sweep).items():
        notes = notes_of(figure)
        assert notes.startswith(f"Sweep {sweep.name}, "), name
        assert any(one in notes for one in expected), name
        axes = figure.axes[0]
        shown = {text.get_text().replace("\n", " ") for text in axes.findobj(Text) if isinstance(text, Text)}
        shown |= {text.get_text() for legend in figure.legends for text in legend.get_texts()}
        for group in sweep.configurations:
            assert group.label not in notes or group.label in shown, name
        lines = axes.get_lines()
        named = [line for line in lines if not str(line.get_label()).startswith("_")]
        styles = {line.get_linestyle() for line in named if line.get_color() != FAINT}
        triangles = [
            line for line in lines if line.get_marker() == ">" and line.get_markerfacecolor() != line.get_color()
        ]
        has = {
            "Band": any(isinstance(one, PolyCollection) for one in axes.collections),
            "Bars": bool(axes.containers),
            "Grey": any(line.get_color() == FAINT for line in lines),
            "Line style": len(styles - {"None"}) > 1,
            "Colour:": len({line.get_color() for line in lines} - {FAINT}) > 1,
            "triangle": bool(triangles),
            "Small points": any(line.get_markersize() == 2.8 for line in lines),
            "±": any("±" in text for text in shown),
        }
        for word, is_there in has.items():
            assert word not in notes or is_there, f"{name}: {word}"
