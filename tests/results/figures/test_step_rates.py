"""The learning rates of a figure are those of each step: of PyTorch's own schedulers, and of the ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from results.figures.rate_data import learning_rate_table
from results.ledger.arrays import SweepData
from results.metrics.step_rates import step_rates
from search_spaces import Configuration
from tests.results.figure_sweeps import made_up_sweep
from trainables.optim.schedule import Schedule

STEPS = 40  # per epoch
EPOCHS = 5
CYCLES = {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 23, "step_size_down": None, "cycle_momentum": False}
ONE_CYCLE = {"max_lr": 0.1, "total_steps": 180, "cycle_momentum": False}
SCHEDULES: dict[str, tuple[str, dict[str, Any], float]] = {
    "triangular": ("CyclicLR", {**CYCLES, "mode": "triangular"}, 0),
    "triangular2": ("CyclicLR", {**CYCLES, "mode": "triangular2", "step_size_down": 11}, 0),
    "exp_range": ("CyclicLR", {**CYCLES, "mode": "exp_range", "gamma": 0.99}, 0.5),
    "cosine": ("OneCycleLR", {**ONE_CYCLE, "total_steps": 200}, 0),
    "linear after a warm-up": ("OneCycleLR", {**ONE_CYCLE, "anneal_strategy": "linear", "pct_start": 0.25}, 0.5),
    "three phases": ("OneCycleLR", {**ONE_CYCLE, "total_steps": 200, "three_phase": True, "div_factor": 10}, 0),
    "steps": ("StepLR", {"step_size": 2, "gamma": 0.1}, 0),
    "steps after a warm-up": ("StepLR", {"step_size": 2, "gamma": 0.1}, 1.5),
    "constant": ("none", {}, 0),
}


def used(scheduler: str, params: dict[str, Any], warmup: float) -> np.ndarray:
    """The rates ``[EPOCHS, STEPS]`` that training uses."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = Schedule(scheduler, params, optimizer, round(warmup * STEPS))
    rates = np.empty((EPOCHS, STEPS))
    for epoch in range(EPOCHS):
        for step in range(STEPS):
            rates[epoch, step] = schedule.lr
            schedule.note_step()
            schedule.after_batch()
        schedule.after_epoch(1.0)
    return rates


def trained_with(scheduler: str, params: dict[str, Any], warmup: float, batch_size: int = 100) -> SweepData:
    """A sweep of one configuration with these rates; 4,000 images are for training."""
    rates = used(scheduler, params, warmup)
    sweep = made_up_sweep(1, 2, EPOCHS)
    group = sweep.configurations[0]
    measured = {"lr": rates.mean(axis=1), "lr_first": rates[:, 0], "lr_last": rates[:, -1]}
    curves = group.curves | {key: np.stack([values, values]) for key, values in measured.items()}
    configuration = Configuration("SGD", {"lr": 0.1}, scheduler, params, warmup)
    protocol = {"batch_size": batch_size, "val_fraction": 0.2}
    facts = replace(sweep.facts, val_images=1000)
    group = replace(group, curves=curves, configuration=configuration)
    return replace(sweep, configurations=(group,), protocol=protocol, facts=facts)


@pytest.mark.parametrize("name", [name for name, (scheduler, *_) in SCHEDULES.items() if scheduler[-3:] != "pLR"])
def test_the_formulas_are_those_of_torch(name: str) -> None:
    scheduler, params, warmup = SCHEDULES[name]
    found = step_rates(scheduler, params, round(warmup * STEPS), STEPS * EPOCHS)
    if scheduler == "none":
        assert found is None
    else:
        assert found == pytest.approx(used(scheduler, params, warmup).ravel(), rel=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_line_has_the_rate_of_every_step(name: str) -> None:
    table = learning_rate_table(trained_with(*SCHEDULES[name]))
    assert table is not None
    x, y = (np.array([row.values[key] for row in table.rows], dtype=float) for key in ("epoch", "value"))
    rates = used(*SCHEDULES[name])
    for step in range(STEPS * EPOCHS):
        inside = (step + (0.5 if SCHEDULES[name][0] in ("StepLR", "none") else 0)) / STEPS  # steps jump at the border
        tolerance = 0.02 if "warm-up" in name else 1e-6  # a warm-up is a line in place of stairs of one step
        assert np.interp(inside, x, y) == pytest.approx(rates.ravel()[step], rel=tolerance, abs=tolerance * 0.06), step
    assert not any("straight" in note for note in table.notes)


def test_cycles_are_cycles_and_steps_are_steps() -> None:
    cycles = learning_rate_table(trained_with(*SCHEDULES["triangular"]))
    steps = learning_rate_table(trained_with(*SCHEDULES["steps"]))
    assert cycles is not None
    assert steps is not None
    rates = np.array([row.values["value"] for row in cycles.rows], dtype=float)
    assert ((rates[1:-1] > rates[:-2]) & (rates[1:-1] > rates[2:])).sum() == 4  # 200 steps with a period of 46
    corners = np.array([[row.values["epoch"], row.values["value"]] for row in steps.rows], dtype=float)
    assert corners[2:6] == pytest.approx(np.array([[1, 0.1], [2, 0.1], [2, 0.01], [3, 0.01]]))


def test_rates_that_the_formula_does_not_give_are_straight_with_a_note() -> None:
    """The number of steps of an epoch is not that of the ledger's data."""
    table = learning_rate_table(trained_with(*SCHEDULES["triangular"], batch_size=64))
    assert table is not None
    rates = used(*SCHEDULES["triangular"])
    line = np.array([[row.values["epoch"], row.values["value"]] for row in table.rows], dtype=float)
    assert line[:3] == pytest.approx(np.array([[0, rates[0, 0]], [1, rates[0, -1]], [1, rates[1, 0]]]))
    assert len(line) == 2 * EPOCHS
    assert any("straight" in note for note in table.notes)


def test_runs_with_different_rates_have_a_line_each() -> None:
    sweep = trained_with(*SCHEDULES["steps"])
    group = sweep.configurations[0]
    other = {key: group.curves[key] * np.array([[1.0], [2.0]]) for key in ("lr", "lr_first", "lr_last")}
    changed = replace(sweep, configurations=(replace(group, curves=group.curves | other),))
    for one, runs in ((sweep, {-1: 2}), (changed, {0: 1, 1: 1})):
        table = learning_rate_table(one)
        assert table is not None
        assert {row.values["run"]: len(row.run_ids) for row in table.rows} == runs
        assert any("each run is a line" in note for note in table.notes) == (len(runs) > 1)
