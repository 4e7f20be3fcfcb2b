"""The registry has the optimizers that can train a pack; parameters are compared with the class's signature."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch

from search_spaces import Configuration
from search_spaces.errors import SpecError, UnknownNameError
from trainables.optim.optimizers import (
    OPTIMIZERS,
    SPECIAL,
    UNSUITABLE,
    build_optimizer,
    complete_optimizer,
    optimizer_class,
)
from trainables.optim.validation import complete_configuration

OWN = "tests.trainables.own_rules:"


def test_every_class_of_torch_optim_is_registered_or_has_a_reason() -> None:
    classes = {
        name
        for name, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and name != "Optimizer"
    }
    assert set(OPTIMIZERS) | SPECIAL | set(UNSUITABLE) >= classes
    assert not set(OPTIMIZERS) & set(UNSUITABLE)


@pytest.mark.parametrize("name", [name for name in UNSUITABLE if hasattr(torch.optim, name)])
def test_an_unsuitable_optimizer_says_why(name: str) -> None:
    with pytest.raises(SpecError, match=rf"^optimizer: {name} cannot train a run: .*; valid: ASGD, "):
        optimizer_class(name, "optimizer")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_completed_parameters_are_the_classs_own_defaults(name: str) -> None:
    parameter = torch.nn.Parameter(torch.zeros(2, 2))
    ours = build_optimizer(name, complete_optimizer(name, {}, "optimizer"), [parameter], "optimizer")
    theirs = OPTIMIZERS[name]([parameter])
    assert ours.defaults == theirs.defaults


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("SGD", {"lr": 0.1, "mometum": 0.9}, "optimizer.mometum: unknown parameter; valid: dampening = 0, lr = 0.001"),
        ("SGD", {"lr": 0}, "optimizer.lr: 0;"),
        ("Adam", {"lr": -1.0}, "optimizer.lr: -1.0;"),
        ("SGD", {"lr": "fast"}, "optimizer.lr: 'fast'; a number (default 0.001)"),
        ("SGD", {"nesterov": 1}, "optimizer.nesterov: 1; true or false"),
        ("Adam", {"betas": 0.9}, "optimizer.betas: 0.9; a list of 2 numbers (default [0.9, 0.999])"),
        ("Adam", {"betas": [0.9]}, "optimizer.betas: [0.9]; a list of 2 numbers"),
        ("SGD", {"lr": "0.1 lr"}, "optimizer.lr: '0.1 lr'; a number"),
        (
            "Adafactor",
            {"eps": 1e-30},
            "(default [None, 0.001]), written as [[a, b]]",
        ),
        ("Rprop", {"etas": ["0.5 epochs"]}, "optimizer.etas: ['0.5 epochs']; a list of 2 numbers"),
        ("SGD", {"foreach": True}, "optimizer.foreach: unknown parameter"),
    ],
)
def test_an_invalid_parameter_is_named(name: str, params: dict[str, object], told: str) -> None:
    with pytest.raises(SpecError) as error:
        complete_optimizer(name, params, "optimizer")
    assert told in str(error.value)
    assert str(error.value).startswith("optimizer.")
    assert "\n" not in str(error.value)


def test_an_error_of_the_class_is_quoted() -> None:
    full = complete_optimizer("SGD", {"lr": 0.1, "nesterov": True}, "optimizer")
    with pytest.raises(SpecError, match=r"SGD\(.*nesterov=True.*\): Nesterov momentum requires a momentum"):
        build_optimizer("SGD", full, [torch.nn.Parameter(torch.zeros(1))], "optimizer")


def test_a_beta_of_zero_is_a_number_like_any_other() -> None:
    full = complete_optimizer("Adam", {"betas": [0, 0.999]}, "optimizer")
    optimizer = build_optimizer("Adam", full, [torch.nn.Parameter(torch.zeros(1))], "optimizer")
    assert optimizer.defaults["betas"] == (0.0, 0.999)


def test_defaults_that_a_spec_cannot_have_are_left_to_the_class() -> None:
    """Infinity, a function and a type; one that is given is checked and kept."""
    full = complete_optimizer(f"{OWN}NoRate", {}, "optimizer")
    assert full == {}
    parameter = torch.nn.Parameter(torch.zeros(1))
    built = build_optimizer(f"{OWN}NoRate", full, [parameter], "optimizer")
    assert built.defaults == {"growth": float("inf")}
    assert complete_optimizer(f"{OWN}NoRate", {"growth": 1.02}, "optimizer") == {"growth": 1.02}
    with pytest.raises(SpecError, match=r"optimizer\.growth: 'fast'"):
        complete_optimizer(f"{OWN}NoRate", {"growth": "fast"}, "optimizer")


@pytest.mark.parametrize("name", ["NoRate", "NoneRate"])
@pytest.mark.parametrize(("scheduler", "warmup"), [("CosineAnnealingLR", 0), ("none", 1)])
def test_a_schedule_of_an_optimizer_without_a_learning_rate_is_one_line(
    name: str, scheduler: str, warmup: float
) -> None:
    with pytest.raises(SpecError, match="the optimizer has no learning rate"):
        complete_configuration(Configuration(OWN + name, {}, scheduler, {}, warmup), 3, 5, "my.toml")
    full = complete_configuration(Configuration(OWN + name), 3, 5, "my.toml")
    assert full.to_dict()["optimizer"]["name"] == OWN + name


def test_an_unknown_optimizer_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown optimizer 'Adan' \(did you mean Adam\?\); valid: ASGD, "):
        optimizer_class("Adan", "optimizer")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_such_module:X", "cannot import"),
        ("numpy:Nothing", "unknown attribute of numpy"),
        ("torch:Tensor", "'torch:Tensor' is not a subclass of torch.optim.Optimizer"),
        ("collections:Counter", "'collections:Counter' is a module of Python's standard library"),
        (":X", "cannot import"),
    ],
)
def test_a_third_partys_name_must_lead_to_an_optimizer(name: str, told: str) -> None:
    with pytest.raises((SpecError, UnknownNameError), match=told):
        optimizer_class(name, "optimizer")


def test_an_unknown_attribute_is_answered_with_names_of_the_package_and_not_of_other_libraries() -> None:
    with pytest.raises(UnknownNameError, match=r"\(did you mean Lookahead\?\); valid: ArrayState") as error:
        optimizer_class(f"{OWN}LookAhead", "optimizer")
    assert not any(word in str(error.value) for word in ("np,", "torch,", "Iterable"))
    with pytest.raises(UnknownNameError, match=r"did you mean SGD\?"):  # torch.optim has its classes from other modules
        optimizer_class("torch.optim:SGDD", "optimizer")


def test_a_third_partys_optimizer_is_found_by_its_path() -> None:
    assert optimizer_class("torch.optim:AdamW", "optimizer") is torch.optim.AdamW


STEPS_BEFORE_AND_AFTER_THE_IMPORT = """
import sys, torch
from trainables.optim.optimizers import OPTIMIZERS, build_optimizer

names = list(OPTIMIZERS)

def weights():
    found = []
    for name in names:
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 6).reshape(2, 3))
        optimizer = build_optimizer(name, {"lr": 0.1}, [weight], "here")
        for _ in range(3):
            weight.grad = weight.detach() ** 3
            optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
        assert torch.is_grad_enabled()
        found.append(weight.detach().clone())
    return found

first = weights()
imported = "torch._dynamo" in sys.modules
import torch._dynamo
print(len(names), imported, all(torch.equal(a, b) for a, b in zip(first, weights(), strict=True)))
"""


@pytest.mark.slow
def test_optimizers_step_without_an_import_of_the_compiler_and_with_it_to_the_same_bits() -> None:
    """``torch._dynamo`` takes seconds to import. The same steps are taken before and after its import."""
    command = [sys.executable, "-c", STEPS_BEFORE_AND_AFTER_THE_IMPORT]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    count, *rest = found.stdout.split()
    assert int(count) >= 12
    assert rest == ["False", "True"]
