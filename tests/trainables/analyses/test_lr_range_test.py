"""A range test trains as a plain loop with a given learning rate, and changes no object of its caller."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from search_spaces import Run
from search_spaces.errors import SpecError
from tests.trainables.small_runs import CPU, FLOAT32, FLOAT64, make_run
from trainables.analyses.lr_range_test import RateRange, range_test
from trainables.data import augmentation
from trainables.data.dataset import DataSet
from trainables.models.lenet import LeNet5, initial_parameters
from trainables.optim.optimizers import OPTIMIZERS
from trainables.training.batches import Batches

RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"lr": 0.05}),
    "Nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "Adam": ("Adam", {"lr": 0.003}),
}


def plain_range_test(run: Run, data: DataSet, rates: list[float]) -> tuple[list[float], list[float]]:
    """An ordinary module and optimizer: the loss of each step, and the distance from the start after it."""
    dtype = getattr(torch, run.protocol.dtype)
    batches = Batches(data, [run.seed], run.protocol, CPU)
    model = LeNet5().to(dtype)
    model.load_state_dict(initial_parameters(run.seed, dtype))
    start = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    params = {key: value for key, value in run.configuration.optimizer_params.items() if key != "lr"}
    optimizer = OPTIMIZERS[run.configuration.optimizer](model.parameters(), lr=1.0, **params)  # type: ignore[call-arg]
    losses, moved = [], []
    for step, rate in enumerate(rates):
        batch = batches.batch(1 + step // batches.steps, step % batches.steps)
        assert batch.masks is not None
        logits = model(augmentation.normalise(batch.images[0], dtype), (batch.masks[0][0], batch.masks[1][0]))
        loss = F.cross_entropy(logits, batch.labels[0])
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        losses.append(loss.item())
        moved.append((torch.nn.utils.parameters_to_vector(model.parameters()) - start).norm().item())
    return losses, moved


def test_the_whole_curve_is_that_of_a_plain_loop_with_its_rate_set_by_hand(data: DataSet) -> None:
    """25 steps are two epochs and a half: three optimizers together, each against its own loop."""
    runs = [make_run(name, protocol=FLOAT64, seed=3, **params) for name, params in RULES.values()]
    found = range_test(runs, data, CPU, RateRange(1e-5, 0.02, 25))
    rates = [1e-5 * (0.02 / 1e-5) ** (i / 24) for i in range(25)]
    np.testing.assert_allclose(found.lr, rates, rtol=1e-12)
    assert (found.lr[0], found.lr[-1]) == (1e-5, 0.02)
    for k, run in enumerate(runs):
        losses, moved = plain_range_test(run, data, rates)
        np.testing.assert_allclose(found.loss[k], losses, rtol=1e-9)
        np.testing.assert_allclose(found.moved[k], moved, rtol=1e-9)


def test_one_plain_sgd_step_moves_the_weights_by_rate_times_gradient(data: DataSet) -> None:
    """So that the rate is the one that the optimizer used, not only the one that is reported."""
    run = make_run("SGD", protocol=FLOAT64, lr=123.0)
    small, large = (range_test([run], data, CPU, RateRange(a, 1.0, 2)).moved[0, 0] for a in (1e-6, 1e-3))
    assert large == pytest.approx(1000 * small, rel=1e-9)
    assert small > 0


def test_schedule_warmup_and_own_rate_do_not_count(data: DataSet) -> None:
    """A warm-up and a scheduler that steps with every batch would each set the rate back."""
    plain = make_run("SGD", lr=0.05, momentum=0.9, protocol=FLOAT64)
    cyclic = {"step_size_up": 2, "base_lr": 1e-3, "max_lr": 1.0, "cycle_momentum": False}
    others = [
        make_run("SGD", "CyclicLR", lr=0.3, momentum=0.9, protocol=FLOAT64, scheduler_params=cyclic),
        make_run("SGD", "ExponentialLR", lr=7.0, momentum=0.9, protocol=FLOAT64, scheduler_params={"gamma": 0.1}),
        make_run("SGD", lr=0.01, momentum=0.9, protocol=FLOAT64, warmup=2),
    ]
    found = range_test([plain, *others], data, CPU, RateRange(1e-4, 0.1, 15))
    for k in range(1, 4):
        np.testing.assert_allclose(found.loss[k], found.loss[0], rtol=1e-10)


def test_it_starts_from_given_weights_and_leaves_them_as_they_were(data: DataSet) -> None:
    run = make_run("Adam", seed=0)
    given = initial_parameters(9, torch.float32)
    before = {name: tensor.clone() for name, tensor in given.items()}
    found = range_test([run], data, CPU, RateRange(1e-3, 1.0, 5), weights=[given])
    assert all(torch.equal(given[name], before[name]) for name in before)
    assert found.moved[0, -1] > 1

    batch = Batches(data, [0], FLOAT32, CPU).batch(1, 0)
    assert batch.masks is not None
    model = LeNet5()
    model.load_state_dict(given)
    logits = model(augmentation.normalise(batch.images[0]), (batch.masks[0][0], batch.masks[1][0]))
    assert found.loss[0, 0] == pytest.approx(F.cross_entropy(logits, batch.labels[0]).item(), rel=1e-5)
    assert found.loss[0, 0] != pytest.approx(range_test([run], data, CPU, RateRange(steps=2)).loss[0, 0], rel=1e-5)


def test_a_diverged_run_is_nan_from_there_on_and_the_other_continues(data: DataSet) -> None:
    wild, calm = make_run("SGD", lr=0.1, protocol=FLOAT64), make_run("Adam", lr=0.1, protocol=FLOAT64)
    found = range_test([wild, calm], data, CPU, RateRange(1e-3, 1e20, 30))
    known = np.isfinite(found.loss)
    burst = int(known[0].argmin())
    assert 0 < burst < 25
    assert known[0, :burst].all()
    assert not known[0, burst:].any()
    assert np.isnan(found.moved[0, burst:]).all()
    alone = range_test([calm], data, CPU, RateRange(1e-3, 1e20, 30))
    np.testing.assert_allclose(found.loss[1, : burst + 3], alone.loss[0, : burst + 3], rtol=1e-6)
    assert np.isfinite(found.moved[1, : burst + 3]).all()


def test_it_ends_early_if_every_run_diverged_and_reports_its_progress(data: DataSet) -> None:
    told: list[tuple[int, int]] = []
    run = make_run("SGD", lr=0.1)
    found = range_test([run], data, CPU, RateRange(1e20, 1e30, 20), on_progress=lambda *x: told.append(x))
    taken = int(np.isfinite(found.loss).sum())
    assert told == [*((i, 20) for i in range(1, taken + 1)), (20, 20)]
    assert found.loss.shape == found.moved.shape == (1, 20)
    assert taken < 5


def test_progress_is_reported_at_every_step(data: DataSet) -> None:
    told: list[int] = []
    range_test([make_run()], data, CPU, RateRange(steps=12), on_progress=lambda done, _: told.append(done))
    assert told == list(range(1, 13))


def test_dropout_free_protocols_are_tested_too(data: DataSet) -> None:
    run = make_run("SGD", protocol=replace(FLOAT32, dropout=0.0), lr=0.1)
    assert np.isfinite(range_test([run], data, CPU, RateRange(lr_to=1e-3, steps=3)).loss).all()


@pytest.mark.parametrize(
    ("ends", "line"),
    [
        ({"lr_from": 10, "lr_to": 1e-7}, r"^--from: 10 is not below --to 1e-07"),
        ({"lr_from": 0.1, "lr_to": 0.1}, r"^--from: 0\.1 is not below --to 0\.1"),
        ({"lr_from": 0.0}, r"^--from: 0; a learning rate is"),
        ({"lr_from": -1.0}, r"^--from: -1; a learning rate is"),
        ({"lr_from": math.nan}, r"^--from: nan; a learning rate is"),
        ({"lr_to": math.inf}, r"^--to: inf; a learning rate is"),
        ({"steps": 1}, r"^--steps: 1; 2 .one for each bound"),
    ],
)
def test_invalid_bounds_and_steps_are_named(ends: dict[str, Any], line: str, data: DataSet) -> None:
    with pytest.raises(SpecError, match=line):
        range_test([make_run()], data, CPU, RateRange(**ends))
