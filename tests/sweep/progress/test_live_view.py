"""The screen shows what the trials have reported, and the rate since this start."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from search_spaces import Run
from sweep.folder.status import duration
from sweep.planning.plan import Pack
from sweep.progress.live_view import PLAIN_SECONDS, Progress, Recorded
from sweep.progress.speed import WINDOW
from tests.builders import row_of, two_by_two_runs


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"), (0.4, "0 s"), (45, "45 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (60, "1 min 00 s"),
        (200, "3 min 20 s"), (3599, "59 min 59 s"), (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"), (90000, "25 h 00 min"),
    ],
)  # fmt: skip
def test_a_duration_has_two_units(seconds: float, told: str) -> None:
    assert duration(seconds) == told


class Clock:
    """A clock that changes only if it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Screen:
    """Four runs of ten epochs, in two packs of two, and what is printed about them."""

    def __init__(self, statuses: Mapping[str, str] | None = None, epochs_done: Mapping[str, int] | None = None) -> None:
        self.runs: list[Run] = two_by_two_runs()
        self.first, self.second = Pack(tuple(self.runs[:2])), Pack(tuple(self.runs[2:]))
        self.clock, self.text = Clock(), io.StringIO()
        self.labels = {run.run_id: f"run {i}" for i, run in enumerate(self.runs)}
        console = Console(file=self.text, width=300)
        self.progress = Progress(
            self.runs, Recorded(statuses or {}, epochs_done or {}), 10, self.labels, console, self.clock
        )

    def report(self, pack: Pack, epoch: int, **measured: Any) -> None:
        said = {"fresh": True, "done": False, "diverged": {}}
        said |= {key: measured.pop(key) for key in list(measured) if key in said}
        measured = {"epoch_seconds": 9.5, "eval_seconds": 0.5, **measured}
        rows = [row_of(run, epoch, **measured) for run in pack.runs]
        self.progress.reported(pack, rows, said.pop("diverged"), **said)


def test_before_the_first_report_there_is_no_estimate() -> None:
    screen = Screen()
    assert screen.progress.line() == "0 of 4 runs done, 0 running, 0 % of the epochs"


def test_the_line_counts_runs_by_their_status() -> None:
    screen = Screen()
    second = screen.runs[1].run_id
    screen.progress.started(screen.first)
    assert screen.progress.line().startswith("0 of 4 runs done, 2 running, 0 %")
    screen.report(screen.first, 10, diverged={second: 3}, done=True)
    assert [screen.progress.count(word) for word in ("done", "diverged", "running", "pending")] == [1, 1, 0, 2]
    screen.progress.started(screen.second)
    screen.progress.failed(screen.second, ["ValueError: no"], "a/b.log")
    assert screen.progress.line().startswith("1 of 4 runs done, 0 running, 1 diverged, 2 failed, 100 % of the epochs")
    assert screen.text.getvalue().splitlines() == [
        "diverged: run 1 in epoch 3; the rest of its pack continues",
        "failed: run 2, run 3",
        "  ValueError: no",
        "  full traceback: a/b.log",
    ]


def test_a_diverged_run_is_reported_once_and_is_never_done() -> None:
    screen = Screen()
    lost = screen.runs[0].run_id
    screen.report(screen.first, 3, diverged={lost: 3})
    screen.report(screen.first, 4, diverged={lost: 3}, done=True)
    assert screen.text.getvalue().count("diverged") == 1
    assert (screen.progress.count("diverged"), screen.progress.count("done")) == (1, 1)


def test_a_pack_that_starts_again_does_not_undo_what_is_finished() -> None:
    """A pack that is continued has its finished members, too."""
    runs = two_by_two_runs()
    screen = Screen({runs[0].run_id: "done", runs[1].run_id: "interrupted"})
    screen.progress.started(screen.first)
    assert (screen.progress.count("done"), screen.progress.count("running")) == (1, 1)
    screen.progress.failed(screen.first, [], "log")
    assert (screen.progress.count("done"), screen.progress.count("failed")) == (1, 1)


def test_the_share_is_that_of_the_epochs_that_are_behind_us() -> None:
    """Of 4 × 10: one run done, one diverged in its third epoch and over, 4 and more than 10 on record."""
    runs = two_by_two_runs()
    statuses = {runs[0].run_id: "done", runs[1].run_id: "diverged"}
    epochs = {runs[0].run_id: 10, runs[1].run_id: 3, runs[2].run_id: 4, runs[3].run_id: 12}
    assert Screen(statuses, epochs).progress.share == pytest.approx((10 + 10 + 4 + 10) / 40)


def test_the_time_left_is_what_is_left_at_the_rate_so_far() -> None:
    """Two runs × five epochs in 50 s: 0.2 run-epochs a second, and 30 of 40 left take 150 s."""
    screen = Screen()
    for epoch in range(1, 6):
        screen.clock.now += 10
        screen.report(screen.first, epoch)
    assert screen.progress.rate == pytest.approx(0.2)
    assert screen.progress.seconds_left == pytest.approx(150)
    assert "25 % of the epochs, 0.20 run-epochs/s, about 2 min 30 s left" in screen.progress.line()


def test_the_time_left_does_not_count_the_start_up() -> None:
    """After 600 s without a report, two runs train an epoch in 10 s: 38 of 40 left take 190 s."""
    screen = Screen()
    screen.progress.started(screen.first)
    screen.clock.now += 610
    screen.report(screen.first, 1)
    assert screen.progress.seconds_left == pytest.approx(190)


def test_the_rate_is_that_of_the_last_epochs() -> None:
    """Epochs of 100 s, then of 10 s; the next pack begins between them and counts as the first one until it reports."""
    screen = Screen()
    for seconds in [100] * 4 + [10] * WINDOW:
        screen.clock.now += seconds
        screen.report(screen.first, 1, epoch_seconds=seconds - 0.5)
    assert screen.progress.rate == pytest.approx(0.2)
    screen.progress.started(screen.second)
    screen.clock.now += 10
    screen.report(screen.first, 1)
    assert screen.progress.rate == pytest.approx(0.4)
    screen.report(screen.second, 1, epoch_seconds=19.5)
    assert screen.progress.rate == pytest.approx(0.3)
    screen.report(screen.first, 10, done=True)
    assert screen.progress.mean_rate == pytest.approx(2 * (4 + WINDOW + 3) / 460)


def test_packs_that_report_at_the_same_time_do_not_count_twice() -> None:
    screen = Screen()
    for pack in (screen.first, screen.second):
        screen.progress.started(pack)
    for epoch in (1, 2):
        screen.clock.now += 10
        screen.report(screen.first, epoch)
        screen.report(screen.second, epoch)
        assert screen.progress.rate == pytest.approx(0.4)


def test_the_time_left_falls_between_reports_and_not_below_zero() -> None:
    screen = Screen()
    screen.clock.now += 10
    screen.report(screen.first, 1)  # 2 of 40 in 10 s: 190 s are left
    screen.clock.now += 40
    assert screen.progress.seconds_left == pytest.approx(150)
    assert screen.progress.rate == pytest.approx(0.2)
    screen.clock.now += 1e6
    assert screen.progress.seconds_left == 0


def test_rows_out_of_a_checkpoint_count_as_done_but_not_as_trained() -> None:
    """Five epochs are reported at once; the rate is that of the epoch that was trained."""
    screen = Screen()
    for epoch in range(1, 6):
        screen.report(screen.first, epoch, fresh=False)
    assert screen.progress.share == pytest.approx(10 / 40)
    assert "left" not in screen.progress.line()
    screen.clock.now += 10
    screen.report(screen.first, 6)
    assert screen.progress.rate == pytest.approx(0.2)
    assert screen.progress.seconds_left == pytest.approx((40 - 12) / 0.2)


def test_an_epoch_that_is_reported_again_does_not_take_progress_back() -> None:
    runs = two_by_two_runs()
    screen = Screen(epochs_done={run.run_id: 8 for run in runs})
    screen.report(screen.first, 2, fresh=False)
    assert screen.progress.share == pytest.approx(0.8)
    assert screen.progress.counts().epochs_done == 4 * 8


def test_the_best_so_far_is_the_highest_validation_accuracy_and_its_run() -> None:
    screen = Screen()
    assert "best" not in screen.progress.line()
    screen.report(Pack((screen.runs[0],)), 1, val_acc=30.0, test_acc=99.0)
    screen.report(Pack((screen.runs[2],)), 1, val_acc=41.25)
    screen.report(Pack((screen.runs[1],)), 1, val_acc=None)
    screen.report(Pack((screen.runs[3],)), 1, val_acc=41.25)
    screen.report(Pack((screen.runs[2],)), 2, val_acc=12.0)
    assert screen.progress.line().endswith("best so far 41.25 % validation accuracy (run 2)")


def lines_after(screen: Screen, seconds: float) -> list[str]:
    """Let a time pass; return the new lines."""
    before = len(screen.text.getvalue().splitlines())
    for _ in range(10):
        screen.clock.now += seconds / 10
        screen.progress.tick()
    return screen.text.getvalue().splitlines()[before:]


def test_a_plain_line_is_printed_only_if_something_has_changed_and_not_too_often() -> None:
    screen = Screen()
    with screen.progress:
        assert lines_after(screen, 10 * PLAIN_SECONDS) == []
        screen.progress.started(screen.first)
        assert lines_after(screen, 1) == ["0 of 4 runs done, 2 running, 0 % of the epochs"]
        screen.progress.started(screen.second)
        assert lines_after(screen, PLAIN_SECONDS / 2) == []
        assert lines_after(screen, PLAIN_SECONDS / 2) == ["0 of 4 runs done, 4 running, 0 % of the epochs"]
        assert lines_after(screen, 10 * PLAIN_SECONDS) == []


def test_a_plain_line_is_printed_for_each_epoch_of_the_slowest_run() -> None:
    screen = Screen()
    with screen.progress:
        for pack in (screen.first, screen.second):
            screen.progress.started(pack)
        lines_after(screen, 1)
        screen.report(screen.first, 1)
        screen.report(screen.first, 2)
        assert lines_after(screen, 1) == []
        screen.report(screen.second, 1)
        (line,) = lines_after(screen, 1)
        assert line.startswith("every run has 1 of 10 epochs: 0 of 4 runs done, 4 running, 15 % of the epochs")
        screen.report(screen.second, 2, diverged={screen.runs[3].run_id: 2})
        assert [line for line in lines_after(screen, 1) if "every run has 2 of 10 epochs" in line]


def test_text_of_others_is_printed_as_it_is() -> None:
    """An error may contain text that is markup for rich, or be longer than a line of the screen."""
    screen = Screen()
    error = "KeyError: '[/bold] [red]'" + "x" * 500
    screen.progress.retried(screen.first, error)
    (line,) = screen.text.getvalue().splitlines()
    assert error in line
    assert line.startswith("pack of run 0 and 1 other run failed (")
