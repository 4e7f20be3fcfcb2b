from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from results.ledger.attempts import LEAST_SECONDS
from results.ledger.ledger import EpochRow, Ledger
from search_spaces.configuration import Configuration

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 120  # a bound for a child that hangs; no test passes by it


def rows_in(ledger: Ledger) -> list[tuple]:
    (answer,) = ledger.read("SELECT run_id, epoch, val_acc FROM epochs ORDER BY run_id, epoch")
    return answer.rows


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _no_process_outlives_its_test() -> Iterator[None]:
    yield
    while STARTED:
        with STARTED.pop() as process:
            process.kill()


def python(script: str, *arguments: object, **options) -> subprocess.Popen[str]:
    """Start a fresh interpreter on ``script`` in the repository's root."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    STARTED.append(process)
    return process


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, err
    return out.strip()


# --- planning and statuses


def test_a_new_run_is_pending_until_a_pack_starts_it(ledger, runs):
    """A run that was never started is pending."""
    ids = [run.run_id for run in runs]
    assert ledger.statuses() == dict.fromkeys(ids, "pending")
    ledger.start("pack-1", ids[:2])
    assert ledger.statuses() == dict.fromkeys(ids[:2], "running") | dict.fromkeys(ids[2:], "pending")


def test_statuses_come_in_the_order_of_planning(ledger, runs):
    """By configuration, in the order of the first plan; the order of a later plan has no effect."""
    ledger.plan(runs[::-1], 3, data_name="cifar100", synthetic=False)
    assert list(ledger.statuses()) == [run.run_id for run in runs]


def test_a_later_seed_is_listed_with_its_configuration(ledger, runs):
    """A configuration keeps its place; a new one comes last."""
    added = replace(runs[0], seed=7)
    new = replace(runs[0], configuration=Configuration("RMSprop", {"lr": 0.01}))
    ledger.plan([new, added, *runs], 3, data_name="cifar100", synthetic=False)
    expected = [runs[0], runs[1], added, runs[2], runs[3], new]
    assert list(ledger.statuses()) == [run.run_id for run in expected]


def test_a_run_is_done_when_its_target_epoch_is_there(ledger, runs, attempt_of, row_of):
    """Earlier epochs do not make it done."""
    for epoch, status in ((1, "running"), (2, "running"), (3, "done")):
        ledger.record([attempt_of(runs[:1])], [row_of(runs[0], epoch)], {})
        assert ledger.statuses()[runs[0].run_id] == status


def test_a_diverged_run_is_a_result_even_if_its_pack_continues(ledger, runs, attempt_of, row_of):
    """Rows after the divergence do not turn it into a run that is done."""
    ledger.record([attempt_of(runs[:1])], [row_of(runs[0], e) for e in (1, 2, 3)], {runs[0].run_id: 2})
    assert ledger.statuses()[runs[0].run_id] == "diverged"


def test_an_extended_sweep_turns_done_into_pending(ledger, runs, attempt_of, row_of):
    """Three epochs are not six; going back to three finds the run done again."""
    run_id = runs[0].run_id
    ledger.record([attempt_of(runs[:1])], [row_of(runs[0], e) for e in (1, 2, 3)], {})
    for epochs, status in ((6, "pending"), (3, "done"), (6, "pending")):
        ledger.plan(runs, epochs, data_name="cifar100", synthetic=False)
        assert ledger.statuses()[run_id] == status
    assert ledger.read("SELECT state FROM runs WHERE run_id = '" + run_id + "'")[0].rows == [("pending",)]


def test_planning_again_keeps_the_reported_states(ledger, runs):
    """A failure stays a failure until a retry."""
    ledger.start("pack-1", [runs[0].run_id])
    ledger.fail([runs[0].run_id], "boom")
    ledger.plan(runs, 3, data_name="cifar100", synthetic=False)
    assert ledger.statuses()[runs[0].run_id] == "failed"


def test_a_run_that_the_spec_dropped_is_unplanned_and_not_lost(ledger, runs, attempt_of, row_of):
    """It leaves the statuses; its epochs stay, and count when it is planned again."""
    ledger.record([attempt_of(runs[:1])], [row_of(runs[0], e) for e in (1, 2, 3)], {})
    ledger.plan(runs[1:], 3, data_name="cifar100", synthetic=False)
    assert runs[0].run_id not in ledger.statuses()
    assert ledger.finished([runs[0].run_id], 3) == {runs[0].run_id}
    ledger.plan(runs, 3, data_name="cifar100", synthetic=False)
    assert ledger.statuses()[runs[0].run_id] == "done"


def test_finished_counts_done_and_diverged_up_to_the_target_epoch(ledger, runs, attempt_of, row_of):
    """Diverged at 4 is not finished at 3; failed is never finished."""
    done, early, late, failed = (run.run_id for run in runs)
    ledger.record([attempt_of(runs)], [row_of(runs[0], 3)], {early: 2, late: 4})
    ledger.fail([failed], "boom")
    assert ledger.finished([done, early, late, failed], 3) == {done, early}
    assert ledger.finished([done, early, late, failed], 4) == {early, late}
    assert ledger.finished([late], 3) == set()


# --- packs


def test_a_started_pack_is_kept_for_any_size_and_a_planned_one_only_for_its_own(ledger, runs):
    """A started pack has rows and checkpoints that a pack with other members cannot continue."""
    a, b, c, d = (run.run_id for run in runs)
    ledger.plan_packs([("begun", [b, a]), ("waiting", [d, c])], "2")
    assert ledger.packs("2") == {"begun": [b, a], "waiting": [d, c]}
    assert ledger.packs("4") == ledger.packs("auto") == {}
    ledger.start("begun", [b, a])
    assert ledger.packs("2") == {"begun": [b, a], "waiting": [d, c]}
    assert ledger.packs("4") == ledger.packs("auto") == {"begun": [b, a]}


def test_started_packs_come_first_and_of_each_kind_the_latest(ledger, runs):
    """So of two packs that share a member, the one with its rows is continued."""
    ids = [run.run_id for run in runs]
    for number, pack_id in enumerate(("p1", "p2", "p3", "p4")):
        ledger.plan_packs([(pack_id, [ids[number]])], "1")
    ledger.start("p1", ids[:1])
    ledger.start("p2", ids[1:2])
    assert list(ledger.packs("1")) == ["p2", "p1", "p4", "p3"]


def test_a_pack_that_is_planned_again_keeps_its_members_and_its_start(ledger, runs):
    """And it belongs to the size that was given last."""
    ids = [run.run_id for run in runs]
    ledger.plan_packs([("begun", ids[:2]), ("waiting", ids[2:])], "2")
    ledger.start("begun", ids[:2])
    ledger.plan_packs([("begun", ids[:2]), ("waiting", ids[2:])], "auto")
    assert ledger.packs("auto") == {"begun": ids[:2], "waiting": ids[2:]}
    assert ledger.packs("2") == {"begun": ids[:2]}


# --- failures and interruptions


def test_an_attempt_that_failed_stays_failed_when_the_next_one_completes(ledger, runs, attempt_of, row_of):
    """The retry is another attempt at the same pack; an attempt at another pack stays open."""
    ledger.record([attempt_of(runs[2:], "other", pack_id="pack-2")], [], {})
    ledger.record([attempt_of(runs[:2])], [row_of(runs[0], 1)], {})
    ledger.attempt_failed("pack-1", "Traceback\nOSError: no space")
    ledger.record([attempt_of(runs[:2], "retry")], [row_of(runs[0], 2, attempt_id="retry")], {})
    ledger.complete("pack-1")
    (answer,) = ledger.read("SELECT attempt_id, outcome, error, ended IS NULL FROM attempts ORDER BY attempt_id")
    assert answer.rows == [
        ("attempt-1", "failed", "Traceback\nOSError: no space", 0),
        ("other", None, None, 1),
        ("retry", "done", None, 0),
    ]


def test_a_failure_keeps_what_its_pack_had_finished(ledger, runs, attempt_of, row_of):
    """Done and diverged stay; the others fail with the last line; the attempt keeps the whole error."""
    ledger.start("pack-1", [run.run_id for run in runs])
    ledger.record([attempt_of(runs)], [row_of(runs[0], 3), row_of(runs[2], 1)], {runs[1].run_id: 1})
    ledger.fail([run.run_id for run in runs], "Traceback\n  line\nOutOfMemory: 3 GiB\n")
    assert list(ledger.statuses().values()) == ["done", "diverged", "failed", "failed"]
    errors, attempts = ledger.read(
        "SELECT error FROM runs ORDER BY ordinal, seed", "SELECT outcome, error FROM attempts"
    )
    assert errors.rows == [(None,), (None,), ("OutOfMemory: 3 GiB",), ("OutOfMemory: 3 GiB",)]
    assert attempts.rows == [("failed", "Traceback\n  line\nOutOfMemory: 3 GiB\n")]


def test_a_report_clears_an_earlier_failure(ledger, runs, attempt_of, row_of):
    """The retry of a failed run is running, without an error, at its second attempt."""
    run_id = runs[0].run_id
    ledger.start("pack-1", [run_id])
    ledger.fail([run_id], "boom")
    ledger.start("pack-1", [run_id])
    ledger.record([attempt_of(runs[:1], "attempt-2")], [row_of(runs[0], 1, attempt_id="attempt-2")], {})
    (answer,) = ledger.read(f"SELECT state, error, attempts FROM runs WHERE run_id = '{run_id}'")
    assert answer.rows == [("running", None, 2)]


def test_an_interruption_names_the_runs_that_were_cut_off(ledger, runs, attempt_of, row_of):
    """Those that finished, failed or never began are not among them; no attempt stays open."""
    ids = [run.run_id for run in runs]
    ledger.start("pack-1", ids[:3])
    ledger.record([attempt_of(runs[:2])], [row_of(runs[0], 3)], {})
    ledger.fail([ids[2]], "boom")
    ledger.record([attempt_of(runs[:2])], [row_of(runs[1], 1)], {})
    assert ledger.interrupt() == [ids[1]]
    assert list(ledger.statuses().values()) == ["done", "interrupted", "failed", "pending"]
    assert ledger.read("SELECT COUNT(*) FROM attempts WHERE outcome IS NULL")[0].rows == [(0,)]
    assert ledger.interrupt() == []


def test_an_attempt_that_only_a_checkpoint_knows_was_interrupted(ledger, runs, attempt_of, row_of):
    """Its process died before its first report. It has no end time, and does not end with the attempt after it."""
    died, resumed = attempt_of(runs[:1]), attempt_of(runs[:1], "attempt-2")
    ledger.record([died, resumed], [row_of(runs[0], 1, attempt_id="attempt-2")], {})
    ledger.complete("pack-1")
    (answer,) = ledger.read("SELECT attempt_id, outcome, ended IS NULL FROM attempts ORDER BY attempt_id")
    assert answer.rows == [("attempt-1", "interrupted", 1), ("attempt-2", "done", 0)]


def test_an_attempt_starts_after_the_earlier_ones_at_its_runs_for_any_clocks(ledger, runs, attempt_of):
    """A clock that is behind moves the start that is recorded; it moves no start of an attempt at other runs."""
    asked = [("a", runs[:2], 100.0), ("b", runs[1:2], 50.0), ("c", runs[2:3], 50.0), ("d", runs[:1], 109.0)]
    for name, members, started in asked:
        ledger.record([attempt_of(members, name, started=started)], [], {})
    (answer,) = ledger.read("SELECT attempt_id, started FROM attempts ORDER BY attempt_id")
    assert answer.rows == [("a", 100.0), ("b", 100.0 + LEAST_SECONDS), ("c", 50.0), ("d", 109.0)]


# --- reports


def test_the_same_report_twice_is_there_once(ledger, runs, attempt_of, row_of):
    """(run, epoch) is unique, and the last report counts."""
    rows = [row_of(run, epoch) for run in runs for epoch in (1, 2)]
    for _ in range(3):
        ledger.record([attempt_of(runs)], rows, {})
    assert len(rows_in(ledger)) == len(rows)
    ledger.record([attempt_of(runs, "attempt-2")], [replace(rows[0], val_acc=33.0)], {})
    assert len(rows_in(ledger)) == len(rows)
    assert (runs[0].run_id, 1, 33.0) in rows_in(ledger)


def attempts_by_epoch(ledger: Ledger, run_id: str) -> list[tuple]:
    (answer,) = ledger.read(f"SELECT epoch, attempt_id FROM epochs WHERE run_id = '{run_id}' ORDER BY epoch")
    return answer.rows


def test_a_run_that_starts_over_in_another_pack_drops_the_rows_of_the_old_one(ledger, runs, attempt_of, row_of):
    """Other members mean different rounding, and no curve has parts of both. The other run keeps all its rows."""
    moved, stays = runs[:2]
    rows = [row_of(run, epoch) for run in (moved, stays) for epoch in (1, 2)]
    ledger.record([attempt_of([moved, stays])], rows, {moved.run_id: 3, stays.run_id: 3})
    assert list(ledger.statuses().values())[:2] == ["diverged", "diverged"]
    alone = attempt_of([moved], "attempt-2", pack_id="pack-2")
    ledger.record([alone], [row_of(moved, 1, attempt_id="attempt-2")], {})
    assert attempts_by_epoch(ledger, moved.run_id) == [(1, "attempt-2")]
    assert attempts_by_epoch(ledger, stays.run_id) == [(1, "attempt-1"), (2, "attempt-1")]
    assert list(ledger.statuses().values())[:2] == ["running", "diverged"]


def test_a_run_that_diverges_in_its_new_pack_has_diverged_there(ledger, runs, attempt_of, row_of):
    """The report that drops the old epoch has the new one."""
    ledger.record([attempt_of(runs[:2])], [row_of(runs[0], 1)], {runs[0].run_id: 2})
    alone = attempt_of(runs[:1], "attempt-2", pack_id="pack-2")
    ledger.record([alone], [row_of(runs[0], 1, attempt_id="attempt-2")], {runs[0].run_id: 3})
    (answer,) = ledger.read(f"SELECT diverged_epoch FROM runs WHERE run_id = '{runs[0].run_id}'")
    assert answer.rows == [(3,)]


def test_a_run_that_starts_over_in_the_same_pack_keeps_its_rows(ledger, runs, attempt_of, row_of):
    """The same members give the same bits in each epoch; only the attempt is new."""
    ledger.record([attempt_of(runs[:2])], [row_of(runs[0], epoch) for epoch in (1, 2)], {runs[0].run_id: 3})
    ledger.record([attempt_of(runs[:2], "attempt-2")], [row_of(runs[0], 1, attempt_id="attempt-2")], {})
    assert attempts_by_epoch(ledger, runs[0].run_id) == [(1, "attempt-2"), (2, "attempt-1")]
    assert ledger.statuses()[runs[0].run_id] == "diverged"


def test_what_is_not_finite_is_stored_as_null(ledger, runs, attempt_of, row_of):
    """NaN and infinities of Python and of numpy; numpy's finite numbers are stored as numbers."""
    row = row_of(runs[0], 1, train_loss=math.nan, val_loss=math.inf, test_loss=-math.inf, lr=np.float32("nan"))
    ledger.record([attempt_of(runs)], [replace(row, val_acc=np.float32(12.5))], {})
    (answer,) = ledger.read("SELECT train_loss, val_loss, test_loss, lr, val_acc FROM epochs")
    assert answer.rows == [(None, None, None, None, 12.5)]


def test_a_report_that_breaks_in_the_middle_leaves_nothing(ledger, runs, attempt_of, row_of):
    """Neither its rows nor its attempt nor a changed state."""

    def broken() -> Iterator[EpochRow]:
        yield row_of(runs[0], 1)
        raise RuntimeError("cut off")

    with pytest.raises(RuntimeError, match="cut off"):
        ledger.record([attempt_of(runs)], broken(), {})
    assert rows_in(ledger) == []
    assert set(ledger.statuses().values()) == {"pending"}
    assert ledger.read("SELECT * FROM attempts")[0].rows == []
    ledger.record([attempt_of(runs)], [row_of(runs[0], 1)], {})  # the ledger can still be used
    assert len(rows_in(ledger)) == 1


def test_a_row_of_an_unplanned_run_is_refused(ledger, runs, attempt_of, row_of):
    """It is a bug of the caller, not a mistake of the user."""
    with pytest.raises(sqlite3.IntegrityError):
        ledger.record([attempt_of(runs)], [replace(row_of(runs[0], 1), run_id="nobody")], {})


# --- other processes

READ_ONCE = """
import sys
from pathlib import Path
from results.ledger.ledger import Ledger
with Ledger.open_read_only(Path(sys.argv[1])) as ledger:
    print(ledger.read("SELECT COUNT(*) FROM epochs")[0].rows[0][0])
"""

WATCH = """
import sys
from pathlib import Path
from results.ledger.ledger import Ledger
seen, target = [0], int(sys.argv[2])
with Ledger.open_read_only(Path(sys.argv[1])) as ledger:
    print("watching", flush=True)
    while seen[-1] < target:
        (n,), = ledger.read("SELECT COUNT(*) FROM epochs")[0].rows
        seen.append(n)
assert seen == sorted(seen), seen
assert all(n % 4 == 0 for n in seen), seen
"""

WRITE = """
import sys
from pathlib import Path
from results.ledger.ledger import Attempt, EpochRow, Ledger
ids = sys.argv[2:]
attempt = Attempt("attempt-1", "pack-1", "here", 1, "cpu", 2, tuple(ids), {}, 0.0)
with Ledger.create_or_open(Path(sys.argv[1])) as ledger:
    epoch = 0
    while True:
        epoch += 1
        ledger.record([attempt], [EpochRow(i, epoch, *[1.0] * 11, 1, attempt.attempt_id) for i in ids], {})
        print(epoch, flush=True)
"""


def test_a_reader_sees_the_state_before_a_report_that_is_being_written(ledger, path, runs, attempt_of, row_of):
    """It neither waits for the writer nor sees half of its transaction."""
    ledger.record([attempt_of(runs)], [row_of(run, 1) for run in runs], {})

    def slowly() -> Iterator[EpochRow]:
        yield row_of(runs[0], 2)
        assert said(python(READ_ONCE, path)) == "4"
        yield row_of(runs[1], 2)

    ledger.record([attempt_of(runs)], slowly(), {})
    assert said(python(READ_ONCE, path)) == "6"


def test_a_reader_in_another_process_sees_whole_reports_only(ledger, path, runs, attempt_of, row_of):
    """Four rows a report: it never counts anything but a multiple of four."""
    watcher = python(WATCH, path, 200)
    assert watcher.stdout.readline() == "watching\n"
    for epoch in range(1, 51):
        ledger.record([attempt_of(runs)], [row_of(run, epoch) for run in runs], {})
    said(watcher)


def test_a_writer_killed_in_the_middle_leaves_a_consistent_ledger(ledger, path, runs, attempt_of, row_of):
    """SIGKILL: every finished report is there, every report is whole, and the ledger can be written again."""
    ids = [run.run_id for run in runs]
    ledger.close()
    writer = python(WRITE, path, *ids)
    reported = [int(writer.stdout.readline()) for _ in range(50)]
    os.kill(writer.pid, signal.SIGKILL)
    rest, _ = writer.communicate(timeout=PATIENCE_SECONDS)
    reported += [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    with Ledger.create_or_open(path) as again:
        assert again.read("PRAGMA integrity_check")[0].rows == [("ok",)]
        (counts,) = again.read("SELECT epoch, COUNT(*) FROM epochs GROUP BY epoch")
        assert {count for _, count in counts.rows} == {len(ids)}
        assert set(reported) <= {epoch for epoch, _ in counts.rows}
        again.plan(runs, 10**9, data_name="cifar100", synthetic=False)
        again.record([attempt_of(runs, "attempt-2")], [row_of(runs[0], 10**9)], {})
        assert again.statuses()[ids[0]] == "done"
