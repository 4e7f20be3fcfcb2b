"""The points of a search space: the same on every machine, independent of other methods, even on a grid."""

from __future__ import annotations

import math

import pytest

from search_spaces.errors import SpecError
from search_spaces.method import Dimension, Method
from sweep.planning.sampling import check_grids, draw, extra_points, grid, seed_of

RATE = Dimension(("optimizer", "lr"), "loguniform", (1e-4, 1e-1))
BETA = Dimension(("optimizer", "betas", 1), "uniform", (0.9, 0.9999))
STEP = Dimension(("scheduler", "step_size"), "choice", ("0.3 epochs", "0.5 epochs"))
SPACE = (RATE, BETA, STEP)


def flat(points: list[dict]) -> list[tuple]:
    return [tuple(values.values()) for values in points]


GOLDEN = {
    "random": [(0.0001374, 0.964428, "0.5 epochs"), (0.003198, 0.957788, "0.3 epochs")],
    "qmc": [(0.0001374, 0.964428, "0.5 epochs"), (0.0008781, 0.993763, "0.5 epochs")],
    "tpe": [(0.0001374, 0.964428, "0.5 epochs"), (0.003198, 0.957788, "0.3 epochs")],
}


@pytest.mark.parametrize("sampler", GOLDEN)
def test_the_same_seed_draws_the_same_points_on_any_machine(sampler: str) -> None:
    """The seed of study 1 of the method Adam; a change here changes the points of every published benchmark."""
    assert seed_of(0, 1, "Adam") == 2176405728
    assert flat(draw(SPACE, 6, sampler, seed_of(0, 1, "Adam"), [1, 2, 3, 4]))[:2] == GOLDEN[sampler]


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_a_larger_budget_begins_with_the_points_of_a_smaller_one(sampler: str) -> None:
    assert draw(SPACE, 9, sampler, 5)[:4] == draw(SPACE, 4, sampler, 5)
    assert draw(SPACE, 4, sampler, 5) != draw(SPACE, 4, sampler, 6)


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe"])
def test_every_point_is_within_its_range(sampler: str) -> None:
    points = draw(SPACE, 16, sampler, 3, [float(i) for i in range(16)])
    assert len(points) == 16
    for values in points:
        assert 1e-4 <= values["optimizer.lr"] <= 1e-1
        assert 0.9 <= values["optimizer.betas[1]"] <= 0.9999
        assert values["scheduler.step_size"] in STEP.bounds


def test_quasi_random_points_cover_a_range_more_evenly_than_chance() -> None:
    """After the first point, eight Sobol points have one in each eighth of a range."""
    points = draw((RATE,), 9, "qmc", 11)[1:]
    eighths = {int((8 / 3) * (4 + math.log10(one["optimizer.lr"]))) for one in points}
    assert len(eighths) >= 7


def test_tpe_draws_a_round_waits_for_its_scores_and_uses_them() -> None:
    first = draw((RATE,), 8, "tpe", 1)
    assert len(first) == 2
    assert draw((RATE,), 8, "tpe", 1, [1.0, None]) == first
    low, high = ([10.0, 20.0], [20.0, 10.0])
    assert len(draw((RATE,), 8, "tpe", 1, low)) == 4
    assert draw((RATE,), 8, "tpe", 1, low)[:2] == first
    assert draw((RATE,), 8, "tpe", 1, low) != draw((RATE,), 8, "tpe", 1, high)


@pytest.mark.parametrize(
    ("space", "budget", "expected"),
    [
        ((RATE,), 4, [1e-4, 1e-3, 1e-2, 1e-1]),
        ((RATE,), 1, [0.003162]),
    ],
)
def test_a_grid_of_one_dimension_is_even_and_has_both_ends(space: tuple, budget: int, expected: list[float]) -> None:
    assert [values["optimizer.lr"] for values in grid(space, budget)] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("budget", "size"), [(12, 12), (7, 6), (5, 4), (3, 3)])
def test_a_grid_of_two_dimensions_has_at_most_the_budget(budget: int, size: int) -> None:
    points = flat(grid((RATE, BETA), budget))
    assert len(set(points)) == size


def method(name: str, **optimizer: object) -> Method:
    return Method.of({"name": name, "optimizer": {"name": "SGD", **optimizer}}, "spec")


def test_grids_of_different_sizes_are_unequal_budgets() -> None:
    one = method("one", lr={"loguniform": [1e-4, 1]})
    two = method("two", lr={"loguniform": [1e-4, 1]}, momentum={"uniform": [0, 0.9]})
    check_grids([one, two], 12, "spec")
    with pytest.raises(SpecError, match=r"budget: 7.*7 points for 'one', 6 points for 'two'.*budget = 8"):
        check_grids([one, two], 7, "spec")


def test_extra_points_are_in_the_part_that_was_added() -> None:
    one = method("one", lr={"loguniform": [1e-3, 1e-1]}, momentum={"uniform": [0, 0.9]})
    points, widened = extra_points(one, {"optimizer.lr": "high"}, 4, "qmc", 3)
    assert all(0.1 <= values["optimizer.lr"] <= 1 for values in points)
    assert [dimension.bounds for dimension in widened] == [(1e-3, pytest.approx(1)), (0, 0.9)]
    others, same = extra_points(one, {}, 4, "qmc", 3)
    assert all(1e-3 <= values["optimizer.lr"] <= 0.1 for values in others)
    assert tuple(same) == one.dimensions
