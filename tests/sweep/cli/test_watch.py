"""`sweep status --watch` shows what changes, until nobody drives the sweep."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweep.cli.watch import REFRESH_SECONDS, watch
from sweep.folder.status import sweep_status
from tests.builders import two_by_two_runs
from tests.sweep.folder.test_status import begin

DRIVER = {
    "driver": "d1", "host": "there", "pid": 7, "since": "2026-01-02 03:04:05", "phase": "training", "slots": 16,
    "slots_used": 9, "rate": 2.5, "seconds_left": 200.0,
    "nodes": [
        {"node": name, "host": f"[red]{name}", "address": "127.0.0.1", "cpus": 8.0, "gpus": 2.0, "slots": 8}
        for name in ("n1", "n2")
    ],
}  # fmt: skip
LINE = (
    "  driver pid 7 on there since 2026-01-02 03:04:05: training, 2 nodes, 9 of 16 slots used, 2.50 run-epochs/s, "
    "about 3 min 20 s left"
)


@pytest.fixture
def seen(tmp_path: Path) -> list[dict[str, Any]]:
    """Twice the same, then another count, then nobody."""
    folder, ledger = begin(tmp_path, "s", two_by_two_runs())
    ledger.close()
    status = sweep_status(folder)
    return [
        {**status, "driver": DRIVER},
        {**status, "driver": DRIVER},
        {**status, "driver": DRIVER, "running": 3, "pending": 1},
        {**status, "done": 4, "pending": 0},
    ]


def shown(seen: list[dict[str, Any]], *, terminal: bool = False, as_json: bool = False) -> str:
    screen, pauses = io.StringIO(), list[float]()
    looks: Iterator[dict[str, Any]] = iter(seen)
    console = Console(file=screen, width=150, force_terminal=terminal, color_system=None)
    watch(lambda: next(looks), console, as_json=as_json, pause=pauses.append)
    assert pauses == [REFRESH_SECONDS] * 3
    return screen.getvalue()


def test_where_there_is_no_terminal_what_changes_is_printed(seen: list[dict[str, Any]]) -> None:
    lines = shown(seen).splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "s: 4 pending of 4 runs, 0 % of the epochs",
        "s: 3 running, 1 pending of 4 runs, 0 % of the epochs",
        "s: 4 done of 4 runs, 0 % of the epochs",
    ]
    assert lines.count(LINE) == 2


def test_for_programs_every_look_is_a_line(seen: list[dict[str, Any]]) -> None:
    assert [json.loads(line) for line in shown(seen, as_json=True).splitlines()] == seen


def test_on_a_terminal_the_nodes_are_listed_and_the_last_look_stays(seen: list[dict[str, Any]]) -> None:
    text = shown(seen, terminal=True)
    assert "n1    [red]n1  127.0.0.1     8     2      8" in text
    assert LINE.strip() in text
    assert "s: 4 done of 4 runs" in text.splitlines()[-2]


def test_a_sweep_that_nobody_drives_is_shown_once(seen: list[dict[str, Any]]) -> None:
    screen = io.StringIO()
    watch(lambda: seen[-1], Console(file=screen), pause=lambda seconds: pytest.fail("it waits for nobody"))
    assert screen.getvalue().startswith("s: 4 done of 4 runs")
