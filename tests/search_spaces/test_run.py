"""A run's id depends on everything that determines its numbers, and on nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Configuration, Protocol, Run
from search_spaces.errors import SpecError
from search_spaces.labels import configuration_labels

RUN = Run(Configuration("SGD", {"lr": 0.1, "momentum": 0}, "StepLR", {"step_size": 3}), 0, Protocol(), "data")
VALUES = st.one_of(st.booleans(), st.integers(-1000, 1000), st.floats(-1e6, 1e6), st.text(max_size=5))


def test_spelling_does_not_change_the_id() -> None:
    """1 and 1.0, the order of the keys, a list and a tuple."""
    same = Configuration("SGD", {"momentum": 0.0, "lr": 0.1}, "StepLR", {"step_size": 3.0}, 0.0)
    assert replace(RUN, configuration=same).run_id == RUN.run_id


def test_an_integral_rate_has_one_id_and_keeps_its_type() -> None:
    """Through the configuration, its table, and the JSON that a trial gets; only what is hashed has one spelling."""
    whole, real = (replace(RUN, configuration=Configuration("SGD", {"lr": lr}, warmup=lr)) for lr in (1, 1.0))
    assert whole.run_id == real.run_id
    assert whole.configuration == real.configuration
    assert whole.configuration.configuration_id == real.configuration.configuration_id
    for run, kind in ((whole, int), (real, float)):
        again = Run.from_dict(json.loads(json.dumps(run.to_dict())))
        assert type(again.configuration.optimizer_params["lr"]) is kind
        assert type(again.configuration.warmup) is kind
        assert again.run_id == run.run_id


def test_labels_do_not_depend_on_how_a_number_is_written() -> None:
    configurations = [
        Configuration("SGD", {"lr": 0.5, "momentum": 1}, "ExponentialLR", {"gamma": 1.0}),
        Configuration("SGD", {"lr": 2.0, "momentum": 1.0}, "ExponentialLR", {"gamma": 1}),
    ]
    assert list(configuration_labels(configurations).values()) == [
        "SGD lr=0.5 momentum=1 · ExponentialLR",
        "SGD lr=2 momentum=1 · ExponentialLR",
    ]


@pytest.mark.parametrize(
    "other",
    [
        replace(RUN, seed=1),
        replace(RUN, protocol=Protocol(batch_size=64)),
        replace(RUN, protocol=Protocol(dropout=0.0)),
        replace(RUN, data_fingerprint="other"),
        replace(RUN, configuration=Configuration("SGD", {"lr": 0.1, "momentum": 0}, "StepLR", {"step_size": 4})),
        replace(RUN, configuration=Configuration("SGD", {"lr": 0.1, "momentum": False}, "StepLR", {"step_size": 3})),
        replace(RUN, configuration=Configuration("SGD", {"lr": 0.1, "momentum": 0}, "StepLR", {"step_size": 3}, 1)),
    ],
)
def test_everything_that_determines_the_numbers_changes_the_id(other: Run) -> None:
    assert other.run_id != RUN.run_id


def test_raising_the_training_version_changes_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = RUN.run_id
    monkeypatch.setattr("search_spaces.run.TRAINING_VERSION", 10**6)
    assert replace(RUN).run_id != before


def test_the_id_is_the_same_in_another_process() -> None:
    """No salt of Python's own hash gets in."""
    code = "import json, sys; from search_spaces import Run; print(Run.from_dict(json.loads(sys.argv[1])).run_id)"
    found = subprocess.run(
        [sys.executable, "-c", code, json.dumps(RUN.to_dict())], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == RUN.run_id


@given(params=st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda k: k != "name"), VALUES, max_size=4))
def test_a_run_survives_json(params: dict[str, object]) -> None:
    run = replace(RUN, configuration=Configuration("Adam", params))
    again = Run.from_dict(json.loads(json.dumps(run.to_dict())))
    assert again == run
    assert again.run_id == run.run_id


def test_a_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(SpecError, match=r"optimizer\.lr: inf is not a finite number"):
        Configuration("SGD", {"lr": float("inf")}).to_dict()


def test_labels_are_different_and_have_nothing_else() -> None:
    configurations = [
        Configuration("SGD", {"lr": 0.01, "momentum": 0, "nesterov": False, "eps": 1e-8}),
        Configuration("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": False, "eps": 1e-8}),
        Configuration("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "eps": 1e-8}, "StepLR", {"step_size": 3}),
        Configuration("Adam", {"lr": 0.001, "eps": 1e-8}),
    ]
    assert list(configuration_labels(configurations).values()) == [
        "SGD lr=0.01",
        "SGD lr=0.01 momentum=0.9",
        "SGD lr=0.01 momentum=0.9 nesterov · StepLR",
        "Adam lr=0.001",
    ]
