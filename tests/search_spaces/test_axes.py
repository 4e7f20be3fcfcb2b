"""A space's blocks give exactly the configurations that one would write by hand."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Configuration, expand, space_names, space_text
from search_spaces.errors import SpecError, UnknownNameError


def block(text: str) -> list[Mapping[str, Any]]:
    return [tomllib.loads(text)]


def rates(text: str) -> list[Any]:
    return [c.optimizer_params["lr"] for c in expand(block(text), "here")]


def test_lists_are_crossed() -> None:
    found = expand(block('optimizer = {name = "SGD", lr = [0.1, 0.2], momentum = [0.0, 0.9]}\nwarmup = [0, 1]'), "here")
    assert [(c.optimizer_params["lr"], c.optimizer_params["momentum"], c.warmup) for c in found] == [
        (lr, momentum, warmup) for warmup in (0, 1) for lr in (0.1, 0.2) for momentum in (0, 0.9)
    ]


def test_the_keys_of_one_table_vary_together() -> None:
    found = expand(block('optimizer = [{name = "SGD", lr = 0.1}, {name = "Adam", lr = 0.001}]'), "here")
    assert [(c.optimizer, c.optimizer_params["lr"]) for c in found] == [("SGD", 0.1), ("Adam", 0.001)]


def test_a_list_that_is_one_value_is_not_crossed() -> None:
    text = 'optimizer = {name = "Adam", betas = [0.9, 0.99]}\n'
    text += 'scheduler = {name = "MultiStepLR", milestones = [[2, 4], [3]]}'
    found = expand(block(text), "here")
    assert [c.optimizer_params["betas"] for c in found] == [[0.9, 0.99]] * 2
    assert [c.scheduler_params["milestones"] for c in found] == [[2, 4], [3]]


def test_a_logspace_is_a_list() -> None:
    assert rates('optimizer = {name = "SGD", lr = {logspace = [0.001, 1], n = 4}}') == [0.001, 0.01, 0.1, 1]


@given(low=st.floats(1e-6, 1e-3), high=st.floats(1e-2, 1.0), seed=st.integers(0, 10**6), n=st.integers(1, 20))
def test_a_sampler_stays_in_its_bounds_and_repeats_itself(low: float, high: float, seed: int, n: int) -> None:
    blocks = [{"optimizer": {"name": "SGD", "lr": {"loguniform": [low, high]}}, "samples": n, "sample_seed": seed}]
    found = expand(blocks, "here")
    assert all(low * 0.999 <= c.optimizer_params["lr"] <= high * 1.001 for c in found)
    assert found == expand(blocks, "here")
    assert 1 <= len(found) <= n


def test_a_loguniform_sampler_spreads_evenly_over_the_decades() -> None:
    blocks = [{"optimizer": {"name": "SGD", "lr": {"loguniform": [1e-4, 1.0]}}, "samples": 2000}]
    lowest = [c for c in expand(blocks, "here") if c.optimizer_params["lr"] < 1e-2]
    assert len(lowest) == pytest.approx(1000, abs=4 * (2000 * 0.25) ** 0.5)  # four SDs of a fair coin


def test_draws_are_crossed_with_lists() -> None:
    """Every momentum sees the same sampled rates: a paired comparison."""
    blocks = [{"optimizer": {"name": "SGD", "lr": {"uniform": [0.0, 1.0]}, "momentum": [0.0, 0.9]}, "samples": 5}]
    found = expand(blocks, "here")
    by_momentum = [[c.optimizer_params["lr"] for c in found if c.optimizer_params["momentum"] == m] for m in (0, 0.9)]
    assert by_momentum[0] == by_momentum[1]
    assert len(by_momentum[0]) == 5


def test_equal_configurations_are_listed_once() -> None:
    assert len(expand(block('optimizer = [{name = "SGD", lr = 1}, {name = "SGD", lr = 1.0}]'), "here")) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('optimiser = "SGD"', "here: configurations[0].optimiser: unknown key; valid: optimizer"),
        ("warmup = 1", "here: configurations[0].optimizer: missing"),
        ("optimizer = []", "here: configurations[0].optimizer: the list is empty"),
        ("optimizer = {lr = 1}", "has no name"),
        ('optimizer = {name = "SGD", lr = []}', "optimizer.lr: the list is empty"),
        ('optimizer = {name = "SGD", lr = nan}', "optimizer.lr: nan is not a finite number"),
        ('optimizer = {name = "SGD", lr = {logspace = [1, 0.1], n = 3}}', "lr: [1, 0.1] are not valid"),
        ('optimizer = {name = "SGD", lr = {loguniform = [0, 1]}}\nsamples = 2', "lr: [0, 1] are not valid"),
        ('optimizer = {name = "SGD", lr = {lognormal = [0, 1]}}', "{'lognormal': [0, 1]} is not an axis"),
        ('optimizer = "SGD"\nsamples = 3', "configurations[0].samples: the block has no sampler"),
        ('optimizer = "SGD"\nwarmup = -1', "warmup: -1; a number of epochs"),
        ('optimizer = "SGD"\nsamples = 0', "samples: 0; a whole number"),
        ('optimizer = {name = "SGD", lr = 1979-05-27}', "is a date"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text: str, told: str) -> None:
    with pytest.raises(SpecError) as error:
        expand(block(text), "here")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


TEN = list(range(1, 11))
TOO_LARGE = {
    "logspace": ({"lr": {"logspace": [1e-3, 1], "n": 10**9}}, 1, "1,000,000,000 configurations"),
    "crossed": (dict.fromkeys("abcdefgh", TEN), 1, "100,000,000 configurations × 2 seeds = 200,000,000 runs"),
    "draws": ({"lr": {"uniform": [0, 1]}}, 10**9, "2,000,000,000 runs"),
    "beyond all digits": ({f"k{i}": {"logspace": [1e-3, 1], "n": 2**62} for i in range(300)}, 1, "more than 10^15"),
}


@pytest.mark.parametrize(("params", "samples", "told"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_space_that_is_too_large_is_counted_and_not_built(params: dict[str, Any], samples: int, told: str) -> None:
    """Each of these takes minutes and gigabytes to build."""
    one = {"optimizer": {"name": "SGD", **params}} | ({"samples": samples} if samples > 1 else {})
    with pytest.raises(SpecError) as error:
        expand([one], "here", seeds=2)
    assert told in str(error.value)
    assert "max_runs = 100,000" in str(error.value)
    assert len(str(error.value)) < 300


def test_equal_values_in_a_list_count_once() -> None:
    """Ten lists of eight equal values are one configuration, and not 8^10."""
    one = {"optimizer": {"name": "SGD", **{f"k{i}": [1, 1.0] * 4 for i in range(10)}}}
    assert len(expand([one], "here")) == 1


def test_the_limit_is_on_the_runs_and_can_be_set() -> None:
    blocks = [{"optimizer": {"name": "SGD", "lr": [0.1, 0.2, 0.3]}, "warmup": [0, 1]}]
    assert len(expand(blocks, "here", seeds=5, max_runs=30)) == 6
    with pytest.raises(SpecError, match="6 configurations × 5 seeds = 30 runs, more than max_runs = 29"):
        expand(blocks, "here", seeds=5, max_runs=29)


COUNTS = {
    "optimizers": 4, "learning-rates": 24, "momentum": 14, "schedulers": 26, "study": 24, "full": 260, "quickstart": 8,
}  # fmt: skip


BENCHMARKS = {"benchmark-quickstart", "optimizers-tuned", "schedulers-tuned"}  # they have methods


def catalogue(name: str) -> list[Configuration]:
    return expand(tomllib.loads(space_text(name))["configurations"], name)


def test_the_catalogue_holds_the_spaces_that_it_promises() -> None:
    assert {name: len(catalogue(name)) for name in space_names() if name not in BENCHMARKS} == COUNTS


IDS = {
    "full": "d86dfc9e19cd29f7", "learning-rates": "f590a17099c1145c", "momentum": "6125d726a6dbec56",
    "optimizers": "514566c8935485b9", "quickstart": "c864645489980ee1", "schedulers": "741432d1e667d9ee",
    "study": "cbf64cd0d14ec642",
}  # fmt: skip
"""SHA-256 over the ids of the configurations as a ledger has them, for 50 epochs of 352 batches."""


def test_the_ids_of_the_catalogue_stay_what_ledgers_have() -> None:
    from trainables.optim.validation import complete_configuration

    for name, digest in IDS.items():
        ids = " ".join(complete_configuration(c, 50, 352, name).configuration_id for c in catalogue(name))
        assert hashlib.sha256(ids.encode()).hexdigest()[:16] == digest, name


def test_an_axis_keeps_the_type_of_its_numbers_and_takes_equal_ones_once() -> None:
    found = expand([{"optimizer": {"name": "SGD", "lr": [1.0, 2, 1, 0.5]}}], "here")
    rates = [configuration.optimizer_params["lr"] for configuration in found]
    assert [(rate, type(rate)) for rate in rates] == [(1.0, float), (2, int), (0.5, float)]


def test_an_unknown_space_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown space 'studie' \(did you mean study\?\); valid: .*full, "):
        space_text("studie")


def test_the_study_is_experiments_four_and_five() -> None:
    """4 + 21 - 1: momentum at a constant 0.01 is in both."""
    found = catalogue("study")
    constant = [c for c in found if c.scheduler == "none"]
    assert len(constant) == 6
    assert len({c.scheduler for c in found}) == 7
    assert {c.optimizer_params["lr"] for c in found if c.scheduler == "StepLR"} == {0.01, 0.03, 0.1}


def test_momentum_has_nesterov_only_where_pytorch_allows_it() -> None:
    for c in catalogue("momentum"):
        if c.optimizer_params.get("nesterov"):
            assert c.optimizer_params["momentum"] > 0
            assert c.optimizer_params.get("dampening", 0) == 0


@pytest.mark.parametrize("part", ["optimizers", "learning-rates", "momentum", "schedulers", "study"])
def test_full_holds_every_other_space(part: str) -> None:
    """As plain values: Adam's betas and SGD's zero momentum are spelled out in some and left to PyTorch in others."""
    defaults = {"momentum": 0, "dampening": 0, "betas": [0.9, 0.999], "eps": 1e-8}

    def spelled(c: Configuration) -> str:
        params = {key: value for key, value in c.optimizer_params.items() if value != defaults.get(key)}
        return Configuration(c.optimizer, params, c.scheduler, c.scheduler_params, c.warmup).key

    assert {spelled(c) for c in catalogue(part)} <= {spelled(c) for c in catalogue("full")}


def test_a_draw_is_one_point_that_is_crossed_with_the_lists() -> None:
    """Each momentum and warm-up gets the same rate and the same gamma, and another draw gets others."""
    text = """
        optimizer = {name = "SGD", lr = {loguniform = [0.001, 1]}, momentum = [0.0, 0.5, 0.9]}
        scheduler = {name = "ExponentialLR", gamma = {uniform = [0.5, 1]}}
        warmup = [0, 1]
        samples = 4
    """
    found = expand(block(text), "here")
    points = {(c.optimizer_params["lr"], c.scheduler_params["gamma"]) for c in found}
    assert len(points) == 4
    assert len(found) == 4 * 3 * 2
    for momentum in (0.0, 0.5, 0.9):
        assert {
            (c.optimizer_params["lr"], c.scheduler_params["gamma"])
            for c in found
            if c.optimizer_params["momentum"] == momentum
        } == points


def test_the_draws_of_a_schedule_do_not_depend_on_the_samplers_of_the_optimizer() -> None:
    """Two optimizers of one block are compared under the same schedules."""
    text = """
        optimizer = [{name = "SGD", lr = {loguniform = [0.001, 1]}}, {name = "Adam"}]
        scheduler = {name = "ExponentialLR", gamma = {uniform = [0.5, 1]}}
        samples = 3
    """
    found = expand(block(text), "here")
    gammas = {name: [c.scheduler_params["gamma"] for c in found if c.optimizer == name] for name in ("SGD", "Adam")}
    assert gammas["SGD"] == gammas["Adam"]
    assert len(set(gammas["SGD"])) == 3


def test_a_name_in_other_letters_is_suggested_first() -> None:
    assert "did you mean AdamW?" in str(UnknownNameError("optimizer", "Adamw", ["Adam", "AdamW", "SGD"]))
