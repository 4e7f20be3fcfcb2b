"""The shortest plan for given times; noise rarely changes it."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.planning.plan import even_sizes
from sweep.planning.planner import NOISE, StepTimes, choose, makespan

ONE_THREAD = StepTimes({(1, 1): 10.0, (2, 1): 16.0, (4, 1): 28.0})
"""Alone a run's step takes 10, in a pack of two 8, in one of four 7."""


def test_a_step_is_as_measured_on_the_line_between_or_to_scale() -> None:
    assert [ONE_THREAD.of(size, 1) for size in (1, 2, 3, 4, 8)] == [10, 16, 22, 28, 56]
    given_size = StepTimes({(4, 2): 20.0})
    assert [given_size.of(size, 2) for size in (2, 4, 8)] == [10, 20, 40]


def test_times_are_read_back_from_json_unchanged() -> None:
    assert StepTimes.from_list(ONE_THREAD.to_list()) == ONE_THREAD


@pytest.mark.parametrize(
    ("packs", "slots", "expected"),
    [
        ([4], 2, 28),  # one slot idles
        ([2, 2], 2, 16),
        ([2, 2, 2], 2, 32),  # two in one slot
        ([1, 4, 1, 1], 2, 30),  # the longest first, and the short ones beside it
        ([], 2, 0),
    ],
)
def test_a_plan_is_as_long_as_its_last_slot_works(packs: list[int], slots: int, expected: float) -> None:
    assert makespan(packs, slots, ONE_THREAD, 1) == expected


def test_four_runs_of_a_seed_on_two_slots_make_two_packs() -> None:
    """16 in place of the 28 of one pack of four, although a pack of four is the cheaper one for each run."""
    assert choose([4], [], ONE_THREAD, {1: 2}, range(1, 5)) == (2, 1)


def test_four_runs_of_a_seed_on_one_slot_make_one_pack() -> None:
    assert choose([4], [], ONE_THREAD, {1: 1}, range(1, 5)) == (4, 1)


def test_one_pack_on_two_threads_is_chosen_where_it_is_shorter() -> None:
    """Four together on two threads take 14, two and two on one thread each 16."""
    both = StepTimes({**ONE_THREAD.seconds, (1, 2): 6.0, (2, 2): 9.0, (4, 2): 14.0})
    assert choose([4], [], both, {1: 2, 2: 1}, range(1, 5)) == (4, 2)


def test_a_single_run_gets_the_threads_that_make_it_faster() -> None:
    times = StepTimes({(1, 1): 10.0, (1, 2): 6.0})
    assert choose([1], [], times, {1: 2, 2: 1}, [1]) == (1, 2)


def test_the_last_pack_does_not_straggle() -> None:
    """Nine runs, two slots: packs of four would be three, of which the last trains alone; so five and four."""
    times = StepTimes({(1, 1): 10.0, (8, 1): 60.0})
    assert even_sizes(9, choose([9], [], times, {1: 2}, range(1, 9))[0]) == [4, 5]


def test_packs_that_are_continued_keep_their_slots() -> None:
    """A pack of four uses one slot for 28; the four new runs end earlier on the other slot as one pack."""
    assert choose([4], [4], ONE_THREAD, {1: 2}, range(1, 5)) == (4, 1)


def test_ties_within_noise_go_to_fewer_threads_and_larger_packs() -> None:
    nearly = StepTimes({(1, 1): 10.0, (2, 1): 20.0 * 0.98, (1, 2): 5.0, (2, 2): 10.0 * 0.96})
    assert choose([4], [], nearly, {1: 2, 2: 1}, [1, 2]) == (2, 1)


def test_a_pack_size_that_is_given_leaves_the_threads_to_choose() -> None:
    times = StepTimes({(4, 1): 28.0, (4, 2): 14.5})
    assert choose([8], [], times, {1: 2, 2: 1}, [4]) == (4, 1)
    assert choose([4], [], times, {1: 2, 2: 1}, [4]) == (4, 2)


GROUPS = st.lists(st.integers(1, 40), min_size=1, max_size=6)
SECONDS = st.floats(0.001, 10)


@given(data=st.data(), groups=GROUPS, begun=st.lists(st.integers(1, 16), max_size=4))
def test_no_plan_is_longer_than_that_of_packs_of_one(data: st.DataObject, groups: list[int], begun: list[int]) -> None:
    """Nor longer than the best one by more than the noise, for any measured times."""
    slots = data.draw(st.sampled_from([{1: 1}, {1: 2}, {1: 2, 2: 1}, {1: 8, 2: 4, 4: 2, 8: 1}]))
    cells = list(product((1, 2, 4, 8, 16), slots))
    times = StepTimes(
        dict(zip(cells, data.draw(st.lists(SECONDS, min_size=len(cells), max_size=len(cells))), strict=True))
    )

    def length(size: int, threads: int) -> float:
        packs = [*begun, *(part for group in groups for part in even_sizes(group, size))]
        return makespan(packs, slots[threads], times, threads)

    chosen = length(*choose(groups, begun, times, slots, range(1, 17)))
    assert chosen <= min(length(1, threads) for threads in slots)
    assert chosen <= NOISE * min(length(size, threads) for size in range(1, 17) for threads in slots)


@given(packs=st.lists(st.integers(1, 16), min_size=1, max_size=12), slots=st.integers(1, 5))
def test_a_makespan_lies_between_the_bounds_of_list_scheduling(packs: list[int], slots: int) -> None:
    """Graham, *Bounds on Multiprocessing Timing Anomalies* (1969): at least the mean load and the longest pack, and
    above the mean load by less than the longest one."""
    times = StepTimes({(1, 1): 1.0})
    found = makespan(packs, slots, times, 1)
    assert max(sum(packs) / slots, max(packs)) <= found + 1e-9
    assert found <= sum(packs) / slots + max(packs) * (slots - 1) / slots + 1e-9
