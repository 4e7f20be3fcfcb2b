"""A trial at planning time finds what a checkpoint does not hold, and code that cannot train."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from search_spaces import Configuration
from search_spaces.errors import SpecError
from trainables.optim.optimizers import complete_optimizer
from trainables.optim.planning_trial import EPOCHS, STEPS, bits_of, why_not_resumed
from trainables.optim.schedulers import complete_scheduler

OWN = "tests.trainables.own_rules:"


def reason(optimizer: str = "SGD", scheduler: str = "none", dtype: torch.dtype = torch.float32, **params: Any) -> str:
    """The reason why a training with these cannot resume, or an empty text."""
    optimizer_params = complete_optimizer(optimizer, {} if optimizer.endswith("Rate") else {"lr": 0.1}, "optimizer")
    full = Configuration(optimizer, optimizer_params, scheduler, complete_scheduler(scheduler, params, "scheduler"))
    return why_not_resumed(full.resolved(EPOCHS, STEPS, "here"), dtype, "my.toml")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "name",
    [
        "Plain",
        "DropsGradients",
        "NewGradients",
        "Noisy",
        "KeyedByName",
        "NumPyState",
        "NoRate",
        "NoneRate",
        "MovesLate",
        "Averaging",
        "EnumGroup",
        "KeepsViews",
    ],
)
def test_code_that_keeps_its_state_where_a_checkpoint_finds_it_resumes(name: str, dtype: torch.dtype) -> None:
    assert reason(OWN + name, dtype=dtype) == ""


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Lookahead", "'taken'"),
        ("OwnGenerator", "'rng'"),
        ("ArrayState", "(ndarray)"),
        ("ObjectState", "(Thing)"),
        ("Counts", "same seed differ"),
        ("FailsLater", "a step after a checkpoint fails (AttributeError: 'FailsLater'"),
    ],
)
def test_state_that_a_checkpoint_does_not_hold_is_named(name: str, word: str) -> None:
    assert word in reason(OWN + name)


@pytest.mark.parametrize("function", ["falls", "numpy_factor", "tensor_factor", "random_factor"])
@pytest.mark.parametrize("scheduler", ["LambdaLR", "MultiplicativeLR"])
def test_a_function_of_the_epoch_resumes(scheduler: str, function: str) -> None:
    assert reason(scheduler=scheduler, lr_lambda=OWN + function) == ""


def test_a_schedulers_function_is_not_part_of_its_state() -> None:
    assert reason(scheduler=f"{OWN}KeepsALambda") == ""


def test_a_scheduler_that_hides_its_state_is_found() -> None:
    assert "'factor'" in reason(scheduler=f"{OWN}HidesState")


def test_pytorchs_own_classes_are_not_tried() -> None:
    assert reason("Adam", "CosineAnnealingLR") == ""


@pytest.mark.parametrize(
    ("name", "word"),
    [("Leaves", "SystemExit: bye"), ("NeedsClosure", "closure")],
)
def test_code_that_fails_is_one_line(name: str, word: str) -> None:
    with pytest.raises(SpecError) as error:
        reason(OWN + name)
    assert str(error.value).startswith("my.toml")
    assert name in str(error.value)
    assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_parameters_that_get_new_storage_are_refused() -> None:
    with pytest.raises(SpecError, match=r"Moving gives its parameters new storage in step\(\); .* in place"):
        reason("tests.trainables.moving_optimizer:Moving")


def test_a_breakpoint_does_not_stop_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """The training stops at it; the check before it has no prompt."""
    from tests.trainables.own_rules import Plain

    monkeypatch.setattr(Plain, "step", lambda self, closure=None: breakpoint())
    assert reason(f"{OWN}Plain") == ""


def test_the_trial_leaves_the_generators_as_they_were() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    reason(f"{OWN}Noisy")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0.0, -0.0),
        (torch.zeros(2), torch.zeros(1, 2)),
        ([1, {"a": torch.ones(1)}], [1, {"a": torch.zeros(1)}]),
        (torch.zeros(1), torch.zeros(1, dtype=torch.float64)),
    ],
)
def test_bits_tell_what_equality_does_not(one: Any, other: Any) -> None:
    assert bits_of(one) == bits_of(one)
    assert bits_of(one) != bits_of(other)
