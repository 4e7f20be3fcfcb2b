"""Labels of configurations are unique, and show what differs from the class's default or between configurations."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Configuration
from search_spaces.canonical import one_spelling
from search_spaces.class_defaults import OPTIMIZER_DEFAULTS, SCHEDULER_DEFAULTS
from search_spaces.labels import configuration_labels

RATES = st.floats(1e-6, 1, allow_nan=False)
NAMES = st.sampled_from(["SGD", "Adam", "mine:Adam", "other.module:Adam", "torch.optim:Adam", "mine:New"])
VALUES = st.one_of(
    st.sampled_from([None, 0, False, True, 0.0, "", "a", "a b=1", "1", 1, 0.1, 0.1000000001, -0.0]),
    st.lists(st.sampled_from([0.9, 0.999, None]), max_size=2),
    st.floats(allow_nan=False, allow_infinity=False),
)
PARAMETERS = st.dictionaries(st.sampled_from(["momentum", "weight_decay", "b", "betas"]), VALUES, max_size=3)
PARTS = st.builds(lambda name, gamma: {"name": name, "gamma": gamma}, st.sampled_from(["StepLR", "a:StepLR"]), VALUES)
PLAIN = st.sampled_from(["StepLR", "mine:StepLR", "CyclicLR"])
SCHEDULERS = st.one_of(
    st.just(("none", {})),
    st.tuples(PLAIN, st.dictionaries(st.sampled_from(["gamma", "max_lr"]), VALUES)),
    st.tuples(st.just("ChainedScheduler"), st.fixed_dictionaries({"schedulers": st.lists(PARTS, max_size=2)})),
)


def labels_of(*configurations: Configuration) -> list[str]:
    return list(configuration_labels(configurations).values())


@given(st.lists(st.tuples(NAMES, RATES), min_size=1, max_size=12))
def test_labels_are_unique_for_any_rates_and_classes(rows: list[tuple[str, float]]) -> None:
    found = list(dict.fromkeys(Configuration(name, {"lr": lr}) for name, lr in rows))
    assert len(set(labels_of(*found))) == len(found)


@given(st.lists(st.tuples(NAMES, RATES, PARAMETERS, SCHEDULERS, st.sampled_from([0, 0.1, 0.10000001, 1])), max_size=10))
def test_labels_are_unique_for_any_configurations(rows: list[tuple[Any, ...]]) -> None:
    found = list(
        dict.fromkeys(
            Configuration(name, {"lr": lr, **params}, scheduler[0], scheduler[1], warmup)
            for name, lr, params, scheduler, warmup in rows
        )
    )
    labels = labels_of(*found)
    assert len(labels) == len(set(labels)) == len(found)


def test_rates_that_differ_in_the_ninth_digit_have_different_labels() -> None:
    found = [Configuration("SGD", {"lr": lr}) for lr in (0.1, 0.100000001)]
    assert labels_of(*found) == ["SGD lr=0.1", "SGD lr=0.100000001"]


def test_two_classes_of_one_name_are_shown_with_their_modules() -> None:
    found = [Configuration(name, {"lr": 0.1}) for name in ("Adam", "mine:Adam", "mine:Lion")]
    assert labels_of(*found) == ["Adam lr=0.1", "mine:Adam lr=0.1", "Lion lr=0.1"]


def test_a_class_with_the_name_of_one_of_pytorchs_is_shown_with_its_module() -> None:
    """Also where PyTorch's class is not in the sweep."""
    assert labels_of(Configuration("mine:Adam", {"lr": 0.1})) == ["mine:Adam lr=0.1"]
    assert labels_of(Configuration("torch.optim:Adam", {"lr": 0.1})) == ["Adam lr=0.1"]


@pytest.mark.parametrize(
    ("name", "params", "label"),
    [
        ("SGD", {"lr": 0.03, "momentum": 0.9, "nesterov": False}, "SGD lr=0.03 momentum=0.9"),
        ("SGD", {"lr": 0.03, "momentum": 0.0, "weight_decay": 0}, "SGD lr=0.03"),
        ("AdamW", {"lr": 0.003, "weight_decay": 0}, "AdamW lr=0.003 weight_decay=0"),
        ("AdamW", {"lr": 0.003, "weight_decay": 0.01, "betas": [0.9, 0.999]}, "AdamW lr=0.003"),
        ("Adam", {"lr": 0.003, "betas": [0.5, 0.999], "amsgrad": True}, "Adam lr=0.003 betas=[0.5 0.999] amsgrad"),
    ],
)
def test_one_configuration_shows_what_differs_from_the_class(name: str, params: dict[str, Any], label: str) -> None:
    assert labels_of(Configuration(name, params)) == [label]


def test_a_schedule_shows_what_differs_from_its_class_without_lengths() -> None:
    half = Configuration("SGD", {"lr": 0.1}, "StepLR", {"step_size": 3, "gamma": 0.5})
    parts = [
        {"name": "ConstantLR", "factor": 1 / 3, "total_iters": 5},
        {"name": "StepLR", "step_size": 3, "gamma": 0.5},
    ]
    chained = Configuration("SGD", {"lr": 0.1}, "SequentialLR", {"schedulers": parts, "milestones": [2]})
    cyclic = Configuration("SGD", {"lr": 0.1}, "OneCycleLR", {"max_lr": 0.1, "cycle_momentum": True})
    assert labels_of(half, chained, cyclic) == [
        "SGD lr=0.1 · StepLR gamma=0.5",
        "SGD lr=0.1 · SequentialLR [ConstantLR (StepLR gamma=0.5)]",
        "SGD lr=0.1 · OneCycleLR cycle_momentum",
    ]


def test_values_that_switch_off_in_different_ways_are_distinguished() -> None:
    found = [Configuration("mine:New", {"lr": 0.1, "x": x}) for x in (None, 0, False, "")]
    assert len(set(labels_of(*found))) == 4


def assert_as_in_pytorch(known: Mapping[str, Mapping[str, Any]], module: Any, left_out: set[str]) -> None:
    for name, defaults in known.items():
        parameters = inspect.signature(getattr(module, name)).parameters
        theirs = {key: p.default for key, p in parameters.items() if p.default is not inspect.Parameter.empty}
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in theirs.items()}
        assert {key: one_spelling(value) for key, value in defaults.items()} == {
            key: one_spelling(value) for key, value in plain.items() if key not in left_out
        }, name


def test_the_known_defaults_are_pytorchs() -> None:
    from torch import optim

    from trainables.optim.optimizers import IMPLEMENTATION, OPTIMIZERS
    from trainables.optim.schedulers import COUNTS, EXPRESSIBLE, HIDDEN, SCHEDULERS

    assert set(OPTIMIZERS) <= set(OPTIMIZER_DEFAULTS)
    assert set(SCHEDULERS) == set(SCHEDULER_DEFAULTS)
    assert_as_in_pytorch(OPTIMIZER_DEFAULTS, optim, {"lr", *IMPLEMENTATION})
    hidden = {key for entry in SCHEDULERS.values() for key in entry.hidden}
    assert_as_in_pytorch(
        SCHEDULER_DEFAULTS, optim.lr_scheduler, {*HIDDEN, *COUNTS, *EXPRESSIBLE, *hidden, "cycle_momentum"}
    )
