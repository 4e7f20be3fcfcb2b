"""From a ledger to arrays: where each number goes, and which runs count."""

from __future__ import annotations

import math

import numpy as np
import pytest

from results.ledger.arrays import load_sweep
from results.ledger.configuration_runs import CURVES
from results.ledger.ledger import Ledger
from search_spaces import Configuration
from search_spaces.run import Protocol, Run
from tests.builders import attempt_of, row_of
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, climb, sweep_of, write_ledger


def test_every_number_is_at_the_place_of_its_run_epoch_and_name(path):
    """A number made of all three, written in another order."""
    runs = [Run(configuration, seed, Protocol(), "d" * 16) for configuration in (MOMENTUM, ADAM) for seed in (1, 0)]
    number = {
        (run.run_id, epoch, name): 1000.0 * i + 100 * epoch + j
        for i, run in enumerate(runs)
        for epoch in (1, 2, 3)
        for j, name in enumerate(CURVES)
    }
    rows = [
        row_of(run, epoch, **{name: number[run.run_id, epoch, name] for name in CURVES})
        for epoch in (3, 1, 2)
        for run in reversed(runs)
    ]
    with Ledger.create_or_open(path) as ledger:
        ledger.plan(runs, 3, data_name="cifar100", synthetic=False)
        ledger.record([attempt_of(runs)], rows, {})
    sweep = load_sweep(path)
    assert [group.configuration for group in sweep.configurations] == [MOMENTUM, ADAM]
    for group in sweep.configurations:
        assert group.seeds == (0, 1)
        for name in CURVES:
            expected = [[number[run_id, epoch, name] for epoch in (1, 2, 3)] for run_id in group.run_ids]
            assert group.curves[name].tolist() == expected


def test_a_sweep_knows_its_protocol_and_its_conditions(tmp_path):
    protocol = Protocol(batch_size=64, dropout=0.1)
    sweep = sweep_of(tmp_path / "mine", {ADAM: [climb(20)]}, protocol=protocol, device="cuda:H200", threads=3,
                     versions={"torch": "2.12"}, measured={"pack_size": 8})  # fmt: skip
    assert (sweep.name, sweep.epochs, sweep.data_name) == ("mine", 10, "cifar100")
    assert sweep.protocol == {**protocol.to_dict(), "data": "d" * 16}
    assert (sweep.devices, sweep.threads, sweep.pack_sizes) == (("cuda:H200",), (3,), (8,))
    assert sweep.versions == ({"torch": "2.12"},)


def test_a_diverged_run_counts_as_chance_from_its_epoch_on(tmp_path):
    """Whatever the ledger has for it afterwards; before, it counts as measured."""
    curves = {ADAM: [[10.0, 20.0, 30.0, 40.0], [10.0, 20.0]]}
    (group,) = sweep_of(tmp_path, curves, epochs=4, diverged={(ADAM, 0): 2, (ADAM, 1): 3}).configurations
    assert group.statuses == ("diverged", "diverged")
    assert group.accuracy().tolist() == [[10, 1, 1, 1], [10, 20, 1, 1]]
    assert group.accuracy("test").tolist()[0][1:] == [1, 1, 1]
    assert group.diverged.tolist() == [True, True]
    assert group.share_of_runs == "2 of 2"


def test_a_divergence_beyond_the_target_epochs_is_none(tmp_path):
    """A sweep that is shortened to before it has a finished run."""
    path = tmp_path / "ledger.sqlite"
    write_ledger(path, {ADAM: [climb(20, 4)]}, epochs=4, diverged={(ADAM, 0): 4})
    with Ledger.create_or_open(path) as ledger:
        ledger.plan([Run(ADAM, 0, Protocol(), "d" * 16)], 3, data_name="cifar100", synthetic=False)
    (group,) = load_sweep(path).configurations
    assert group.statuses == ("done",)
    assert not group.diverged.any()
    assert group.accuracy().tolist() == [[5, 10, 15]]


def test_epochs_beyond_the_target_epochs_are_cut(tmp_path):
    path = tmp_path / "ledger.sqlite"
    write_ledger(path, {ADAM: [climb(20, 5)]}, epochs=5)
    with Ledger.create_or_open(path) as ledger:
        ledger.plan([Run(ADAM, 0, Protocol(), "d" * 16)], 2, data_name="cifar100", synthetic=False)
    sweep = load_sweep(path)
    assert sweep.epochs == 2
    assert sweep.configurations[0].accuracy().tolist() == [[4, 8]]


def test_an_unfinished_or_failed_run_counts_nowhere(tmp_path):
    """The row has their number and the status of the others."""
    curves = {ADAM: [climb(20), climb(90)[:9], climb(90)[:3], []], MOMENTUM: [[], [], [], []]}
    sweep = sweep_of(tmp_path, curves, failed={(ADAM, 2)})
    adam, momentum = sweep.configurations
    assert adam.share_of_runs == "1 of 4 (1 running, 1 failed, 1 pending)"
    assert momentum.share_of_runs == "0 of 4 (4 pending)"
    assert (adam.counted_ids, adam.counted_seeds) == (adam.run_ids[:1], (0,))
    assert adam.final.tolist() == [20]
    assert adam.accuracy().shape == (1, 10)
    assert sweep.counted == (adam,)
    assert sweep.best is adam
    assert sweep.partial


@pytest.mark.parametrize("epoch", [1, 5, 10])
def test_a_done_run_with_a_hole_counts_nowhere(tmp_path, epoch):
    """An accuracy that is not a number is no result; the last epoch's row is there all the same."""
    holed: list[float | None] = [*climb(90)]
    holed[epoch - 1] = math.nan
    (group,) = sweep_of(tmp_path, {ADAM: [climb(20), holed]}).configurations
    assert group.statuses == ("done", "done")
    assert group.counted.tolist() == [True, False]
    assert group.share_of_runs == "1 of 2 (1 without an accuracy for every epoch)"


def test_the_default_target_is_95_percent_of_the_best_median(tmp_path):
    """Of the configuration with the highest mean; a given target replaces it."""
    curves = {PLAIN: [climb(20), climb(20), climb(20)], ADAM: [climb(30), climb(10), climb(32)]}
    sweep = sweep_of(tmp_path / "a", curves)
    assert sweep.best is sweep.configurations[1]
    assert sweep.target == pytest.approx(0.95 * 30)
    assert sweep.given_target is None
    asked = load_sweep(tmp_path / "a" / "ledger.sqlite", target=12.5)
    assert (asked.target, asked.given_target) == (12.5, 12.5)


def test_the_first_of_equals_is_the_best(tmp_path):
    sweep = sweep_of(tmp_path, {PLAIN: [climb(20)], ADAM: [climb(20)]})
    assert sweep.best is sweep.configurations[0]


def test_a_full_length_sweep_of_real_data_has_no_caveat(tmp_path):
    sweep = sweep_of(tmp_path, {ADAM: [climb(20, 50)]}, epochs=50)
    assert sweep.caveats() == []
    assert sweep.data_label == "CIFAR-100"


@pytest.mark.parametrize(
    ("curve", "facts", "caveat"),
    [
        (climb(20, 50), {"epochs": 50, "synthetic": True}, "Synthetic data (made from a seed)"),
        (climb(20, 50)[:-1], {"epochs": 50}, "Partial: 0 of 1 runs have a result so far."),
        (climb(20, 1), {"epochs": 1}, "1 epoch; the study's protocol has 50"),
        (climb(20, 49), {"epochs": 49}, "49 epochs; the study's protocol has 50"),
    ],
)  # fmt: skip
def test_a_sweep_has_the_caveats_that_apply(tmp_path, curve, facts, caveat):
    """And no other caveat."""
    (found,) = sweep_of(tmp_path, {ADAM: [curve]}, **facts).caveats()
    assert found.startswith(caveat)


def test_configurations_without_any_result_are_named(tmp_path):
    """They are missing where results are compared; past five they are counted."""
    waiting = [Configuration("Adam", {"lr": rate}) for rate in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)]
    notes = sweep_of(tmp_path, {PLAIN: [climb(20)]} | {configuration: [[]] for configuration in waiting}).caveats()
    assert "Partial: 1 of 8 runs have a result so far." in notes
    assert (
        "Not compared, because without a result: Adam lr=0.1, Adam lr=0.2, Adam lr=0.3, Adam lr=0.4, Adam lr=0.5 "
        "and 2 more." in notes
    )


def test_an_empty_sweep_is_reported_as_empty(tmp_path):
    """And has neither a target nor a best."""
    sweep = sweep_of(tmp_path, {})
    assert sweep.caveats() == ["Empty: no run is planned."]
    assert (sweep.configurations, sweep.best, sweep.epochs) == ((), None, 0)
    assert math.isnan(sweep.target)


def test_synthetic_data_are_noted_in_the_label(tmp_path):
    sweep = sweep_of(tmp_path, {ADAM: [climb(20)]}, synthetic=True, data_name="synthetic-1")
    assert sweep.data_label == "synthetic-1 (made from a seed)"


def test_what_was_not_measured_is_not_a_number(tmp_path):
    """The test set was evaluated after the last epoch only."""
    (group,) = sweep_of(tmp_path, {ADAM: [climb(20)]}, tests={ADAM: [19.0]}).configurations
    assert np.isnan(group.curves["test_acc"][0, :-1]).all()
    assert group.accuracy("test")[0, -1] == 19
