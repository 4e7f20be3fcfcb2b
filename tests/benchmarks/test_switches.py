"""When a switch counts as no more than another seed, by hand-worked numbers; every switch trains the same runs."""

from __future__ import annotations

import torch

from benchmarks.switches import CHOICES, SWITCHES, accuracies, compare
from trainables.dataset import load_data


def test_a_switch_that_moves_runs_less_than_seeds_do_is_within_their_noise() -> None:
    found = compare([[10.0, 12.0], [20.0, 21.0]], [[10.5, 11.5], [20.5, 20.5]])
    assert found == {"mean": 0.0, "error": (1 / 3) ** 0.5 / 2, "moved": 0.5, "apart": 2.0, "within": True}


def test_a_switch_that_lowers_all_runs_is_not_however_little() -> None:
    assert not compare([[10.0, 12.0], [20.0, 21.0]], [[9.5, 11.6], [19.5, 20.4]])["within"]


def test_a_switch_that_moves_one_run_farther_than_seeds_is_not() -> None:
    assert not compare([[10.0, 12.0], [20.0, 21.0]], [[13.0, 12.0], [20.0, 18.0]])["within"]


def test_the_runs_of_every_switch_are_the_same_runs() -> None:
    threads = torch.get_num_threads()
    data = load_data("synthetic:n_train=400,n_test=100,seed=0")
    try:
        found = {switch: accuracies(data, [0], 1, switch) for switch in SWITCHES}
    finally:
        torch.set_num_threads(threads)
    assert all(len(values) == len(CHOICES) and all(len(of_one) == 1 for of_one in values) for values in found.values())
