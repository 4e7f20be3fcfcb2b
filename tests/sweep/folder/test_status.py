"""`sweep status` and `sweep logs` show the content of the ledger."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from pydantic import ValidationError

from results.ledger.ledger import Ledger
from search_spaces import Run
from search_spaces.errors import UnknownNameError
from sweep.cli.app import app
from sweep.folder.lease import Lease
from sweep.folder.lease_places import FolderLease
from sweep.folder.paths import SweepFolder
from sweep.folder.run_log import run_log
from sweep.folder.status import STATES, FailedRun, LiveStatus, SweepStatus, driver_line, status_lines
from sweep.folder.status_source import all_statuses, folder_status
from tests.builders import attempt_of, row_of, two_by_two_runs

PACK_1, PACK_2 = "1" * 16, "2" * 16


@pytest.fixture
def runs() -> list[Run]:
    return two_by_two_runs()


def begin(runs_dir: Path, name: str, runs: list[Run], *, synthetic: bool = False) -> tuple[SweepFolder, Ledger]:
    """Plan ``runs`` for three epochs in a separate folder."""
    folder = SweepFolder(runs_dir, name)
    folder.create()
    ledger = Ledger.create_or_open(folder.ledger)
    ledger.plan(runs, 3, data_name="synthetic" if synthetic else "cifar100", synthetic=synthetic)
    return folder, ledger


@pytest.fixture
def mixed(tmp_path: Path, runs: list[Run]) -> SweepFolder:
    """One run done, one diverged in its second epoch, one failed after an epoch, one pending."""
    done, diverged, failed, _ = runs
    folder, ledger = begin(tmp_path, "mixed", runs)
    with ledger:
        ledger.start(PACK_1, [done.run_id, diverged.run_id])
        rows = [row_of(done, epoch, val_acc=acc) for epoch, acc in ((1, 20.0), (2, 31.5), (3, 30.0))]
        rows.append(row_of(diverged, 1, val_acc=31.0))
        ledger.record([attempt_of([done, diverged], pack_id=PACK_1)], rows, {diverged.run_id: 2})
        ledger.complete(PACK_1)
        ledger.start(PACK_2, [failed.run_id])
        ledger.record(
            [attempt_of([failed], "attempt-2", pack_id=PACK_2)], [row_of(failed, 1, attempt_id="attempt-2")], {}
        )
        ledger.fail([failed.run_id], "Traceback\nValueError: [red] no")
    return folder


def test_every_run_is_counted_once_by_its_status(mixed: SweepFolder) -> None:
    status = folder_status(mixed)
    assert {state: status.count(state) for state in STATES} == {
        "done": 1, "running": 0, "pending": 1, "interrupted": 0, "diverged": 1, "failed": 1,
    }  # fmt: skip
    assert status.runs == 4 == sum(status.count(state) for state in STATES)


def test_the_share_counts_a_diverged_run_as_over_and_the_others_by_their_epochs(mixed: SweepFolder) -> None:
    """Of 4 × 3: three done, three over, one of the failed run, none of the pending one."""
    status = folder_status(mixed)
    assert status.epochs_share == pytest.approx(7 / 12)
    assert status.epochs_done == 3 + 1 + 1


def test_the_best_run_is_that_of_the_highest_validation_accuracy_at_any_epoch(
    mixed: SweepFolder, runs: list[Run]
) -> None:
    status = folder_status(mixed)
    assert (status.best_val_acc, status.best_run) == (31.5, runs[0].run_id)


def test_failures_carry_their_error(mixed: SweepFolder, runs: list[Run]) -> None:
    assert folder_status(mixed).failures == [
        FailedRun(run_id=runs[2].run_id, error="ValueError: [red] no", name="Adam lr=0.001, seed 0")
    ]


def test_the_status_is_json_of_plain_values(mixed: SweepFolder) -> None:
    """What a program gets: no numpy number, no NaN, the same keys for every sweep."""
    status = folder_status(mixed)
    record = status.model_dump()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert SweepStatus.model_validate(record) == status
    assert {key: type(value) for key, value in record.items()} == {
        "name": str, "folder": str, "data": str, "synthetic": bool, "runs": int, **dict.fromkeys(STATES, int),
        "epochs_done": int, "epochs_share": float, "best_val_acc": float, "best_run": str, "best_name": str,
        "resume": str, "failures": list, "driver": type(None),
    }  # fmt: skip
    assert (status.name, status.folder, status.data) == ("mixed", str(mixed.path), "cifar100")


def test_a_sweep_that_is_only_planned_has_no_best_run(tmp_path: Path, runs: list[Run]) -> None:
    folder, ledger = begin(tmp_path, "fresh", runs, synthetic=True)
    ledger.close()
    status = folder_status(folder)
    assert (status.best_val_acc, status.best_run, status.epochs_share, status.pending) == (None, None, 0, 4)
    record = status.model_dump()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert status_lines(status) == [
        "fresh: 4 pending of 4 runs, 0 % of the epochs",
        "  data: synthetic (generated images, not CIFAR-100)",
        f"  to continue: sweep resume fresh --runs-dir {tmp_path}",
    ]


def test_a_ledger_without_runs_has_a_status(tmp_path: Path) -> None:
    folder, ledger = begin(tmp_path, "empty", [])
    ledger.close()
    status = folder_status(folder)
    assert (status.runs, status.epochs_share, status.synthetic) == (0, 0, False)
    assert status_lines(status)[0] == "empty: no runs of 0 runs, 0 % of the epochs"


def test_running_and_interrupted_are_distinguished(tmp_path: Path, runs: list[Run]) -> None:
    folder, ledger = begin(tmp_path, "going", runs)
    with ledger, Lease(FolderLease(folder.lock)):
        ledger.start(PACK_1, [run.run_id for run in runs[:3]])
        assert (folder_status(folder).running, folder_status(folder).pending) == (3, 1)  # while the writer writes
        ledger.interrupt()
        status = folder_status(folder)
    assert (status.running, status.interrupted, status.pending) == (0, 3, 1)


def test_runs_of_a_dead_driver_are_interrupted_and_can_be_resumed(tmp_path: Path, runs: list[Run]) -> None:
    """Its driver was killed: the ledger still has the status running, and the lock is free."""
    folder, ledger = begin(tmp_path, "left", runs)
    with ledger:
        with Lease(FolderLease(folder.lock)):
            ledger.start(PACK_1, [run.run_id for run in runs[:3]])
        assert list(ledger.statuses().values()) == ["running"] * 3 + ["pending"]
    status = folder_status(folder)
    assert (status.running, status.interrupted, status.pending) == (0, 3, 1)
    assert status_lines(status)[-1] == f"  to continue: {status.resume}"


def test_the_resume_command_is_valid_in_a_shell(
    tmp_path: Path, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual folder is left out; another one is quoted, so that its space does not split it."""
    monkeypatch.chdir(tmp_path)
    commands = []
    for runs_dir in (Path("runs"), Path("my runs")):
        folder, ledger = begin(runs_dir, "s", runs)
        ledger.close()
        commands.append(folder_status(folder).resume)
    assert commands[0] == "sweep resume s"
    assert shlex.split(commands[1]) == ["sweep", "resume", "s", "--runs-dir", "my runs"]


def test_the_lines_have_counts_best_run_failures_and_the_resume_command(mixed: SweepFolder, runs: list[Run]) -> None:
    assert status_lines(folder_status(mixed)) == [
        "mixed: 1 done, 1 pending, 1 diverged, 1 failed of 4 runs, 58 % of the epochs",
        "  data: cifar100",
        "  best so far: 31.50 % validation accuracy, SGD lr=0.1 momentum=0.9 nesterov · CosineAnnealingLR, seed 0",
        f"  failed: Adam lr=0.001, seed 0, run {runs[2].run_id}: ValueError: [red] no",
        f"  to continue: sweep resume mixed --runs-dir {mixed.runs_dir}",
        f"  to retry the failed runs: sweep resume mixed --runs-dir {mixed.runs_dir} --retry-failed",
    ]


def test_a_finished_sweep_has_no_resume_command(tmp_path: Path, runs: list[Run]) -> None:
    folder, ledger = begin(tmp_path, "over", runs[:1])
    with ledger:
        ledger.record([attempt_of(runs[:1])], [row_of(runs[0], epoch) for epoch in (1, 2, 3)], {})
    lines = status_lines(folder_status(folder))
    assert lines[0] == "over: 1 done of 1 run, 100 % of the epochs"
    assert not any("resume" in line for line in lines)


def test_all_sweeps_are_listed_by_name(tmp_path: Path, runs: list[Run]) -> None:
    for name in ("zeta", "alpha"):
        begin(tmp_path, name, runs)[1].close()
    assert [status.name for status in all_statuses(tmp_path)] == ["alpha", "zeta"]
    assert all_statuses(tmp_path / "nowhere") == []


def test_a_log_is_found_by_the_beginning_of_its_run_id(mixed: SweepFolder, runs: list[Run]) -> None:
    mixed.logs.mkdir()
    mixed.pack_log(PACK_1).write_text("the log of the first pack ×\n", encoding="utf-8")
    mixed.pack_log(PACK_2).write_text("the log of the second pack\n", encoding="utf-8")
    others = [run.run_id for run in runs[1:]]
    shortest = next(
        runs[0].run_id[:n] for n in range(1, 17) if not any(other.startswith(runs[0].run_id[:n]) for other in others)
    )
    assert run_log(mixed, shortest) == run_log(mixed, runs[0].run_id) == "the log of the first pack ×\n"
    assert run_log(mixed, runs[2].run_id) == "the log of the second pack\n"


def test_a_run_that_never_began_has_no_log_yet(mixed: SweepFolder, runs: list[Run]) -> None:
    assert run_log(mixed, runs[3].run_id) == f"run {runs[3].run_id} has not started yet\n"


def test_an_ambiguous_beginning_is_answered_with_the_runs_that_begin_so(tmp_path: Path) -> None:
    """Seventeen ids have sixteen possible first digits: two begin with the same one."""
    configuration = two_by_two_runs()[0]
    many = [Run(configuration.configuration, seed, configuration.protocol, "d" * 16) for seed in range(17)]
    folder, ledger = begin(tmp_path, "many", many)
    ledger.close()
    first_digits = [run.run_id[0] for run in many]
    digit = next(digit for digit in first_digits if first_digits.count(digit) > 1)
    with pytest.raises(UnknownNameError) as error:
        run_log(folder, digit)
    candidates = str(error.value).partition("valid: ")[2].split(", ")
    assert candidates == sorted(run.run_id for run in many if run.run_id.startswith(digit))


@pytest.mark.parametrize("run", ["", "no-such-run", "%", "g"])
def test_a_run_that_is_not_there_is_answered_with_those_that_are(mixed: SweepFolder, runs: list[Run], run: str) -> None:
    with pytest.raises(UnknownNameError, match=f"^unknown run '{run}'") as error:
        run_log(mixed, run)
    assert all(known.run_id in str(error.value) for known in runs)
    assert len(str(error.value).splitlines()) == 1


def test_a_damaged_sweep_is_one_line_and_does_not_hide_the_others(
    tmp_path: Path, runs: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, ledger = begin(tmp_path, "damaged", runs)
    ledger.close()
    begin(tmp_path, "good", runs)[1].close()
    content = folder.ledger.read_bytes().replace(b"cifar100", b"cifar101", 1)
    folder.ledger.write_bytes(content)
    app(["status", "--runs-dir", str(tmp_path)], standalone_mode=False)
    printed = capsys.readouterr().out
    assert re.search(r"^damaged\b", printed, re.MULTILINE)
    assert "is damaged" in " ".join(printed.split())
    assert re.search(r"^good .* 4 pending$", printed, re.MULTILINE)


LIVE = '{"driver": "d", "host": "h", "pid": 1, "since": "s", "phase": "p", "published_at": 1, "seconds_left": NUMBER}'


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity", '"inf"'])
def test_a_published_number_that_is_not_finite_is_refused(number: str) -> None:
    with pytest.raises(ValidationError):
        LiveStatus.model_validate_json(LIVE.replace("NUMBER", number))


def test_a_published_time_of_any_length_is_shown() -> None:
    status = LiveStatus.model_validate_json(LIVE.replace("NUMBER", "1e300"))
    assert driver_line(status.of_driver()).endswith("about more than 30 years left")
