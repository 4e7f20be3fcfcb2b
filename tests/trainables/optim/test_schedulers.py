"""A schedule gives each batch the rate that PyTorch's scheduler gives it, with a warm-up before any of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from search_spaces import Configuration
from search_spaces.errors import SpecError, UnknownNameError
from trainables.optim.schedule import Schedule
from trainables.optim.schedulers import SCHEDULERS, complete_scheduler
from trainables.optim.validation import complete_configuration

EPOCHS, STEPS, LR = 6, 5, 0.4

PARAMS: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [2, 4]},
    "ExponentialLR": {"gamma": 0.9},
    "LambdaLR": {"lr_lambda": "inverse_time"},
    "LinearLR": {"total_iters": 4},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "CyclicLR": {"step_size_up": 7, "mode": "triangular2"},
    "ReduceLROnPlateau": {"patience": 1, "factor": 0.5},
    "MultiplicativeLR": {"lr_lambda": "tests.trainables.own_rules:falls"},
    "SequentialLR": {
        "schedulers": [
            {"name": "ConstantLR", "factor": 0.5, "total_iters": 1},
            {"name": "MultiStepLR", "milestones": [1, 3]},
            {"name": "CosineAnnealingLR"},
        ],
        "milestones": [1, 4],
    },
    "ChainedScheduler": {
        "schedulers": [
            {"name": "LinearLR", "total_iters": 3},
            {"name": "MultiStepLR", "milestones": [2, 4]},
            {"name": "LambdaLR", "lr_lambda": "inverse_time"},
        ],
    },
}


def sgd(momentum: float = 0.9) -> torch.optim.Optimizer:
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    return torch.optim.SGD([parameter], lr=LR, momentum=momentum)


def resolved(name: str, warmup: float = 0, **params: Any) -> dict[str, Any]:
    raw = Configuration("SGD", {"lr": LR, "momentum": 0.9}, name, params, warmup)
    return dict(complete_configuration(raw, EPOCHS, STEPS, "test").scheduler_params)


def val_loss(epoch: int) -> float:
    """A loss that decreases and then stays constant: a plateau."""
    return max(1.0, 3.0 - epoch)


def rates(name: str, params: dict[str, Any], warmup_steps: int = 0) -> list[float]:
    """The rate of every batch, as the training loop would use it."""
    optimizer = sgd()
    schedule = Schedule(name, params, optimizer, warmup_steps)
    used = []
    for epoch in range(EPOCHS):
        for _ in range(STEPS):
            used.append(schedule.lr)
            optimizer.step()
            schedule.after_batch()
        schedule.after_epoch(val_loss(epoch))
    return used


def plain_scheduler(optimizer: torch.optim.Optimizer, name: str, params: dict[str, Any]) -> Any:
    """PyTorch's scheduler as a user would create it."""
    keywords = dict(params)
    if name == "LambdaLR":
        keywords = {"lr_lambda": lambda epoch: 1 / (1 + 0.1 * epoch)}
    if name == "MultiplicativeLR":
        keywords = {"lr_lambda": lambda epoch: 0.8}
    if "schedulers" in params:
        parts = [dict(part) for part in params["schedulers"]]
        keywords["schedulers"] = [plain_scheduler(optimizer, part.pop("name"), part) for part in parts]
    if name == "ChainedScheduler":
        return lr_scheduler.ChainedScheduler(keywords["schedulers"], optimizer)
    return getattr(lr_scheduler, name)(optimizer, **keywords)


def by_hand(name: str, params: dict[str, Any]) -> list[float]:
    """The same by an ordinary PyTorch loop."""
    optimizer = sgd()
    scheduler = plain_scheduler(optimizer, name, params)
    used = []
    for epoch in range(EPOCHS):
        for _ in range(STEPS):
            used.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if SCHEDULERS[name].interval == "batch":
                scheduler.step()
        if SCHEDULERS[name].interval == "val_loss":
            scheduler.step(val_loss(epoch))
        elif SCHEDULERS[name].interval == "epoch":
            scheduler.step()
    return used


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_registered_scheduler_gives_pytorchs_own_rates(name: str) -> None:
    params = resolved(name, **PARAMS.get(name, {}))
    ours = rates(name, params)
    assert ours == pytest.approx(by_hand(name, params), rel=1e-12)
    assert len(set(ours)) > 1


def test_a_part_of_a_sequence_has_the_epochs_between_its_milestones() -> None:
    """A cosine from epoch 4 of 6 reaches its minimum after 2 epochs."""
    parts = resolved("SequentialLR", **PARAMS["SequentialLR"])["schedulers"]
    assert [part.get("T_max") for part in parts] == [None, None, EPOCHS - 4]
    assert resolved("ChainedScheduler", schedulers=[{"name": "CosineAnnealingLR"}])["schedulers"][0]["T_max"] == EPOCHS


@pytest.mark.parametrize("name", ["OneCycleLR", "CyclicLR", "StepLR", "LambdaLR", "ReduceLROnPlateau", "SequentialLR"])
def test_a_class_of_pytorch_named_by_its_module_keeps_its_interval(name: str) -> None:
    params = PARAMS.get(name, {})
    module = f"torch.optim.lr_scheduler:{name}"
    full = resolved(module, **params)
    assert full == resolved(name, **params)
    assert rates(module, full) == rates(name, full)


@pytest.mark.parametrize(
    ("given", "interval"), [({}, "epoch"), ({"interval": "epoch"}, "epoch"), ({"interval": "batch"}, "batch")]
)
def test_a_users_class_steps_at_the_interval_of_the_spec(given: dict[str, Any], interval: str) -> None:
    """Once per epoch by default; the default is not part of the run's id."""
    full = resolved("tests.trainables.own_rules:KeepsALambda", **given)
    assert full == {"gamma": 0.9} | ({"interval": "batch"} if interval == "batch" else {})
    used = rates("tests.trainables.own_rules:KeepsALambda", full)
    counts = range(EPOCHS * STEPS)
    expected = [LR * 0.9 ** (t if interval == "batch" else t // STEPS) for t in counts]
    assert used == pytest.approx(expected, rel=1e-12)


def test_without_a_scheduler_the_rate_is_constant() -> None:
    assert rates("none", {}) == [LR] * (EPOCHS * STEPS)


@pytest.mark.parametrize("name", ["none", *SCHEDULERS])
def test_a_warm_up_rises_linearly_and_then_the_scheduler_begins(name: str) -> None:
    """Over one epoch: (t + 1)/W of the first rate; after it, what the scheduler alone gives."""
    params = {} if name == "none" else resolved(name, warmup=1, **PARAMS.get(name, {}))
    if name == "OneCycleLR":
        params["total_steps"] = EPOCHS * STEPS  # what the schedule alone takes
    alone = rates(name, params)
    ours = rates(name, params, warmup_steps=STEPS)
    assert ours[:STEPS] == pytest.approx([alone[0] * (t + 1) / STEPS for t in range(STEPS)])
    if name == "ReduceLROnPlateau":  # its rates depend on the losses, which differ between the two runs
        assert ours[STEPS] == alone[0]
        assert ours[-1] < alone[0]
    else:
        assert ours[STEPS:] == pytest.approx(alone[:-STEPS], rel=1e-12)


@pytest.mark.parametrize("name", ["OneCycleLR", "CyclicLR"])
@pytest.mark.parametrize("momentum", [0.5, 0.9, 0.99])
def test_a_schedule_keeps_the_momentum_of_the_configuration(name: str, momentum: float) -> None:
    """PyTorch's default replaces it, so that three momenta would give three equal rows."""
    optimizer = sgd(momentum)
    schedule = Schedule(name, resolved(name), optimizer, 0)
    for _ in range(7):
        optimizer.step()
        schedule.after_batch()
        assert optimizer.param_groups[0]["momentum"] == momentum


def test_momentum_is_cycled_where_its_ends_are_given() -> None:
    optimizer = sgd()
    Schedule("OneCycleLR", resolved("OneCycleLR", base_momentum=0.8, max_momentum=0.95), optimizer, 0)
    assert optimizer.param_groups[0]["momentum"] == 0.95


@pytest.mark.parametrize("warmup", [0, 0.5, 1, 1.5, 2.5])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_last_epoch_trains_and_the_schedule_ends_where_it_says(name: str, warmup: float) -> None:
    """Every batch has a rate above 0; the schedules that fall to 0 reach it one step after the last batch."""
    params = dict(PARAMS.get(name, {}))
    if name == "LambdaLR":
        params = {"lr_lambda": "polynomial"}
    if name == "LinearLR":
        params = {"start_factor": 1.0, "end_factor": 0.0, "total_iters": "epochs"}
    full = resolved(name, warmup, **params)
    optimizer = sgd()
    schedule = Schedule(name, full, optimizer, round(warmup * STEPS))
    for epoch in range(EPOCHS):
        for _ in range(STEPS):
            assert schedule.lr > 0, (epoch, full)
            optimizer.step()
            if name != "OneCycleLR" or schedule.batches < EPOCHS * STEPS - 1:  # PyTorch's raises after its last step
                schedule.after_batch()
        schedule.after_epoch(val_loss(epoch))
    if name in ("CosineAnnealingLR", "PolynomialLR", "LinearLR", "LambdaLR"):
        assert schedule.lr == pytest.approx(0, abs=1e-12)


def test_a_plateau_that_should_rise_is_refused() -> None:
    with pytest.raises(SpecError, match=r"scheduler\.mode: 'max'.*validation loss.*\"min\""):
        resolved("ReduceLROnPlateau", mode="max")


@pytest.mark.parametrize(
    ("name", "params", "epochs", "expected"),
    [
        ("CosineAnnealingLR", {}, 50, {"T_max": 50}),
        ("StepLR", {"step_size": "0.3 epochs"}, 50, {"step_size": 15}),
        ("StepLR", {"step_size": "0.3 epochs"}, 3, {"step_size": 1}),
        ("MultiStepLR", {"milestones": ["0.5 epochs", "0.8 epochs"]}, 50, {"milestones": [25, 40]}),
        ("MultiStepLR", {"milestones": ["0.5 epochs", "0.8 epochs"]}, 3, {"milestones": [2, 3]}),
        ("CyclicLR", {"step_size_up": "0.02841 steps"}, 50, {"step_size_up": 500, "base_lr": 0.1 * LR, "max_lr": 0.4}),
        ("OneCycleLR", {}, 50, {"total_steps": 17_600, "max_lr": 0.4}),
    ],
)
def test_expressions_follow_the_length_of_the_sweep(
    name: str, params: dict[str, Any], epochs: int, expected: dict[str, Any]
) -> None:
    raw = Configuration("SGD", {"lr": LR, "momentum": 0.9}, name, params)
    found = complete_configuration(raw, epochs, 352, "test").scheduler_params
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("optimizer", "name", "params", "told"),
    [
        ({}, "StepLR", {}, "scheduler.step_size: missing; it has no default"),
        ({}, "StepLR", {"step_size": 0}, "scheduler.step_size: 0; a whole number, at least 1"),
        ({}, "StepLR", {"step_size": 1.5}, "scheduler.step_size: 1.5; a whole number, at least 1"),
        ({}, "StepLR", {"step": 3}, "scheduler.step: unknown parameter; valid: gamma = 0.1, step_size = (required)"),
        ({}, "MultiStepLR", {"milestones": [4, 2]}, "scheduler.milestones: [4, 2];"),
        ({}, "MultiStepLR", {"milestones": []}, "scheduler.milestones: [];"),
        (
            {},
            "LambdaLR",
            {"lr_lambda": "inverse"},
            "scheduler: unknown lr_lambda 'inverse' (did you mean inverse_time?)",
        ),
        ({}, "LambdaLR", {"lr_lambda": "torch:pi"}, "scheduler.lr_lambda: 'torch:pi' is not a function"),
        ({}, "LambdaLR", {"lr_lambda": [[1]]}, "unknown lr_lambda [[1]]"),
        (
            {"momentum": 0.0},
            "CyclicLR",
            {"cycle_momentum": True},
            "scheduler.cycle_momentum: true, but optimizer.momentum is 0",
        ),
        (
            {"momentum": 0.0},
            "OneCycleLR",
            {"max_momentum": 0.9},
            "scheduler.cycle_momentum: true, but optimizer.momentum is 0",
        ),
        ({}, "none", {"gamma": 1}, "scheduler.gamma: unknown parameter"),
        ({}, "StepLR", {"step_size": 2, "interval": "batch"}, "scheduler.interval: unknown parameter"),
        ({}, "tests.trainables.own_rules:HidesState", {"interval": 2}, 'scheduler.interval: 2; "batch" or "epoch"'),
        ({}, "LambdaLR", {"lr_lambda": "tests.trainables.own_rules:raises"}, "SystemExit: epoch 0"),
        ({}, "MultiplicativeLR", {"lr_lambda": "inverse_time"}, "unknown lr_lambda 'inverse_time'"),
        ({}, "SequentialLR", {"schedulers": [], "milestones": []}, "scheduler.schedulers: []; a list of tables"),
        ({}, "ChainedScheduler", {"schedulers": [{"gamma": 1}]}, "scheduler.schedulers[0]: {'gamma': 1} has no name"),
        ({}, "ChainedScheduler", {"schedulers": ["StepLR"]}, "scheduler.schedulers[0].step_size: missing"),
        ({}, "ChainedScheduler", {"schedulers": ["OneCycleLR"]}, "scheduler.schedulers[0]: OneCycleLR does not step"),
        (
            {},
            "ChainedScheduler",
            {"schedulers": ["ReduceLROnPlateau"]},
            "ReduceLROnPlateau does not step",
        ),
        ({}, "ChainedScheduler", {"schedulers": ["none"]}, "'none' cannot be a part of ChainedScheduler"),
        (
            {},
            "SequentialLR",
            {"schedulers": ["ConstantLR", "LinearLR"], "milestones": [1, 2]},
            "scheduler.milestones: [1, 2] for 2 schedulers; 1, where",
        ),
        ({}, "CosineLR", {}, "scheduler: unknown scheduler 'CosineLR'"),
        ({}, "CosineAnnealingLR", {"T_max": "half"}, "scheduler.T_max: 'half'; a number"),
        ({}, "CosineAnnealingLR", {"T_max": 0}, "scheduler.T_max: 0; a whole number, at least 1"),
        ({}, "OneCycleLR", {"total_steps": 3}, 'scheduler.total_steps: 3, the sweep takes 30; use "steps"'),
        ({}, "OneCycleLR", {"max_lr": -1}, "scheduler.max_lr: -1; a learning rate above 0"),
        ({}, "CyclicLR", {"base_lr": 0.5, "max_lr": 0.1}, "scheduler.max_lr: 0.1; a learning rate above base_lr 0.5"),
        ({}, "CyclicLR", {"base_lr": -0.5}, "scheduler CyclicLR: reaches a learning rate of -0.5; 0 or more"),
        ({}, "ExponentialLR", {"gamma": "3 epochs"}, "scheduler.gamma: '3 epochs'; a number"),
        ({}, "ExponentialLR", {"gamma": 1e300}, "scheduler ExponentialLR: reaches a learning rate of 4e+299"),
        ({}, "StepLR", {"step_size": 2, "gamma": -1}, "scheduler StepLR: reaches a learning rate of -0.4; 0 or more"),
        (
            {},
            "LambdaLR",
            {"lr_lambda": "inverse_time", "decay": -1},
            "scheduler: LambdaLR fails: ZeroDivisionError: float division",
        ),
        ({}, "LambdaLR", {"lr_lambda": "inverse_time", "decay": -2}, "scheduler LambdaLR: reaches a learning rate of"),
        ({}, "CosineAnnealingLR", {"eta_min": -1}, "scheduler CosineAnnealingLR: reaches a learning rate of -0.3;"),
    ],
)
def test_an_invalid_schedule_is_refused_with_key_and_value(
    optimizer: dict[str, Any], name: str, params: dict[str, Any], told: str
) -> None:
    raw = Configuration("SGD", {"lr": LR, "momentum": 0.9} | optimizer, name, params)
    with pytest.raises((SpecError, UnknownNameError)) as error:
        complete_configuration(raw, EPOCHS, STEPS, "spec.toml")
    assert told in str(error.value)
    assert str(error.value).startswith("spec.toml")
    assert "\n" not in str(error.value)


def down_to_zero(epoch: int) -> float:
    """Reaches 0 in the last epoch; would be below it in the next one, which is never trained."""
    return 1 - epoch / (EPOCHS - 1)


@pytest.mark.parametrize("warmup", [0, 0.5, 1])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("OneCycleLR", {"anneal_strategy": "linear"}),
        ("OneCycleLR", {"three_phase": True}),
        ("CyclicLR", {"base_lr": 0.0, "max_lr": 0.1}),
        ("LambdaLR", {"lr_lambda": "tests.trainables.optim.test_schedulers:down_to_zero"}),
        ("LambdaLR", {"lr_lambda": "polynomial"}),
        ("PolynomialLR", {"power": 2.0}),
        ("CosineAnnealingLR", {"T_max": 1}),
        ("CosineAnnealingLR", {"T_max": 3, "eta_min": 0.01}),
        ("CosineAnnealingWarmRestarts", {"T_0": 1}),
        ("ReduceLROnPlateau", {"patience": 0, "min_lr": 0.01}),
        ("StepLR", {"step_size": 100}),
    ],
)
def test_a_schedule_whose_rates_are_all_usable_is_taken(name: str, params: dict[str, Any], warmup: float) -> None:
    """Also where PyTorch would go below 0 one step past the end: OneCycleLR does, on its straight line."""
    used = rates(name, resolved(name, warmup, **params), round(warmup * STEPS))
    assert min(used) >= 0


def test_a_users_function_is_found_by_its_path() -> None:
    params = complete_scheduler(
        "LambdaLR", {"lr_lambda": "tests.trainables.optim.test_schedulers:val_loss"}, "scheduler"
    )
    assert rates("LambdaLR", params)[0] == LR * 3.0


@pytest.mark.parametrize("cut", [3, 5, 12, 17])
@pytest.mark.parametrize("warmup", [0, 7])
@pytest.mark.parametrize("name", ["none", *SCHEDULERS])
def test_a_schedule_continues_from_its_state(name: str, warmup: int, cut: int, tmp_path: Any) -> None:
    """After any batch, through a file that is read without pickle."""
    params = {} if name == "none" else resolved(name, warmup=warmup / STEPS, **PARAMS.get(name, {}))

    def steps(schedule: Schedule, optimizer: torch.optim.Optimizer, first: int, last: int) -> list[float]:
        used = []
        for t in range(first, last):
            used.append(schedule.lr)
            optimizer.step()
            schedule.after_batch()
            if (t + 1) % STEPS == 0:
                schedule.after_epoch(val_loss(t // STEPS))
        return used

    optimizer = sgd()
    whole = Schedule(name, params, optimizer, warmup)
    steps(whole, optimizer, 0, cut)
    torch.save({"schedule": whole.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state")
    state = torch.load(tmp_path / "state", weights_only=True)
    fresh = sgd()
    again = Schedule(name, params, fresh, warmup)
    again.load_state_dict(state["schedule"])
    fresh.load_state_dict(state["optimizer"])
    assert steps(again, fresh, cut, EPOCHS * STEPS - 1) == steps(whole, optimizer, cut, EPOCHS * STEPS - 1)
