"""The phases of a benchmark in its ledger."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from results.ledger.ledger import Ledger
from results.ledger.phases import COLUMNS, PhaseRow, benchmark_in, read_phases, write_phases
from search_spaces.errors import LedgerError
from tests.results.ledger_sweeps import ADAM, MOMENTUM, climb, write_ledger

OLDER = Path(__file__).parents[2] / "sweep/older/before/ledger.sqlite"


def test_a_run_belongs_to_several_points_and_a_phase_is_replaced_as_a_whole(path: Path) -> None:
    ids = write_ledger(path, {MOMENTUM: [climb(30), climb(33)], ADAM: [climb(20)]})
    first, second, adam = ids[MOMENTUM, 0], ids[MOMENTUM, 1], ids[ADAM, 0]
    evaluation = [PhaseRow(second, "evaluation", 1, "SGD", 0, 10), PhaseRow(second, "untuned", 1, "SGD", -1, 10)]
    stopped = PhaseRow(adam, "tuning", 1, "Adam", 1, 3, rung=1, stopped=True)
    tuning = [PhaseRow(first, "tuning", 1, "SGD", 0, 10), PhaseRow(first, "tuning", 2, "SGD", 4, 10), stopped]
    with Ledger.create_or_open(path) as ledger:
        write_phases(ledger, ["evaluation", "untuned"], evaluation)
        write_phases(ledger, ["tuning"], [PhaseRow(adam, "tuning", 1, "Adam", 0, 10)])
        write_phases(ledger, ["tuning"], tuning)
    with Ledger.open_read_only(path) as ledger:
        found = read_phases(ledger)
    assert tuple(found.columns) == COLUMNS
    rows = [PhaseRow(*row) for row in found.itertuples(index=False)]
    assert rows == [evaluation[0], stopped, tuning[0], evaluation[1], tuning[1]]


def test_another_sweep_and_an_older_ledger_have_no_phases(path: Path) -> None:
    write_ledger(path, {ADAM: [climb(20)]})
    older = shutil.copy(OLDER, path.with_name("older.sqlite"))
    for place in (path, older):
        with Ledger.open_read_only(place) as ledger:
            found = read_phases(ledger)
        assert (len(found), tuple(found.columns)) == (0, COLUMNS)


@pytest.mark.parametrize(
    "change", ["INSERT INTO phases VALUES ('x', 'tuning', 1, 'SGD', 0, 10, 0, 0)", "UPDATE phases SET point = 7"]
)
def test_a_phase_that_the_ledger_did_not_write_is_refused(path: Path, change: str) -> None:
    ids = write_ledger(path, {ADAM: [climb(20)]})
    with Ledger.create_or_open(path) as ledger:
        write_phases(ledger, ["tuning"], [PhaseRow(ids[ADAM, 0], "tuning", 1, "Adam", 0, 10)])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(change)
    with pytest.raises(LedgerError, match="is damaged"):
        Ledger.open_read_only(path)


def test_the_design_is_read_from_the_kept_spec() -> None:
    text = 'epochs = 30\n[benchmark]\nbudget = 12\n[[methods]]\nname = "Adam"\noptimizer = {name = "Adam"}\n'
    assert benchmark_in(text) == {
        "benchmark": {"budget": 12}, "methods": [{"name": "Adam", "optimizer": {"name": "Adam"}}], "epochs": 30,
    }  # fmt: skip
    assert benchmark_in("epochs = 30\n") is None
    assert benchmark_in("not TOML") is None
