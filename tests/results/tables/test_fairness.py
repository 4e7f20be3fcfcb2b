"""The fairness lint: a fair sweep passes, and each unfair one has its warning."""

from __future__ import annotations

from dataclasses import replace

import pytest

from results.ledger.arrays import SweepData
from results.reports.registry import report_tables
from search_spaces import Configuration
from tests.results.hand_worked import (
    rate_grid,
    replace_lr,
)
from tests.results.ledger_sweeps import ADAM, MOMENTUM, climb, sweep_of

OWN = Configuration("mine:New", {"lr": 0.01, "momentum": 0.9})
"""The defaults of its class are unknown to its label."""


def findings(sweep: SweepData) -> dict[str, tuple[str, str]]:
    return {
        str(row.values["check"]): (str(row.values["finding"]), str(row.values["detail"]))
        for row in report_tables(sweep)["fairness"].rows
    }


def test_a_fair_sweep_passes_every_check(tmp_path):
    finals = {0.01: tuple(range(10, 17)), 0.1: tuple(range(20, 27)), 1.0: tuple(range(5, 12))}
    assert set(findings(rate_grid(tmp_path, finals)).values()) == {("ok", "–")}


@pytest.mark.parametrize(
    ("curves", "facts", "check", "detail"),
    [
        ({MOMENTUM: [climb(9)], replace_lr(MOMENTUM, 0.1): [climb(9)], ADAM: [climb(9)]}, {},
         "equal numbers of learning rates", "1 to 2 learning rates per optimizer"),
        ({MOMENTUM: [climb(9)], ADAM: [climb(9)]}, {}, "more than one learning rate per optimizer",
         "one learning rate per optimizer"),
        ({MOMENTUM: [climb(9)] * 7, ADAM: [climb(9)] * 6}, {}, "equal numbers of seeds",
         "6 to 7 runs with a result"),
        ({MOMENTUM: [climb(9)] * 2}, {}, "enough seeds for the comparisons",
         "at most 2 seeds"),
        ({replace_lr(MOMENTUM, rate): [climb(9)] for rate in (0.1, 0.2, 0.3)} | {ADAM: [climb(9)]}, {},
         "equal tuning per optimizer", "SGD 3, Adam 1"),
        ({replace_lr(MOMENTUM, rate): [climb(9)] for rate in (0.1, 0.2)}, {},
         "best learning rate inside its grid", "no interior"),
        ({OWN: [climb(9)], ADAM: [climb(9)]}, {}, "labels show all settings", "New lr=0.01 (momentum=0.9)"),
        ({MOMENTUM: [climb(9)], replace_lr(MOMENTUM, 0.1): [climb(8)], replace_lr(MOMENTUM, 1.0): [climb(7)]}, {},
         "best learning rate inside its grid", "SGD lr=0.01 momentum=0.9 is best at the lowest of its 3"),
        ({MOMENTUM: [climb(9), []], ADAM: [[], climb(9)]}, {}, "runs paired by seed",
         "different seeds"),
        ({Configuration("SGD", {"lr": 0.1}, "StepLR"): [climb(9)]}, {}, "learning rate tuned for each scheduler",
         "SGD lr=0.1 · StepLR has one learning rate"),
        ({MOMENTUM: [climb(9), climb(9)[:2]]}, {"failed": {(MOMENTUM, 1)}}, "no run without a result",
         "SGD lr=0.01 momentum=0.9: 1 of 2 (1 failed)"),
    ],
)  # fmt: skip
def test_the_lint_finds_what_is_unfair(tmp_path, curves, facts, check, detail):
    finding, text = findings(sweep_of(tmp_path, curves, **facts))[check]
    assert finding == "warning"
    assert detail in text


def test_the_lint_finds_mixed_devices(hand_sweep):
    sweep = replace(hand_sweep, devices=("cpu", "cuda:H200"))
    finding, text = findings(sweep)["one kind of device"]
    assert (finding, text[:14]) == ("warning", "cpu, cuda:H200")
