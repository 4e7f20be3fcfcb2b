"""Tables of sweeps that are empty, unfinished, diverged or very small."""

from __future__ import annotations

import math
import re

import pytest

from results.reports.registry import report_tables
from results.reports.summary import answer, question
from results.tables.formats import TEXT_WRITERS
from tests.results.hand_worked import (
    shown,
)
from tests.results.ledger_sweeps import ADAM, MOMENTUM, climb, sweep_of

ONE_HOLE = [*climb(30)[:9], math.nan]
BAD = {
    "empty": ({}, {}, "Empty: no run is planned."),
    "nothing yet": ({MOMENTUM: [[], []], ADAM: [[], []]}, {}, "Partial: 0 of 4 runs have a result so far."),
    "one epoch": ({MOMENTUM: [[9.0], [8.0]], ADAM: [[5.0], [6.0]]}, {"epochs": 1}, "1 epoch; the study's protocol has"),
    "one seed": ({MOMENTUM: [climb(30)], ADAM: [climb(20)]}, {}, "10 epochs; the study's protocol has 50"),
    "one configuration": ({MOMENTUM: [climb(30), climb(31)]}, {}, "10 epochs; the study's protocol has 50"),
    "all diverged": ({MOMENTUM: [[5.0], [5.0]], ADAM: [[5.0], [5.0]]},
                     {"diverged": {(c, s): 1 + s for c in (MOMENTUM, ADAM) for s in (0, 1)}}, "10 epochs; the study's"),
    "NaN at the end": ({MOMENTUM: [climb(30), ONE_HOLE], ADAM: [ONE_HOLE, ONE_HOLE]}, {},
                       "Partial: 1 of 4 runs have a result so far."),
    "still running": ({MOMENTUM: [climb(30), climb(30)[:4]], ADAM: [[], []]}, {},
                      "Partial: 1 of 4 runs have a result so far."),
    "all failed": ({MOMENTUM: [[5.0], [5.0]]}, {"failed": {(MOMENTUM, 0), (MOMENTUM, 1)}},
                   "Partial: 0 of 2 runs have a result so far."),
    "perfect": ({MOMENTUM: [climb(100), climb(100)], ADAM: [climb(0), climb(0)]}, {}, "10 epochs; the study's"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_every_table_of_a_poor_sweep_has_its_caveat(tmp_path, case):
    """No traceback, warning or printed NaN; every format can be rendered; there are a question and an answer."""
    curves, facts, caveat = BAD[case]
    sweep = sweep_of(tmp_path, curves, **facts)
    tables = report_tables(sweep)
    assert {"convergence", "stability", "consolidated", "fairness"} <= tables.keys()
    for table in tables.values():
        assert any(note.startswith(caveat) for note in table.notes)
        assert not {"nan", "inf", "None"} & {word for cells in table.text() for cell in cells for word in cell.split()}
        for render in TEXT_WRITERS.values():
            assert render(table)
        assert len(table.frame()) == len(table.rows)
    assert (f"the {len(curves)} configurations" in question(sweep)) == (len(curves) > 1)
    assert all(answer(sweep))


@pytest.mark.parametrize("case", ["nothing yet", "all failed"])
def test_no_result_is_no_number(tmp_path, case):
    """Every configuration is a row with its status, and n/a in all else; nothing is compared."""
    curves, facts, _ = BAD[case]
    sweep = sweep_of(tmp_path, curves, **facts)
    for name in ("convergence", "stability", "consolidated"):
        rows = shown(sweep, name)
        assert len(rows) == len(curves)
        for row in rows:
            assert row.pop("configuration")
            assert re.fullmatch(r"0 of 2 \(2 (pending|failed)\)", row.pop("runs"))
            assert set(row.values()) == {"n/a"}
    assert not {"comparison", "profile", "claimed", "adam", "learning_rates"} & report_tables(sweep).keys()


def test_one_seed_has_no_spread(tmp_path):
    curves, facts, _ = BAD["one seed"]
    sweep = sweep_of(tmp_path, curves, **facts)
    assert [row["final_val_acc"] for row in shown(sweep, "convergence")] == ["30.00", "20.00"]
    assert [(row["seed_sd"], row["stability"]) for row in shown(sweep, "stability")] == [("n/a", "n/a")] * 2
    (row,) = shown(sweep, "comparison")
    assert (row["difference"], row["won"], row["p_value"]) == ("10.00", "1 of 1", "1.000")
    assert row["verdict"] == "too few seeds"


def test_one_epoch_has_no_auc_and_no_tail(tmp_path):
    """Neither an area nor a tail."""
    curves, facts, _ = BAD["one epoch"]
    sweep = sweep_of(tmp_path, curves, **facts)
    assert [row["auc"] for row in shown(sweep, "convergence")] == ["n/a", "n/a"]
    assert [row["tail_sd"] for row in shown(sweep, "stability")] == ["n/a", "n/a"]
    assert {row["epoch"] for row in shown(sweep, "adam")} == {"1"}


def test_what_diverged_ends_at_chance_and_is_not_stable(tmp_path):
    curves, facts, _ = BAD["all diverged"]
    sweep = sweep_of(tmp_path, curves, **facts)
    for row in shown(sweep, "convergence"):
        assert row["final_val_acc"] == "0 of 2 trained; 2 at chance"
        assert {row[key] for key in ("epochs_to_target", "hits", "speed", "seconds_to_target")} == {"n/a"}
    for row in shown(sweep, "stability"):
        assert (row["diverged"], row["at_chance"], row["stability"]) == ("100", "100", "n/a")


def test_one_configuration_is_compared_with_nothing(tmp_path):
    curves, facts, _ = BAD["one configuration"]
    assert not {"comparison", "profile", "schedulers"} & report_tables(sweep_of(tmp_path, curves, **facts)).keys()
