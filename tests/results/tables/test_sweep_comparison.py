"""Two sweeps side by side: what differs by how much, and what may not be compared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scipy import stats

from results.ledger.arrays import SweepData
from results.tables.sweep_comparison import MUST_AGREE, compare_sweeps
from search_spaces.errors import SpecError
from search_spaces.run import Protocol
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, climb, sweep_of


@pytest.fixture
def a(tmp_path) -> SweepData:
    curves = {MOMENTUM: [climb(30), climb(32), climb(31)], ADAM: [climb(20), climb(21), climb(22)], PLAIN: [climb(9)]}
    return sweep_of(tmp_path / "a", curves)


@pytest.fixture
def b(tmp_path) -> SweepData:
    return sweep_of(tmp_path / "b", {ADAM: [climb(21), climb(21), climb(25)], MOMENTUM: [climb(28), climb(31)]})


def test_the_differences_are_scipys_paired_t(a, b):
    """By configuration and by seed, a minus b; what one sweep alone has is not in it."""
    differences, _ = compare_sweeps(a, b)
    assert [(row.values["configuration"], row.values["sweeps"]) for row in differences.rows] == [
        ("SGD lr=0.01 momentum=0.9", "both"),
        ("Adam lr=0.001", "both"),
        ("SGD lr=0.01", "only a"),
    ]
    for row, ours, theirs in zip(differences.rows[:2], ([30, 32], [20, 21, 22]), ([28, 31], [21, 21, 25]), strict=True):
        interval = stats.ttest_rel(ours, theirs).confidence_interval()
        difference = row.values["difference"]
        mean = sum(ours) / len(ours) - sum(theirs) / len(theirs)
        assert (difference.value, difference.low, difference.high) == pytest.approx((mean, interval.low, interval.high))
        assert row.values["n"] == difference.n == len(ours)
        assert row.values["verdict"] == "too few seeds"
    momentum, adam, plain = (row.values for row in differences.rows)
    assert (plain["a"].value, plain.get("b"), plain.get("difference")) == (9, None, None)
    assert (momentum["a"].value, momentum["a"].n, momentum["b"].value) == (31, 3, 29.5)
    assert [(v["won"], v["n_won"], v["n_tied"]) for v in (momentum, adam)] == [("2 of 2", 2, 0), ("½ of 3", 0, 1)]
    assert (momentum["p_value"], adam["p_value"]) == (0.5, 0.5)
    assert (momentum["p_holm"], adam["p_holm"]) == (1, 1)


def test_a_difference_names_the_runs_of_both(a, b):
    """Those of the common seeds: the third seed of one sweep has no partner."""
    row = compare_sweeps(a, b)[0].rows[0]
    assert list(row.run_ids) == [*a.configurations[0].run_ids[:2], *b.configurations[1].run_ids]


def test_the_other_way_round_the_sign_turns(a, b):
    forth, back = (
        {
            row.values["configuration"]: row.values["difference"].value
            for row in compare_sweeps(*pair)[0].rows
            if row.values["sweeps"] == "both"
        }
        for pair in ((a, b), (b, a))
    )
    label = {"SGD lr=0.01": "SGD lr=0.01 momentum=0.9"}  # b has no other SGD
    assert {label.get(name, name): -value for name, value in back.items()} == pytest.approx(forth)


def test_a_sweep_is_not_compared_with_itself(a):
    with pytest.raises(SpecError, match="compared with itself"):
        compare_sweeps(a, a)


def test_the_best_of_each_sweep_are_compared(tmp_path, a):
    """They are different configurations: paired by seed where both have a result."""
    other = sweep_of(tmp_path / "b", {PLAIN: [climb(40), climb(41), climb(42)], ADAM: [climb(20)]})
    rows = {row.values["sweeps"]: row for row in compare_sweeps(a, other)[0].rows}
    best = rows["best of each"]
    assert best.values["configuration"] == "SGD lr=0.01 momentum=0.9 and SGD lr=0.01"
    assert (best.values["n"], best.values["difference"].value) == (3, -10)
    assert set(rows) == {"both", "best of each", "only a"}


def test_sweeps_without_a_common_configuration_are_compared_at_their_best(tmp_path):
    ours = sweep_of(tmp_path / "a", {ADAM: [climb(20)]})
    rows = compare_sweeps(ours, sweep_of(tmp_path / "b", {PLAIN: [climb(22)]}))[0].rows
    assert [row.values["sweeps"] for row in rows] == ["best of each", "only a", "only b"]


@pytest.mark.parametrize(
    ("protocol", "line"),
    [
        (Protocol(batch_size=64), "batch_size is 128 in a and 64 in b"),
        (Protocol(dropout=0.5), "dropout is 0.3 in a and 0.5 in b"),
        (Protocol(augment=False), "augment is True in a and False in b"),
        (Protocol(val_fraction=0.2), "val_fraction is 0.1 in a and 0.2 in b"),
        (Protocol(dtype="bfloat16"), "dtype is float32 in a and bfloat16 in b"),
    ],
)
def test_unlike_protocols_are_refused(tmp_path, a, protocol, line):
    """The line names both sweeps, the field and both values."""
    other = sweep_of(tmp_path / "b", {ADAM: [climb(20)]}, protocol=protocol)
    with pytest.raises(SpecError, match=rf"^a and b: {line}; compare sweeps with the same protocol$"):
        compare_sweeps(a, other)


def test_every_field_of_the_protocol_but_the_model_must_agree():
    """A new field is tested here, too."""
    assert {*MUST_AGREE, "model"} == {*Protocol().settings(), "data"}  # two models are two sweeps


def test_unlike_data_are_refused(tmp_path, a):
    other = sweep_of(tmp_path / "b", {ADAM: [climb(20)]}, fingerprint="e" * 16)
    with pytest.raises(SpecError, match=f"data fingerprint is {'d' * 16} in a and {'e' * 16} in b"):
        compare_sweeps(a, other)


def test_unlike_lengths_are_refused(tmp_path, a):
    other = sweep_of(tmp_path / "b", {ADAM: [climb(20, 5)]}, epochs=5)
    with pytest.raises(SpecError, match="epochs is 10 in a and 5 in b; compare"):
        compare_sweeps(a, other)


def test_a_sweep_without_a_result_is_refused(tmp_path, a):
    with pytest.raises(SpecError, match=r"^b: has no result"):
        compare_sweeps(a, sweep_of(tmp_path / "b", {ADAM: [climb(20)[:5]]}))


def test_an_empty_sweep_is_refused_by_its_name(tmp_path, a):
    """Not by a protocol that it does not have."""
    for pair in ((a, sweep_of(tmp_path / "b", {})), (sweep_of(tmp_path / "b", {}), a)):
        with pytest.raises(SpecError, match=r"^b: has no planned run"):
            compare_sweeps(*pair)


def test_differing_conditions_are_marked(tmp_path, a):
    """Versions, threads, pack sizes and devices may differ; the table names the differences."""
    other = sweep_of(tmp_path / "b", {ADAM: [climb(20), climb(21)]}, versions={"torch": "2.12", "numpy": "2.3"},
                     threads=8, device="cuda:H200", measured={"pack_size": 16})  # fmt: skip
    conditions = {row.values["what"]: row.values for row in compare_sweeps(a, other)[1].rows}
    found = {what: (values["a"], values["b"], values["same"]) for what, values in conditions.items()}
    assert found == {
        "data name": ("cifar100", "cifar100", "same"),
        "devices": ("cpu", "cuda:H200", "differs"),
        "threads": ("2", "8", "differs"),
        "pack sizes": ("4", "16", "differs"),
        "configurations": ("3", "1", "differs"),
        "runs with a result": ("7", "2", "differs"),
        "torch version": ("2.11", "2.12", "differs"),
        "numpy version": ("?", "2.3", "differs"),
    }


def test_a_caveat_of_one_sweep_has_its_name(a, b):
    """A caveat of both is shown once."""
    partial = replace(b.configurations[0], statuses=("done", "done", "running"))
    notes = compare_sweeps(a, replace(b, configurations=(partial, *b.configurations[1:])))[0].notes
    assert "b: Partial: 4 of 5 runs have a result so far." in notes
    assert sum("study's protocol has 50" in note for note in notes) == 1


def test_sweeps_of_different_models_are_compared_and_the_models_named(a, b):
    assert "model" not in [row.values["what"] for row in compare_sweeps(a, b)[1].rows]
    other = replace(b, protocol={**b.protocol, "model": "my_models:net"})
    differences, conditions = compare_sweeps(a, other)
    assert next(row.values for row in conditions.rows if row.values["what"] == "model") == {
        "what": "model", "a": "lenet5", "b": "my_models:net", "same": "differs",
    }  # fmt: skip
    assert f"{b.name}: Model: my_models:net." in differences.notes
