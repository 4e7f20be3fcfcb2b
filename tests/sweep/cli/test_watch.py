"""`sweep status --watch` shows changes until the sweep ends."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from sweep.cli.watch import REFRESH_SECONDS, START_LOOKS, watch
from sweep.folder.status import DriverStatus, SweepStatus
from sweep.folder.status_source import folder_status
from tests.builders import two_by_two_runs
from tests.sweep.folder.test_status import begin

DRIVER = DriverStatus.model_validate({
    "driver": "d1", "host": "there", "pid": 7, "since": "2026-01-02 03:04:05", "phase": "training", "slots": 16,
    "slots_used": 9, "rate": 2.5, "seconds_left": 200.0,
    "nodes": [
        {"node": name, "host": f"[red]{name}", "address": "127.0.0.1", "cpus": 8.0, "gpus": 2.0, "slots": 8}
        for name in ("n1", "n2")
    ],
})  # fmt: skip
LINE = (
    "  training: pid 7 on there since 2026-01-02 03:04:05, 2 nodes, 9 of 16 slots used, 2.50 run-epochs/s, "
    "about 3 min 20 s left"
)


@pytest.fixture
def seen(tmp_path: Path) -> list[SweepStatus]:
    """Twice the same, then another count, then no driver."""
    folder, ledger = begin(tmp_path, "s", two_by_two_runs())
    ledger.close()
    status = folder_status(folder)
    return [
        status.model_copy(update={"driver": DRIVER}),
        status.model_copy(update={"driver": DRIVER}),
        status.model_copy(update={"driver": DRIVER, "running": 3, "pending": 1}),
        status.model_copy(update={"done": 4, "pending": 0}),
    ]


def shown(seen: list[SweepStatus], *, terminal: bool = False, as_json: bool = False) -> str:
    screen, pauses = io.StringIO(), list[float]()
    looks: Iterator[SweepStatus] = iter(seen)
    console = Console(file=screen, width=150, force_terminal=terminal, color_system=None)
    watch(lambda: next(looks), console, as_json=as_json, pause=pauses.append)
    assert pauses == [REFRESH_SECONDS] * 3
    return screen.getvalue()


def test_where_there_is_no_terminal_what_changes_is_printed(seen: list[SweepStatus]) -> None:
    lines = shown(seen).splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "s: 4 pending of 4 runs, 0 % of the epochs",
        "s: 3 running, 1 pending of 4 runs, 0 % of the epochs",
        "s: 4 done of 4 runs, 0 % of the epochs",
    ]
    assert lines.count(LINE) == 2


def test_for_programs_every_status_is_a_line(seen: list[SweepStatus]) -> None:
    assert [json.loads(line) for line in shown(seen, as_json=True).splitlines()] == [one.model_dump() for one in seen]


def test_on_a_terminal_the_nodes_are_listed_and_the_last_status_stays(seen: list[SweepStatus]) -> None:
    text = shown(seen, terminal=True)
    assert "n1    [red]n1  127.0.0.1     8     2      8" in text
    assert LINE.strip() in text
    assert "s: 4 done of 4 runs" in text.splitlines()[-2]


def test_an_unfinished_sweep_is_waited_for_until_it_is_resumed(seen: list[SweepStatus]) -> None:
    """`status --watch` and `resume` were started at the same moment."""
    not_yet = seen[0].model_copy(update={"driver": None})
    looks, screen = iter([not_yet, not_yet, *seen]), io.StringIO()
    watch(lambda: next(looks), Console(file=screen, width=150), pause=lambda seconds: None)
    text = screen.getvalue()
    assert text.count("waiting up to") == 1
    assert LINE in text
    assert text.splitlines()[-1].startswith(("s: 4 done", "  "))
    assert "s: 4 done of 4 runs" in text


def test_a_sweep_that_was_interrupted_is_not_waited_for_again(seen: list[SweepStatus]) -> None:
    looks, screen = iter([seen[0], seen[0].model_copy(update={"driver": None})]), io.StringIO()
    watch(lambda: next(looks), Console(file=screen, width=150), pause=lambda seconds: None)
    assert "waiting" not in screen.getvalue()


def test_the_wait_for_a_resume_has_an_end(seen: list[SweepStatus]) -> None:
    not_yet, pauses = seen[0].model_copy(update={"driver": None}), list[float]()
    screen = io.StringIO()
    watch(lambda: not_yet, Console(file=screen, width=150), pause=pauses.append, as_json=True)
    assert len(pauses) == START_LOOKS
    assert len(screen.getvalue().splitlines()) == START_LOOKS + 1


def test_a_sweep_that_does_not_run_is_shown_once(seen: list[SweepStatus]) -> None:
    screen = io.StringIO()
    watch(lambda: seen[-1], Console(file=screen), pause=lambda seconds: pytest.fail("it must not wait"))
    assert screen.getvalue().startswith("s: 4 done of 4 runs")
