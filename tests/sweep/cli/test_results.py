"""`show`, `runs`, `query`, `list` and `rm`: what they print at 80 columns, and what they refuse."""

from __future__ import annotations

import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from results.ledger.arrays import load_sweep
from results.ledger.ledger import Ledger
from results.reports.ranking import ranked
from results.reports.summary import answer
from search_spaces import Configuration
from sweep.cli.answer_screen import print_answer
from sweep.cli.line_chart import line_chart
from sweep.cli.next_step import next_step, rough
from sweep.folder.lease import Lease
from sweep.folder.lease_places import FolderLease
from sweep.folder.paths import SweepFolder
from tests.builders import attempt_of, two_by_two_runs
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, TunedMethod, climb, write_benchmark, write_ledger
from tests.sweep.sweeps import call

Sweep = Callable[..., "subprocess.CompletedProcess[str]"]
EPOCHS = 4
PACK = "1" * 16
FINALS = {
    MOMENTUM: [30.0, 31.0, 32.0, 30.5, 31.5, 33.0, 30.0, 31.0],
    ADAM: [25.0, 26.5, 26.0, 25.5, 27.0, 27.5, 25.0, 26.0],
    PLAIN: [12.0, 14.0, 13.0, 12.5, 13.5, 14.5, 12.0, 13.0],
}


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sweep:
    """Run ``sweep`` in this process, in a terminal of 80 columns."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return call(words, tmp_path, monkeypatch, capfd, columns=80)

    return run


@pytest.fixture
def mine(tmp_path: Path) -> SweepFolder:
    """A finished sweep of three configurations under eight seeds."""
    folder = SweepFolder(tmp_path / "runs", "mine")
    folder.create()
    curves = {one: [climb(final, EPOCHS) for final in finals] for one, finals in FINALS.items()}
    tests = {one: [final - 1 for final in finals] for one, finals in FINALS.items()}
    write_ledger(folder.ledger, curves, tests=tests, epochs=EPOCHS, pack_id=PACK)
    return folder


def test_the_ranking_has_means_differences_and_verdicts(mine: SweepFolder) -> None:
    """The interval of the difference is SciPy's paired t interval; its sign is that of the row."""
    ranking = ranked(load_sweep(mine.ledger, "mine"))
    assert [row.group.configuration for row in ranking.rows] == [MOMENTUM, ADAM, PLAIN]
    first, second, third = ranking.rows
    assert (first.verdict, first.difference) == ("best", None)
    assert first.validation.value == pytest.approx(np.mean(FINALS[MOMENTUM]))
    assert first.test is not None
    assert first.test.value == pytest.approx(np.mean(FINALS[MOMENTUM]) - 1)
    differences = np.array(FINALS[ADAM]) - np.array(FINALS[MOMENTUM])
    interval = stats.ttest_rel(FINALS[ADAM], FINALS[MOMENTUM]).confidence_interval(0.95)
    assert second.difference is not None
    assert second.difference.value == pytest.approx(differences.mean())
    assert (second.difference.low, second.difference.high) == pytest.approx((interval.low, interval.high))
    assert (second.verdict, third.verdict) == ("worse", "–" if third.verdict == "–" else third.verdict)
    assert "significantly better than" in ranking.sentence()


def test_the_answer_fits_80_columns_and_ends_with_the_next_command(sweep: Sweep, mine: SweepFolder) -> None:
    found = sweep("show", "mine")
    assert (found.returncode, found.stderr) == (0, "")
    table, sentences = found.stdout.split("\n\n")
    assert max(map(len, table.splitlines())) <= 80
    assert table.splitlines()[0] == "mine: CIFAR-100, 4 epochs, 8 seeds"
    assert [line.split()[0] for line in table.splitlines() if line[:1].isdigit()] == ["1", "2", "3"]
    assert sentences.splitlines()[-1] == "Next: sweep confirm mine"


def test_a_sweep_is_also_named_by_the_path_of_its_folder(
    sweep: Sweep, mine: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = sweep("show", "mine").stdout
    for path in ("runs/mine", "./runs/mine/", str(mine.path)):
        assert sweep("show", path).stdout.splitlines()[:-1] == by_name.splitlines()[:-1]
    assert sweep("status", "runs/mine").stdout == sweep("status", "mine").stdout
    assert sweep("runs", "runs/mine", "--format", "csv").stdout == sweep("runs", "mine", "--format", "csv").stdout
    assert sweep("show", "runs/other").stderr.startswith("sweep: no sweep 'other' in runs; existing sweeps: mine;")


def test_the_ten_best_of_many_are_shown(sweep: Sweep, tmp_path: Path) -> None:
    many = {Configuration("SGD", {"lr": round(0.01 * i, 2)}): [climb(10 + i, EPOCHS)] for i in range(1, 14)}
    folder = SweepFolder(tmp_path / "runs", "many")
    folder.create()
    write_ledger(folder.ledger, many, epochs=EPOCHS)
    text = sweep("show", "many").stdout
    rows = [line for line in text.splitlines() if re.match(r" ?\d+ SGD", line)]
    assert [int(line[:2]) for line in rows] == list(range(1, 11))
    assert "SGD lr=0.13" in rows[0]
    assert "3 more configurations are in the tables." in text


def test_the_json_of_show_has_full_numbers(sweep: Sweep, mine: SweepFolder) -> None:
    record = json.loads(sweep("show", "mine", "--json").stdout)
    assert record["runs"] == {
        "total": 24, "done": 24, "running": 0, "pending": 0, "interrupted": 0, "diverged": 0, "failed": 0
    }  # fmt: skip
    assert [row["rank"] for row in record["configurations"]] == [1, 2, 3]
    assert record["configurations"][0]["validation"]["value"] == pytest.approx(np.mean(FINALS[MOMENTUM]))
    assert record["next"] == {"command": "sweep confirm mine", "seconds": None}


def test_a_run_is_shown_with_its_configuration_its_curve_and_its_files(sweep: Sweep, mine: SweepFolder) -> None:
    run_id = json.loads(sweep("runs", "mine", "--format", "json", "--sort", "test_acc").stdout)[0]["run_id"]
    found = sweep("show", "mine", run_id[:8])
    assert found.stdout.splitlines()[0] == "mine: SGD lr=0.01 momentum=0.9, seed 5"
    assert f"run {run_id}" in " ".join(found.stdout.split())
    assert "ledger: runs/mine/ledger.sqlite" in found.stdout.splitlines()
    assert max(map(len, found.stdout.splitlines())) <= 80
    record = json.loads(sweep("show", "mine", run_id, "--json").stdout)
    assert record["val_acc"] == pytest.approx(climb(33.0, EPOCHS))
    assert (record["seed"], record["test_acc"]) == (5, 32.0)


@pytest.mark.parametrize("ascii_only", [False, True])
def test_a_chart_has_each_value_in_its_place(ascii_only: bool) -> None:
    lines = line_chart([0.0, None, 10.0, 5.0], 20, 3, ascii_only=ascii_only)
    if ascii_only:
        assert lines == [
            "10.0 |         *", " 5.0 |             *", " 0.0 |*", "     +--------------", "      1            4",
        ]  # fmt: skip
        assert all(line.isascii() for line in lines)
    else:
        assert lines[0] == "10.0 ┤         •"
    assert line_chart([None], 20, 3) == []


def test_runs_are_sorted_by_a_column_and_cut(sweep: Sweep, mine: SweepFolder) -> None:
    best = json.loads(sweep("runs", "mine", "--sort", "test_acc", "--top", "3", "--format", "json").stdout)
    assert [row["test_acc"] for row in best] == [32.0, 31.0, 30.5]
    text = sweep("runs", "mine", "--sort", "test_acc", "--top", "3").stdout
    assert text.splitlines()[2].split()[-1] == "32.00"
    assert max(map(len, text.splitlines())) <= 80
    worst = json.loads(sweep("runs", "mine", "--sort", "test_acc", "--ascending", "--format", "json").stdout)[0]
    assert worst["test_acc"] == 11.0
    refused = sweep("runs", "mine", "--sort", "accuracy")
    assert refused.returncode == 2
    assert refused.stderr.startswith("sweep: unknown column 'accuracy'")


def test_a_query_reads_and_is_cut_at_its_limit(sweep: Sweep, mine: SweepFolder) -> None:
    found = sweep("query", "mine", "SELECT seed, MAX(val_acc) AS best FROM epochs JOIN runs USING (run_id) GROUP BY 1")
    assert found.stdout.splitlines()[:2] == ["seed,best", "0,30.0"]
    cut = sweep("query", "mine", "SELECT epoch FROM epochs ORDER BY 1", "--limit", "2", "--format", "json")
    assert json.loads(cut.stdout) == [{"epoch": 1}, {"epoch": 1}]
    assert cut.stderr.startswith("more than 2 rows")


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM runs", "UPDATE runs SET seed = 1", "DROP TABLE epochs", "ATTACH 'other.db' AS other",
        "PRAGMA writable_schema = 1", "INSERT INTO meta VALUES ('a', 'b')", "CREATE TEMP TABLE t (a)",
        "SELECT 1; DELETE FROM runs", "VACUUM INTO 'copy.db'", "SELECT load_extension('x')", "SELECT nothing FROM runs",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT COUNT(*) FROM c",
    ],
)  # fmt: skip
def test_a_query_that_does_more_than_reading_is_refused(sql: str, sweep: Sweep, mine: SweepFolder) -> None:
    before = mine.ledger.read_bytes()
    found = sweep("query", "mine", sql, "--seconds", "0.2")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("sweep: query: ")
    assert len(found.stderr.splitlines()) == 1
    assert mine.ledger.read_bytes() == before
    assert {path.name for path in mine.path.parent.parent.iterdir()} == {"runs"}


def test_all_sweeps_are_listed_in_80_columns(sweep: Sweep, mine: SweepFolder) -> None:
    long = SweepFolder(mine.runs_dir, "a-sweep-with-quite-a-long-name-that-needs-more-than-one-line-of-the-table")
    long.create()
    write_ledger(long.ledger, {MOMENTUM: [climb(20, 2)], ADAM: [[]]}, epochs=EPOCHS)
    text = sweep("list").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert any(line.split() == ["mine", "cifar100", "24", "100", "%", "33.00", "done"] for line in text.splitlines())
    assert "1 pending" in text


def test_a_sweep_is_removed_after_a_question(sweep: Sweep, mine: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    asked = sweep("rm", "mine")
    assert asked.returncode == 130  # standard input has no answer
    assert mine.ledger.exists()
    assert sweep("rm", "mine", "--yes").returncode == 0
    assert not mine.path.exists()


def test_a_running_sweep_is_not_removed(sweep: Sweep, mine: SweepFolder) -> None:
    with Lease(FolderLease(mine.lock)):
        refused = sweep("rm", "mine", "--yes")
    assert refused.returncode == 2
    assert "is already running" in refused.stderr
    assert mine.ledger.exists()


def test_only_the_checkpoints_of_finished_packs_are_removed(sweep: Sweep, mine: SweepFolder) -> None:
    unfinished = "2" * 16
    with Ledger.create_or_open(mine.ledger) as ledger:
        runs = two_by_two_runs()
        ledger.plan(runs, EPOCHS, data_name="cifar100", synthetic=False)
        ledger.record([attempt_of(runs, pack_id=unfinished)], [], {})
    for pack in (PACK, unfinished):
        (mine.pack_checkpoints(pack)).mkdir(parents=True)
        (mine.pack_checkpoints(pack) / "state.pt").write_bytes(b"x" * 2_500_000)
    found = sweep("rm", "mine", "--checkpoints", "--yes")
    assert found.stdout == "removed the checkpoints of 1 finished pack of mine: 2.5 MB freed\n"
    assert [path.name for path in mine.checkpoints.iterdir()] == [unfinished]
    assert mine.ledger.exists()


@pytest.mark.parametrize(("seconds", "text"), [(40, "40 s"), (61, "1 min"), (200, "3 min"), (7500, "2 h 05 min")])
def test_an_expected_time_is_rounded(seconds: float, text: str) -> None:
    assert rough(seconds) == text


def test_a_benchmark_ends_with_its_verdict_and_the_findings_of_the_lint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verdict is that of all pairs of methods; a benchmark is not confirmed by another command."""
    method = TunedMethod([[[30.0], [31.0], [32.0]]], [[33.0, 33.1, 33.2]])
    folder = SweepFolder(tmp_path, "tuned")
    folder.create()
    write_benchmark(folder.ledger, {"one": method, "other": method})
    sweep = load_sweep(folder.ledger, "tuned")
    print_answer(Console(), folder, ranked(sweep), next_step(folder, sweep))
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(answer(sweep)) in lines
    assert [line.split()[1] for line in lines if line.startswith("lint ")] == ["LS005", "LS105", "LS107"]
    assert lines[-1].startswith("Next: sweep report tuned")


def test_the_codes_of_the_lint_are_printed_with_every_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = SweepFolder(tmp_path, "mine")
    folder.create()
    write_ledger(folder.ledger, {MOMENTUM: [climb(30)], ADAM: [climb(31)]})
    sweep = load_sweep(folder.ledger, "mine")
    print_answer(Console(), folder, ranked(sweep), next_step(folder, sweep))
    assert "Fairness lint: LS002, LS005 (docs/lint.md)" in capsys.readouterr().out
