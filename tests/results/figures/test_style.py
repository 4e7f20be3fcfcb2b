"""A figure does not depend on the user's ``matplotlibrc``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from results.figures.registry import make_figures, write_figures
from results.figures.style import drawing_style
from tests.conftest import REPOSITORY
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


def test_an_unknown_backend_ends_no_command(tmp_path: Path) -> None:
    """In the file, matplotlib ignores it; in the environment, it refuses to be imported."""
    (tmp_path / "matplotlibrc").write_text("backend: nonsense\nfont.size: 30\nnot a setting\n")
    draw = """
import sys
from sweep.__main__ import main
sys.argv = ["sweep", "spaces", "quickstart"]
try:
    main()
except SystemExit as ended:
    assert not ended.code
from matplotlib.figure import Figure
from results.figures.style import drawing_style
with drawing_style():
    Figure().savefig(sys.stdout.buffer, format="svg")
"""
    environment = {"PATH": "/usr/bin", "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)}
    users = {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
    drawn = []
    for settings in ({}, users):
        command = [sys.executable, "-c", draw]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, env=environment | settings)
        drawn.append(b"".join(line for line in ended.stdout.splitlines() if b"<dc:date>" not in line))
    assert drawn[0] == drawn[1]
    assert b"</svg>" in drawn[0]
