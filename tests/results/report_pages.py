"""A report of hand-made tables and figures: every kind of cell, and names that would break a page without escaping."""

from __future__ import annotations

import io
import math
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from results.ledger.arrays import SweepData
from results.metrics.intervals import Estimate
from results.reports.report import ReportFigure, ReportTexts, report_html
from results.tables.fairness import OK, WARNING
from results.tables.table import Column, Row, Table

HOSTILE = """<script>alert("x")</script> & 'y' "><img src="https://example.com/z" onerror=alert(1)>"""

COLUMNS = (
    Column("configuration", "Configuration"),
    Column("final", "Final", "%"),
    Column("epochs", "Epochs to target"),
    Column("speed", "Speed"),
)

ROWS = (
    Row({"configuration": "b", "final": Estimate(28.0, 27.4, 28.6, 3), "epochs": 9.0, "speed": "fast"}, ["r1", "r2"]),
    Row({"configuration": "a", "final": Estimate(9.5, math.nan, math.nan, 1), "epochs": "> 50", "speed": "never"}),
    Row({"configuration": "d", "final": None, "epochs": None, "speed": "n/a"}),
    Row({"configuration": "c", "final": Estimate(101.0, 98.0, 104.0, 3), "epochs": math.inf, "speed": "slow"}, ["r3"]),
    Row({"configuration": "e", "final": 10.0, "epochs": 12.5, "speed": "medium"}, ["r4"]),
)
"""As numbers 28, 9.5, n/a, 101, 10 and 9, > 50, n/a, ∞, 12.5; as text, ``101`` would come before ``28.0``."""


def a_sweep(name: str = "a-sweep", **changes: Any) -> SweepData:
    """A synthetic sweep of nothing, which is all that the page itself asks of one."""
    facts: dict[str, Any] = {
        "epochs": 50, "protocol": {"batch_size": 128, "data": "f00d"}, "data_name": "synthetic", "synthetic": True,
        "devices": ("cpu",), "threads": (1,), "pack_sizes": (4,), "versions": ({"torch": "2.11"},),
        "configurations": (),
    }  # fmt: skip
    return SweepData(name, **(facts | changes))


def a_figure(name: str, label: str, fonttype: str = "path") -> ReportFigure:
    """A line under ``label``, as matplotlib draws it, with a clip path and markers that are referred to by id."""
    figure = Figure(figsize=(7, 3))
    figure.add_subplot().plot([1, 2, 3], [1, 3, 2], "o-", label=label, gid="line")
    figure.legend()
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "the same in all", "svg.fonttype": fonttype}):
        figure.savefig(text, format="svg")
    return ReportFigure(name, f"Caption of {label}", text.getvalue())


def a_page(text: str = "plain", **changes: Any) -> str:
    """The report with two tables, the lint and three figures; ``text`` is used for every name."""
    wide = (Column("configuration", "Configuration"), *(Column(f"c{i}", f"Column {i}", text) for i in range(20)))
    tables = {
        "wide": Table("wide", text, wide, [Row({c.key: 1.0 for c in wide} | {"configuration": text}, [text])], [text]),
        "consolidated": Table("consolidated", "All of it", COLUMNS, ROWS, [text]),
        "fairness": Table(
            "fairness",
            "Lint",
            (Column("check", "Check"), Column("finding", "Finding"), Column("detail", "Detail")),
            [Row({"check": "one", "finding": WARNING, "detail": text}), Row({"check": "two", "finding": OK})],
        ),
    }
    figures = [a_figure("one", text), a_figure("two", text), a_figure(text, text, fonttype="none")]
    facts: dict[str, Any] = {
        "question": text,
        "answer": [text, "second", "third"],
        "provenance": [{"started": "yesterday", "command": ["sweep", "run", text], "versions": {text: text}}],
        "commands": [text],
        "spec": text,
    }
    sweep = a_sweep(text, data_name=text, devices=(text,), versions=({text: text},))
    return report_html(sweep, tables, {figure.name: figure for figure in figures}, ReportTexts(**(facts | changes)))
