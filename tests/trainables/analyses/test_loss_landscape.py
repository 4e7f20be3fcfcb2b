"""The plane of a path is that of a PCA, and the loss on it is that of the models with these weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F

from search_spaces.errors import SpecError
from tests.trainables.small_runs import CPU, FLOAT64, make_run, options
from trainables.analyses.loss_landscape import (
    Directions,
    loss_surface,
    path_lengths,
    path_losses,
    principal_directions,
    retrain_weights,
    surface_extent,
)
from trainables.data import augmentation
from trainables.data.dataset import DataSet
from trainables.models.lenet import LeNet5, initial_parameters
from trainables.training.batches import Batches, Split
from trainables.training.loop import train
from trainables.training.messages import Assignment
from trainables.training.pack import Pack
from trainables.training.weight_snapshots import SavedWeights, flattened


def test_directions_are_the_leading_eigenvectors_of_the_covariance() -> None:
    points = np.random.default_rng(0).normal(size=(9, 30)) * np.linspace(3, 0.1, 30)
    found = principal_directions(points)
    values, vectors = scipy.linalg.eigh(np.cov(points, rowvar=False))
    np.testing.assert_allclose(found.explained, values[[-1, -2]] / values.sum(), rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(found.axes * vectors[:, [-1, -2]].T, axis=1)), 1, rtol=1e-9)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(2), atol=1e-12)


def test_points_in_a_plane_are_explained_completely_and_recovered() -> None:
    rng = np.random.default_rng(1)
    plane, _ = np.linalg.qr(rng.normal(size=(500, 2)))
    points = rng.normal(size=500) + rng.normal(size=(7, 2)) * [5, 1] @ plane.T
    found = principal_directions(points)
    assert found.explained.sum() == pytest.approx(1, abs=1e-12)
    back = [found.point(x, y) for x, y in found.project(points)]
    np.testing.assert_allclose(back, points, atol=1e-10)


def test_points_on_a_line_still_get_two_orthonormal_axes() -> None:
    points = np.outer([0.0, 1.0, 3.0], [3.0, 4.0, 0.0, 0.0])
    found = principal_directions(points)
    np.testing.assert_allclose(found.explained, [1, 0], atol=1e-12)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(np.abs(np.diff(found.project(points)[:, 0])), [5, 10])


def test_the_farthest_point_lies_on_each_axis_positive_side() -> None:
    points = np.random.default_rng(2).normal(size=(6, 40))
    for cloud in (points, -points):
        coordinates = principal_directions(cloud).project(cloud)
        for axis in coordinates.T:
            assert axis[np.abs(axis).argmax()] > 0


@pytest.mark.parametrize(
    ("points", "line"),
    [
        (np.eye(2), "trajectory: only 2 different"),
        (np.zeros((5, 4)), "trajectory: only 1 different"),
        (np.array([[0.0, 1], [1, 0], [np.inf, 0]]), "trajectory: weights that are not finite"),
    ],
    ids=["two", "all equal", "infinite"],
)
def test_points_that_span_no_plane_are_refused(points: np.ndarray, line: str) -> None:
    with pytest.raises(SpecError, match=line):
        principal_directions(points)


def test_lengths_of_a_path_of_threes_and_fours() -> None:
    """A 3-4-5 triangle: length 7 by the legs, 5 from the start."""
    length, distance = path_lengths(np.array([[1.0, 1, 0], [4, 1, 0], [4, 1, 4]]))
    assert length.tolist() == [0, 3, 7]
    assert distance.tolist() == [0, 3, 5]


def test_the_surface_reaches_a_quarter_beyond_the_path() -> None:
    xs, ys = surface_extent(np.array([[-1.0, 0], [3, 2]]), margin=0.25, size=5)
    assert xs.tolist() == [-2, -0.5, 1, 2.5, 4]
    assert ys.tolist() == [-0.5, 0.25, 1, 1.75, 2.5]


def test_the_surface_of_a_straight_path_has_a_width() -> None:
    _, ys = surface_extent(np.array([[0.0, 1], [10, 1]]), margin=0.25)
    assert (ys[0], ys[-1]) == pytest.approx((1 - 2.625, 1 + 2.625))  # 0.35 of 10, and half as much again


@pytest.fixture(scope="module")
def trained(data: DataSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[SavedWeights, str, list[float]]:
    """The weights of a run's two epochs, and its validation losses as the loop recorded them."""
    run = make_run("Adam", lr=0.01, protocol=FLOAT64)
    weights = SavedWeights(tmp_path_factory.mktemp("weights"))
    reports = train(Assignment("p", [run], 2, frozenset()), data, CPU, options(weights=weights))
    return weights, run.run_id, [row.val_loss for report in reports for row in report.rows]


def split_of(data: DataSet) -> Split:
    return Split.of(data.val_images, data.val_labels, CPU)


@pytest.mark.parametrize("at_a_time", [1, 4, 100])
def test_the_loss_under_the_path_is_what_the_loop_recorded(
    at_a_time: int, trained: tuple[SavedWeights, str, list[float]], data: DataSet
) -> None:
    """Three points lie in their plane exactly."""
    weights, run_id, recorded = trained
    points = np.stack([weights.read(run_id, epoch) for epoch in range(3)])
    directions = principal_directions(points)
    xs, ys = directions.project(points).T
    told: list[tuple[int, int]] = []
    surface = loss_surface(
        directions, xs, ys, split_of(data), torch.float64,
        models_at_a_time=at_a_time, on_progress=lambda *x: told.append(x),
    )  # fmt: skip
    assert surface.shape == (3, 3)
    assert [surface[1, 1], surface[2, 2]] == pytest.approx(recorded, rel=1e-10)
    assert told[-1] == (9, 9)
    losses = path_losses(points, split_of(data), torch.float64, models_at_a_time=at_a_time)
    np.testing.assert_allclose(losses, np.diag(surface), rtol=1e-10)


def test_rows_of_the_surface_are_y_and_columns_x(data: DataSet) -> None:
    """Each corner against a plain module at these weights."""
    rng = np.random.default_rng(3)
    origin = flattened(initial_parameters(0, torch.float64)).astype(np.float64)
    axes = np.linalg.qr(rng.normal(size=(len(origin), 2)))[0].T
    directions = Directions(origin, axes, np.array([0.7, 0.3]))
    xs, ys = np.array([-20.0, 0.0, 30.0]), np.array([-10.0, 40.0])
    surface = loss_surface(directions, xs, ys, split_of(data), torch.float64)
    assert surface.shape == (2, 3)
    images = augmentation.normalise(torch.from_numpy(data.val_images), torch.float64)
    for (row, column), value in np.ndenumerate(surface):
        model = LeNet5().double()
        vector = torch.from_numpy(origin + xs[column] * axes[0] + ys[row] * axes[1])
        torch.nn.utils.vector_to_parameters(vector, model.parameters())
        with torch.no_grad():
            expected = F.cross_entropy(model(images), torch.from_numpy(data.val_labels)).item()
        assert value == pytest.approx(expected, rel=1e-9)


def test_a_members_loss_on_the_surface_is_the_packs_own_evaluation(data: DataSet) -> None:
    runs = [make_run("Adam", lr=0.01, protocol=FLOAT64), make_run("SGD", lr=0.1, protocol=FLOAT64)]
    batches = Batches(data, [0, 0], FLOAT64, CPU)
    pack = Pack(runs, batches.steps, CPU)
    for step in range(4):
        pack.train_step(batches.batch(1, step))
    losses, _ = pack.evaluate(Split.of(data.val_images, data.val_labels, CPU))
    points = np.stack([flattened(pack.stack.member(k)) for k in range(2)])
    found = path_losses(points, split_of(data), torch.float64)
    np.testing.assert_allclose(found, losses.numpy(), rtol=1e-12)


@pytest.mark.parametrize("kernels", ["torch", "grouped"])
def test_retraining_gives_the_bits_of_the_first_training_and_keeps_only_what_is_wanted(
    tmp_path: Path, data: DataSet, kernels: str
) -> None:
    runs = [make_run("Adam", lr=0.003), make_run("SGD", lr=0.05, momentum=0.9)]
    assignment = Assignment("p", runs, 3, frozenset())
    first = SavedWeights(tmp_path / "first")
    before = list(train(assignment, data, CPU, options(weights=first, kernels=kernels)))
    wanted = runs[1].run_id
    again = list(retrain_weights(assignment, data, CPU, [wanted], 2, tmp_path / "again", kernels))
    assert again[0].attempts[-1].versions.get("kernels", "torch") == kernels
    kept = SavedWeights(tmp_path / "again")
    assert kept.epochs(wanted) == [0, 2, 3]
    assert kept.epochs(runs[0].run_id) == []
    for epoch in (0, 2, 3):
        np.testing.assert_array_equal(kept.read(wanted, epoch), first.read(wanted, epoch))
    assert [row.val_loss for report in again for row in report.rows] == [
        row.val_loss for report in before for row in report.rows
    ]
