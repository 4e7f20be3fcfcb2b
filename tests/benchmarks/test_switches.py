"""When a switch has no larger effect than a seed, with hand-computed numbers; all switches train the same runs."""

from __future__ import annotations

from typing import Any

import pytest

import benchmarks.switches
from benchmarks.switches import CHOICES, SWITCHES, accuracies, compare
from trainables.data.dataset import load_data
from trainables.training.loop import train
from trainables.training.messages import Assignment


def test_a_switch_that_moves_runs_less_than_seeds_do_is_within_their_noise() -> None:
    found = compare([[10.0, 12.0], [20.0, 21.0]], [[10.5, 11.5], [20.5, 20.5]])
    assert found == {"mean": 0.0, "error": (1 / 3) ** 0.5 / 2, "moved": 0.5, "apart": 2.0, "within": True}


def test_a_switch_that_lowers_all_runs_is_not_within_it_even_by_little() -> None:
    assert not compare([[10.0, 12.0], [20.0, 21.0]], [[9.5, 11.6], [19.5, 20.4]])["within"]


def test_a_switch_that_moves_one_run_more_than_seeds_do_is_not_within_it() -> None:
    assert not compare([[10.0, 12.0], [20.0, 21.0]], [[13.0, 12.0], [20.0, 18.0]])["within"]


@pytest.mark.usefixtures("one_thread")  # a switch may ask for more
def test_the_runs_of_every_switch_are_the_same_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """In other packs; without a switch, the accuracies are the same again."""
    data = load_data("synthetic:n_train=1000,n_test=100,seed=0")
    trained: dict[str, list[list[str]]] = {}

    def noted(assignment: Assignment, *arguments: Any) -> Any:
        trained[switch].append([run.run_id for run in assignment.runs])
        return train(assignment, *arguments)

    monkeypatch.setattr(benchmarks.switches, "train", noted)
    found = {}
    for switch in SWITCHES:
        trained[switch] = []
        found[switch] = accuracies(data, [0], 1, switch)
    trained[switch := "as trained"] = []
    again = accuracies(data, [0], 1, switch)
    assert again == found["as trained"]
    assert len({tuple(run for pack in packs for run in pack) for packs in trained.values()}) == 1
    assert [len(pack) for pack in trained["packs of one"]] == [1] * len(CHOICES)
