"""The soak test distinguishes a damaged sweep from an intact one, kills real processes, and leaves none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soak import NOTHING, Count, Rows
from results.ledger.ledger import Ledger
from tests.builders import attempt_of, row_of, two_by_two_runs

ROOT = Path(__file__).parent.parent.parent
WHOLE = Rows({("a", 1): (1.0,), ("a", 2): (2.0,)}, {("a", 1): "first", ("a", 2): "first"}, 0, True)


def counted(found: Rows, before: Rows = NOTHING, *, ended: bool = True) -> tuple[int, int, int, int]:
    count = Count()
    count.compare(found, WHOLE, before, ended=ended)
    assert count.clean == (not any([count.lost, count.changed, count.duplicates, count.trained_again]))
    return count.lost, count.changed, count.duplicates, count.trained_again


def test_a_sweep_that_has_what_the_undisturbed_one_has_is_clean() -> None:
    assert counted(WHOLE) == (0, 0, 0, 0)


def test_a_missing_row_is_lost_only_at_the_end() -> None:
    half = Rows({("a", 1): (1.0,)}, {("a", 1): "first"}, 0, False)
    assert counted(half) == (1, 0, 0, 0)
    assert counted(half, ended=False) == (0, 0, 0, 0)


def test_a_row_that_was_on_record_before_a_kill_and_is_not_after_it_is_lost() -> None:
    assert counted(NOTHING, before=WHOLE, ended=False) == (2, 0, 0, 0)


def test_another_number_and_an_unplanned_row_are_changes() -> None:
    other = Rows({("a", 1): (1.0 + 2**-52,), ("a", 2): (2.0,), ("b", 1): (1.0,)}, {}, 0, True)
    assert counted(other) == (0, 2, 0, 0)


def test_a_recorded_row_that_another_attempt_trained_again_is_reported() -> None:
    again = Rows(WHOLE.numbers, {("a", 1): "first", ("a", 2): "second"}, 0, True)
    assert counted(again, before=WHOLE) == (0, 0, 0, 1)


def test_the_rows_of_a_ledger_are_compared_without_times_and_attempts(tmp_path: Path) -> None:
    runs = two_by_two_runs()[:1]
    found = []
    for name, changes in (
        ("one", {}),
        ("two", {"epoch_seconds": 9.0, "eval_seconds": 9.0, "attempt_id": "attempt-2"}),
        ("three", {"val_loss": 3.5}),
    ):
        with Ledger.create_or_open(tmp_path / name) as ledger:
            ledger.plan(runs, 1, data_name="tiny", synthetic=True)
            attempt = attempt_of(runs, changes.get("attempt_id", "attempt-1"))
            ledger.record([attempt], [row_of(runs[0], 1, **changes)], {})
        found.append(Rows.of(tmp_path / name))
    assert found[0].numbers == found[1].numbers != found[2].numbers
    assert list(found[1].attempts.values()) == ["attempt-2"]
    assert found[0].finished


@pytest.mark.slow
@pytest.mark.ray
def test_sweeps_that_are_killed_twice_end_as_undisturbed_ones() -> None:
    """The soak's short form: real drivers, each with its own Ray or without Ray, and SIGKILL."""
    command = [sys.executable, "-m", "benchmarks.soak", "--kills", "4", "--epochs", "2", "--json", "--seed", "2"]
    command += ["--data", "synthetic:n_train=1000,n_test=100,seed=0"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert list(found) == ["Ray", "in-process"]
    for count in found.values():
        assert count["kills"] == sum(count["phases"].values()) == 2
        assert count["rows"] == 16 * count["sweeps"]
        assert count["clean"]
