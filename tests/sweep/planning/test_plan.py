"""Every unfinished run is in exactly one pack, and a started pack keeps its members."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Configuration, Protocol, Run
from search_spaces.errors import SpecError
from sweep.config.spec import Spec
from sweep.config.toml import parse_spec
from sweep.planning.plan import Pack, longest_first, make_packs, make_runs, resolve_configurations


def some_runs(configurations: int, seeds: int = 1) -> list[Run]:
    return [
        Run(Configuration("SGD", {"lr": (i + 1) / 1024}), seed, Protocol(), "d" * 16)
        for i in range(configurations)
        for seed in range(seeds)
    ]


def ids(runs: Sequence[Run]) -> list[str]:
    return [run.run_id for run in runs]


def sizes(packs: Sequence[Pack]) -> list[int]:
    return [len(pack.runs) for pack in packs]


def test_runs_of_one_seed_go_together() -> None:
    packs = make_packs(some_runs(4, seeds=3), set(), {}, 4)
    assert [{run.seed for run in pack.runs} for pack in packs] == [{0}, {1}, {2}]
    assert sizes(packs) == [4, 4, 4]


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(10, 4, [4, 3, 3]), (9, 4, [3, 3, 3]), (5, 4, [3, 2]), (8, 4, [4, 4]), (3, 4, [3]), (3, 1, [1] * 3)],
)  # fmt: skip
def test_packs_are_even_and_the_larger_ones_come_first(count: int, size: int, expected: list[int]) -> None:
    assert sizes(make_packs(some_runs(count), set(), {}, size)) == expected


@given(count=st.integers(1, 200), size=st.integers(1, 50))
def test_packs_are_as_few_as_can_be_and_differ_by_one_run_at_most(count: int, size: int) -> None:
    found = sizes(make_packs(some_runs(count), set(), {}, size))
    assert len(found) == -(-count // size)
    assert sum(found) == count
    assert max(found) <= size
    assert max(found) - min(found) <= 1


def test_the_largest_pack_comes_first_also_among_those_that_are_continued() -> None:
    runs = some_runs(7)
    packs = make_packs(runs, set(), {"one": ids(runs[:1]), "two": ids(runs[1:3])}, 4)
    assert sizes(packs) == [4, 2, 1]


def test_finished_runs_are_left_out() -> None:
    runs = some_runs(6)
    (pack,) = make_packs(runs, set(ids(runs[:3])), {}, 4)
    assert pack.run_ids == ids(runs[3:])


def test_there_is_no_pack_when_all_runs_are_finished() -> None:
    runs = some_runs(6)
    assert make_packs(runs, set(ids(runs)), {"begun": ids(runs[:4])}, 4) == []


def test_an_earlier_pack_is_continued_with_all_its_members_in_their_order() -> None:
    """Also under another size of pack, and with the member that is finished."""
    runs = some_runs(6)
    members = ids([runs[4], runs[0], runs[2]])
    packs = make_packs(runs, {runs[0].run_id}, {"begun": members}, 2)
    assert [pack.run_ids for pack in packs] == [members, ids([runs[1], runs[3]]), ids([runs[5]])]


def test_an_earlier_pack_is_continued_under_the_id_of_its_checkpoints() -> None:
    runs = some_runs(5)
    first = make_packs(runs, set(), {}, 3)
    second = make_packs(runs, {runs[0].run_id}, {pack.pack_id: pack.run_ids for pack in first}, 4)
    assert second == first


def test_an_earlier_pack_whose_members_are_all_finished_is_not_continued() -> None:
    runs = some_runs(4)
    (pack,) = make_packs(runs, set(ids(runs[:2])), {"begun": ids(runs[:2])}, 4)
    assert pack.run_ids == ids(runs[2:])


def test_an_earlier_pack_with_a_member_that_left_the_spec_is_dissolved() -> None:
    runs = some_runs(5)
    packs = make_packs(runs[1:], set(), {"begun": ids(runs[:3])}, 4)
    assert [pack.run_ids for pack in packs] == [ids(runs[1:])]


def test_of_two_earlier_packs_that_share_a_member_the_latest_is_continued() -> None:
    """A run was left out of the spec and added again; meanwhile the other member was in another pack."""
    runs = some_runs(3)
    packs = make_packs(runs, set(), {"latest": ids(runs[1:]), "before": ids(runs[:2])}, 4)
    assert [pack.run_ids for pack in packs] == [ids(runs[1:]), ids(runs[:1])]


def test_a_pack_that_is_nearly_done_comes_after_shorter_ones_that_are_not_started() -> None:
    """Three runs with one epoch of ten left are less work than one run with ten; a diverged member has few rows."""
    runs = some_runs(6)
    packs = [Pack(tuple(runs[:3])), Pack((runs[3],)), Pack(tuple(runs[4:]))]
    trained = {runs[0].run_id: 9, runs[1].run_id: 2, runs[2].run_id: 9}
    assert [len(pack.runs) for pack in longest_first(packs, 10, trained)] == [2, 1, 3]
    assert [len(pack.runs) for pack in longest_first(packs, 10, {})] == [3, 2, 1]


@given(data=st.data(), configurations=st.integers(1, 8), seeds=st.integers(1, 3), size=st.integers(1, 6))
def test_every_unfinished_run_is_in_exactly_one_pack(
    data: st.DataObject, configurations: int, seeds: int, size: int
) -> None:
    """For all finished runs and all started packs, with members that are in the spec or not."""
    known = ids(some_runs(configurations + 2, seeds))
    runs = some_runs(configurations, seeds)
    finished = data.draw(st.sets(st.sampled_from(known)))
    members = st.lists(st.sampled_from(known), min_size=1, max_size=6, unique=True)
    earlier = {f"pack {i}": pack for i, pack in enumerate(data.draw(st.lists(members, max_size=5)))}
    packs = make_packs(runs, finished, earlier, size)
    placed = [run_id for pack in packs for run_id in pack.run_ids]
    assert len(placed) == len(set(placed))
    assert set(ids(runs)) - finished <= set(placed) <= set(ids(runs))
    for pack in packs:
        if pack.run_ids not in earlier.values():
            assert finished.isdisjoint(pack.run_ids)
            assert len(pack.runs) <= size
            assert len({run.seed for run in pack.runs}) == 1
        assert not finished.issuperset(pack.run_ids)
    assert sizes(packs) == sorted(sizes(packs), reverse=True)
    assert len({pack.pack_id for pack in packs}) == len(packs)


def test_the_id_of_a_pack_is_a_function_of_its_members_and_their_order() -> None:
    runs = some_runs(3)
    assert Pack(tuple(runs)).pack_id == Pack(tuple(some_runs(3))).pack_id
    others = [runs[:2], runs[1:], runs[::-1], [*runs[1:], runs[0]], runs[:1]]
    assert len({Pack(tuple(members)).pack_id for members in [runs, *others]}) == 6


def spec(text: str, epochs: int = 4) -> Spec:
    return parse_spec(text, where="s.toml", name="s", overrides={"epochs": epochs})


@pytest.mark.parametrize("warmup", ["4", "4.5", "[1, 4]", "1e300"])
def test_a_warm_up_that_leaves_nothing_to_the_schedule_is_refused(warmup: str) -> None:
    told = r"^s: warmup: \S+ of 4 epochs; "
    with pytest.raises(SpecError, match=told):
        resolve_configurations(spec(f'[[configurations]]\noptimizer = "SGD"\nwarmup = {warmup}'), 10)


def test_a_warm_up_of_almost_all_epochs_is_taken() -> None:
    (found,) = resolve_configurations(spec('[[configurations]]\noptimizer = "SGD"\nwarmup = 3.5'), 10)
    assert found.warmup == 3.5


def test_configurations_that_are_equal_once_complete_are_listed_once_in_their_order() -> None:
    text = """
[[configurations]]
optimizer = [
    {name = "Adam"}, {name = "SGD", lr = 0.1}, {name = "SGD", lr = 0.1, momentum = 0}, {name = "SGD", lr = 0.2}
]
"""
    assert len(spec(text).expanded()) == 4
    found = resolve_configurations(spec(text), 10)
    assert [(c.optimizer, c.optimizer_params["lr"]) for c in found] == [("Adam", 0.001), ("SGD", 0.1), ("SGD", 0.2)]


def test_a_default_spelled_out_makes_no_other_run() -> None:
    """PyTorch's documented defaults of SGD and of cosine annealing, by hand."""
    short = spec('[[configurations]]\noptimizer = {name = "SGD", lr = 0.1}\nscheduler = "CosineAnnealingLR"')
    long = spec("""
[[configurations]]
optimizer = {name = "SGD", lr = 0.1, momentum = 0, dampening = 0, weight_decay = 0, nesterov = false}
scheduler = {name = "CosineAnnealingLR", T_max = 4, eta_min = 0.0}
""")
    runs = [ids(make_runs(s, resolve_configurations(s, 10), "d" * 16)) for s in (short, long)]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3


def test_the_configuration_at_fault_is_named() -> None:
    text = '[[configurations]]\noptimizer = [{name = "SGD", lr = 0.1}, {name = "SGD", momentun = 0.9}]'
    with pytest.raises(
        SpecError, match=r"^s: configuration 2: optimizer\.momentun: unknown parameter; valid: .*momentum = 0"
    ):
        resolve_configurations(spec(text), 10)


def test_runs_are_every_configuration_under_every_seed() -> None:
    found = spec('seeds = [5, 2]\n[[configurations]]\noptimizer = {name = "SGD", lr = [0.1, 0.2]}')
    configurations = resolve_configurations(found, 10)
    runs = make_runs(found, configurations, "d" * 16)
    assert [(run.configuration, run.seed) for run in runs] == [(c, seed) for c in configurations for seed in (5, 2)]
    assert {run.data_fingerprint for run in runs} == {"d" * 16}
    assert {run.protocol for run in runs} == {Protocol()}


LENGTHS = """
seeds = 2
[[configurations]]
optimizer = {name = "SGD", lr = [0.1, 0.2, 0.3]}
scheduler = [
    {name = "CosineAnnealingLR"}, {name = "none"}, {name = "StepLR", step_size = ["0.5 epochs", 2]},
    {name = "CyclicLR", cycle_momentum = false},
]
"""
"""Three rates under two schedules that follow the sweep's length, the cosine and the first StepLR, and three others."""


def runs_of_length(epochs: int) -> list[Run]:
    found = spec(LENGTHS, epochs)
    return make_runs(found, resolve_configurations(found, 10), "d" * 16)


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_runs_that_follow_the_length_share_no_pack_with_others(size: int) -> None:
    """Checked by definition: a run with the same id at 6 and at 8 epochs does not depend on the length."""
    runs = runs_of_length(8)
    kept = set(ids(runs_of_length(6)))
    packs = make_packs(runs, set(), {}, size)
    assert sorted(run_id for pack in packs for run_id in pack.run_ids) == sorted(ids(runs))
    assert [run.run_id in kept for run in runs].count(True) == 3 * 3 * 2
    assert all(len({run_id in kept for run_id in pack.run_ids}) == 1 for pack in packs)
    assert all(len({run.seed for run in pack.runs}) == 1 for pack in packs)


def test_more_epochs_continue_the_packs_that_do_not_depend_on_the_length() -> None:
    """Same members, same order, same id: their checkpoints at epoch 3 continue to epoch 6."""
    before = make_packs(runs_of_length(3), set(), {}, 4)
    runs = runs_of_length(6)
    after = make_packs(runs, set(), {pack.pack_id: pack.run_ids for pack in before}, 4)
    constant = {run.run_id for run in runs if run.configuration.scheduler in ("none", "CyclicLR")}
    kept = [pack for pack in before if constant.intersection(pack.run_ids)]
    assert len(constant) == 2 * 3 * 2
    assert constant <= {run_id for pack in kept for run_id in pack.run_ids}
    assert [pack.run_ids for pack in after if constant.intersection(pack.run_ids)] == [pack.run_ids for pack in kept]
    assert {run.run_id for pack in after for run in pack.runs} == set(ids(runs))


def test_momenta_that_the_schedule_replaces_are_refused_with_their_values() -> None:
    """They would be three names for the same training; PyTorch's cycle sets the momentum itself."""
    text = """
        [[configurations]]
        optimizer = {name = "SGD", lr = 0.1, momentum = [0.5, 0.9, 0.99]}
        scheduler = {name = "OneCycleLR", CYCLE}
    """
    with pytest.raises(SpecError, match=r"scheduler\.cycle_momentum: true replaces .* 0\.5, 0\.9, 0\.99"):
        resolve_configurations(parse_spec(text.replace("CYCLE", "max_momentum = 0.95"), where="s.toml", name="s"), 10)
    kept = text.replace("CYCLE", "cycle_momentum = false")
    assert len(resolve_configurations(parse_spec(kept, where="s.toml", name="s"), 10)) == 3
