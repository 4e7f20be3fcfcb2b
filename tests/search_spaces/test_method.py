"""A method of a benchmark: its search space, its points and its untuned configuration."""

from __future__ import annotations

import re
from typing import Any

import pytest

from search_spaces.errors import SpecError
from search_spaces.method import Dimension, Method, methods_of

ADAM: dict[str, Any] = {
    "name": "Adam + step",
    "optimizer": {"name": "Adam", "lr": {"loguniform": [1e-4, 1e-2]}, "betas": [[0.9, {"uniform": [0.9, 0.9999]}]]},
    "scheduler": {"name": "StepLR", "step_size": {"choice": ["0.3 epochs", "0.5 epochs"]}, "gamma": 0.1},
    "untuned": {"scheduler": {"step_size": "0.3 epochs"}},
}


def test_every_sampler_is_a_dimension_and_a_point_fills_them() -> None:
    method = Method.of(ADAM, "spec")
    assert [one.name for one in method.dimensions] == ["optimizer.lr", "optimizer.betas[1]", "scheduler.step_size"]
    values = {"optimizer.lr": 0.003, "optimizer.betas[1]": 0.99, "scheduler.step_size": "0.5 epochs"}
    assert method.point(values).to_dict() == {
        "optimizer": {"name": "Adam", "lr": 0.003, "betas": [0.9, 0.99]},
        "scheduler": {"name": "StepLR", "step_size": "0.5 epochs", "gamma": 0.1},
        "warmup": 0,
    }
    other = method.point({**values, "optimizer.betas[1]": 0.95})
    assert other.optimizer_params["betas"] == [0.9, 0.95]


def test_the_untuned_point_has_no_searched_value_and_the_named_ones() -> None:
    assert Method.of(ADAM, "spec").untuned().to_dict() == {
        "optimizer": {"name": "Adam"},
        "scheduler": {"name": "StepLR", "gamma": 0.1, "step_size": "0.3 epochs"},
        "warmup": 0,
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 3}, "unknown key"),
        ({"name": ""}, "name"),
        ({"optimizer": {"name": "Adam", "lr": {"loguniform": [1e-2, 1e-4]}}}, "low < high"),
        ({"optimizer": {"name": "Adam", "lr": {"uniform": [0.1, 0.1]}}}, "low < high"),
        ({"optimizer": {"name": "Adam", "lr": {"loguniform": [0, 1]}}}, "0 < low"),
        ({"optimizer": {"name": "Adam", "lr": [0.1, 0.2]}}, "several values"),
        ({"optimizer": {"name": "Adam", "lr": {"normal": [0, 1]}}}, "is not a sampler"),
        ({"optimizer": [{"name": "Adam"}]}, "has no name"),
        ({"optimizer": {"name": "Adam", "lr": 0.1}, "scheduler": "none"}, "no search space"),
        ({"untuned": {"optimizer": {"lr": {"uniform": [0, 1]}}}}, "sampler"),
        ({"untuned": {"epochs": 3}}, "untuned"),
        ({"warmup": -1}, "warmup"),
    ],
)
def test_an_invalid_method_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        Method.of({**ADAM, **change}, "spec")


def test_a_benchmark_has_two_methods_or_more_with_different_names() -> None:
    for tables in ([ADAM], [ADAM, ADAM]):
        with pytest.raises(SpecError, match="methods"):
            methods_of(tables, "spec")


RATE = Dimension(("optimizer", "lr"), "loguniform", (1e-4, 1e-2))
BETA = Dimension(("optimizer", "betas", 1), "uniform", (0.9, 0.9999))


@pytest.mark.parametrize(
    ("dimension", "value", "edge"),
    [
        (RATE, 1e-4, "low"), (RATE, 1.25e-4, "low"), (RATE, 1.3e-4, ""), (RATE, 1e-3, ""),  # 5 %: 10^0.1 = 1.259
        (RATE, 7.9e-3, ""), (RATE, 8e-3, "high"), (BETA, 0.904, "low"), (BETA, 0.906, ""), (BETA, 0.996, "high"),
        (Dimension(("optimizer", "lr"), "choice", (1, 2)), 2, ""),
    ],
)  # fmt: skip
def test_a_value_in_the_outer_five_percent_is_on_the_edge(dimension: Dimension, value: float, edge: str) -> None:
    assert dimension.edge(value) == edge


@pytest.mark.parametrize(
    ("dimension", "edge", "bounds"),
    [
        (RATE, "high", (1e-2, 0.1)), (RATE, "low", (1e-5, 1e-4)),  # half of two decades
        (BETA, "high", (0.9999, 0.99999)), (Dimension(("optimizer", "x"), "uniform", (0, 1)), "high", (1, 1.5)),
        (Dimension(("optimizer", "x"), "uniform", (0.1, 1.1)), "low", (0.01, 0.1)),
        (Dimension(("optimizer", "x"), "uniform", (-1, 1)), "low", (-2, -1)),
    ],
)  # fmt: skip
def test_a_range_is_widened_by_half_of_it_within_its_meaning(
    dimension: Dimension, edge: str, bounds: tuple[float, float]
) -> None:
    found = dimension.beyond(edge)
    assert found is not None
    assert found.bounds == pytest.approx(bounds)


def test_a_range_that_begins_at_zero_is_not_widened_below() -> None:
    assert Dimension(("optimizer", "weight_decay"), "uniform", (0, 1)).beyond("low") is None


def test_a_sampler_within_a_base_or_a_group_is_a_dimension_and_the_untuned_point_keeps_the_rest() -> None:
    base = {"name": "SGD", "lr": {"loguniform": [0.01, 1.0]}, "momentum": 0.9}
    wrapped = Method.of({"name": "L", "optimizer": {"name": "my:Lookahead", "k": 5, "base": base}}, "spec")
    assert [one.name for one in wrapped.dimensions] == ["optimizer.base.lr"]
    assert wrapped.point({"optimizer.base.lr": 0.1}).optimizer_params["base"] == {**base, "lr": 0.1}
    assert wrapped.untuned().optimizer_params == {"k": 5, "base": {"name": "SGD", "momentum": 0.9}}

    groups = [{"match": "1d", "weight_decay": 0}, {"match": "fc3.*", "lr_factor": {"uniform": [0.1, 1.0]}}]
    grouped = Method.of({"name": "G", "optimizer": {"name": "AdamW", "lr": 0.01, "groups": groups}}, "spec")
    assert [one.name for one in grouped.dimensions] == ["optimizer.groups[1].lr_factor"]
    found = grouped.point({"optimizer.groups[1].lr_factor": 0.5}).optimizer_params["groups"]
    assert found == [{"match": "1d", "weight_decay": 0}, {"match": "fc3.*", "lr_factor": 0.5}]
    assert grouped.untuned().optimizer_params == {"lr": 0.01}
