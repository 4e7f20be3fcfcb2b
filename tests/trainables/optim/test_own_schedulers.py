"""Schedulers of a user: functions with arguments, expressions in classes, and those of timm."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.optim import Optimizer, lr_scheduler

from search_spaces import Configuration
from search_spaces.errors import SpecError
from trainables.optim.planning_trial import why_not_resumed
from trainables.optim.schedule import Schedule
from trainables.optim.validation import complete_configuration

HERE = "tests.trainables.optim.test_own_schedulers"
EPOCHS, STEPS, LR = 6, 5, 0.4


def decayed(epoch: int, half_life: float, floor: float = 0.0, steep: bool = False) -> float:
    return max(floor, 0.5 ** (epoch / half_life * (1 + steep)))


class Ramp(lr_scheduler.LRScheduler):
    """Falls linearly to 0 in ``length`` calls of ``step``."""

    def __init__(self, optimizer: Optimizer, length: int, unit: str = "epochs", last_epoch: int = -1) -> None:
        self.length, self.unit = length, unit
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * max(0.0, 1 - self.last_epoch / self.length) for base in self.base_lrs]


def completed(name: str, packages: tuple[str, ...] = (), **params: Any) -> Configuration:
    raw = Configuration("SGD", {"lr": LR, "momentum": 0.9}, name, params)
    return complete_configuration(raw, EPOCHS, STEPS, "test", packages)


def sgd() -> torch.optim.Optimizer:
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    return torch.optim.SGD([parameter], lr=LR, momentum=0.9)


def rates(name: str, params: Any, first: int = 0, last: int = EPOCHS * STEPS, state: Any = None) -> list[float]:
    """The learning rate of every batch from ``first`` on, after ``state`` was loaded."""
    optimizer = sgd()
    schedule = Schedule(name, params, optimizer, 0)
    if state is not None:
        schedule.load_state_dict(state[0])
        optimizer.load_state_dict(state[1])
    used = []
    for t in range(first, last):
        used.append(schedule.lr)
        optimizer.step()
        schedule.after_batch()
        if (t + 1) % STEPS == 0:
            schedule.after_epoch(1.0)
    rates.state = schedule.state_dict(), optimizer.state_dict()  # type: ignore[attr-defined]
    return used


def test_a_function_gets_the_arguments_that_are_given_beside_it() -> None:
    params = completed("LambdaLR", lr_lambda=f"{HERE}:decayed", half_life="0.5 epochs", floor=0.3).scheduler_params
    assert params == {"lr_lambda": f"{HERE}:decayed", "half_life": 3, "floor": 0.3}
    expected = [LR * max(0.3, 0.5 ** (epoch / 3)) for epoch in range(EPOCHS)]
    assert rates("LambdaLR", params)[::STEPS] == pytest.approx(expected, rel=1e-12)


def test_a_function_resumes_with_its_arguments_as_part_of_a_sequence() -> None:
    parts = [
        {"name": "ConstantLR", "factor": 0.5, "total_iters": 100},
        {"name": "LambdaLR", "lr_lambda": f"{HERE}:decayed", "half_life": 2},
    ]
    found = completed("SequentialLR", schedulers=parts, milestones=[2])
    expected = [LR * 0.5] * 2 + [LR * 0.5 ** (epoch / 2) for epoch in range(4)]
    assert rates("SequentialLR", found.scheduler_params)[::STEPS] == pytest.approx(expected, rel=1e-12)
    assert why_not_resumed(found, torch.float32, "test") == ""


def test_defaults_of_a_function_are_not_part_of_a_configuration() -> None:
    """So that ids of runs with a function do not change when it gets another parameter with a default."""
    assert "floor" not in completed("LambdaLR", lr_lambda=f"{HERE}:decayed", half_life=2).scheduler_params


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({}, "scheduler.half_life: missing"),
        ({"half_life": 2, "tail": 1}, "scheduler.tail: unknown parameter; valid: floor = 0.0, half_life = (required)"),
        ({"half_life": 2, "floor": "low"}, "scheduler.floor: 'low'; a number"),
    ],
)
def test_a_missing_or_unknown_argument_of_a_function_is_named(params: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError) as error:
        completed("LambdaLR", lr_lambda=f"{HERE}:decayed", **params)
    assert told in str(error.value)


@pytest.mark.parametrize(("length", "interval", "calls"), [("0.5 epochs", "epoch", 3), ("steps", "batch", 30)])
def test_any_parameter_of_a_users_class_may_be_an_expression(length: str, interval: str, calls: int) -> None:
    params = completed(f"{HERE}:Ramp", length=length, interval=interval).scheduler_params
    assert params["length"] == calls
    every = STEPS if interval == "epoch" else 1
    expected = [LR * max(0.0, 1 - t // every / calls) for t in range(EPOCHS * STEPS)]
    assert rates(f"{HERE}:Ramp", params) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_a_default_that_looks_like_an_expression_stays_the_classs() -> None:
    assert "unit" not in completed(f"{HERE}:Ramp", length=3).scheduler_params


def test_a_class_that_needs_an_argument_names_it() -> None:
    with pytest.raises(SpecError, match=r"scheduler\.length: missing"):
        completed(f"{HERE}:Ramp")


TIMM: dict[str, dict[str, Any]] = {
    "CosineLRScheduler": {"t_initial": "epochs", "lr_min": 0.01, "warmup_t": 2, "warmup_lr_init": 0.05},
    "PolyLRScheduler": {"t_initial": "epochs", "power": 0.9},
    "StepLRScheduler": {"decay_t": 2, "decay_rate": 0.5, "noise_range_t": [1, 4], "noise_seed": 3},
    "TanhLRScheduler": {"t_initial": "epochs"},
    "MultiStepLRScheduler": {"decay_t": [2, 4], "decay_rate": 0.1},
}


@pytest.mark.parametrize("interval", ["epoch", "batch"])
@pytest.mark.parametrize("name", TIMM)
def test_timms_schedulers_give_the_rates_of_timms_own_loop_and_resume(name: str, interval: str) -> None:
    timm = pytest.importorskip("timm.scheduler", reason="timm is optional: pip install -e '.[schedulers]'")
    given = dict(TIMM[name])
    if interval == "batch":
        given = {key: "steps" if value == "epochs" else value for key, value in given.items()} | {"interval": "batch"}
    full = f"timm.scheduler:{name}"
    found = completed(full, ("timm",), **given)
    every = STEPS if interval == "epoch" else 1
    plain = {key: EPOCHS * STEPS // every if value in ("epochs", "steps") else value for key, value in given.items()}
    plain.pop("interval", None)
    optimizer, expected = sgd(), []
    theirs = getattr(timm, name)(optimizer, **plain, t_in_epochs=interval == "epoch")
    for t in range(EPOCHS * STEPS):
        expected.append(optimizer.param_groups[0]["lr"])
        if (t + 1) % every == 0:
            (theirs.step if interval == "epoch" else theirs.step_update)((t + 1) // every)
    whole = rates(full, found.scheduler_params)
    assert whole == pytest.approx(expected, rel=1e-12)
    assert len(set(whole)) > 2
    assert not any(math.isnan(rate) for rate in whole)
    rates(full, found.scheduler_params, 0, 13)
    assert rates(full, found.scheduler_params, 13, state=rates.state) == whole[13:]  # type: ignore[attr-defined]
    assert why_not_resumed(found, torch.float32, "test") == ""


def test_timms_plateau_names_the_scheduler_to_use() -> None:
    pytest.importorskip("timm.scheduler", reason="timm is optional: pip install -e '.[schedulers]'")
    with pytest.raises(SpecError, match=r"PlateauLRScheduler.*ReduceLROnPlateau"):
        completed("timm.scheduler:PlateauLRScheduler", ("timm",))


def test_a_missing_argument_of_timm_is_named() -> None:
    pytest.importorskip("timm.scheduler", reason="timm is optional: pip install -e '.[schedulers]'")
    with pytest.raises(SpecError, match=r"scheduler\.t_initial: missing"):
        completed("timm.scheduler:CosineLRScheduler", ("timm",))
