"""The plane that contains most of a training path, and the loss on that plane.

Li et al., *Visualizing the Loss Landscape of Neural Nets* (2018), section 7: PCA directions of the path itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from search_spaces.errors import SpecError
from trainables.data.dataset import DataSet
from trainables.models.kernels import TORCH
from trainables.storage.interface import Storage
from trainables.training.batches import Split
from trainables.training.loop import TrainOptions, train
from trainables.training.messages import Assignment, Report
from trainables.training.pack import evaluate
from trainables.training.weight_snapshots import SavedWeights, unflattened

Array = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Called with the number of points done and the total."""

FEWEST_POINTS = 3
NARROWEST = 0.35
"""Smallest width of a surface as a share of its length, for a path that is nearly a line."""


@dataclass(frozen=True)
class Directions:
    """A plane in weight space: its origin and its two orthonormal axes."""

    origin: Array  # [P], the mean of the points
    axes: Array  # [2, P]
    explained: Array  # [2], share of the variance of the points along each axis

    def project(self, points: npt.NDArray[np.floating]) -> Array:
        """Return the coordinates ``[n, 2]`` of the projections of ``points`` ``[n, P]``."""
        return (np.asarray(points, np.float64) - self.origin) @ self.axes.T

    def point(self, x: float, y: float) -> Array:
        """Return the weights ``[P]`` at (x, y)."""
        return self.origin + x * self.axes[0] + y * self.axes[1]


def principal_directions(points: npt.NDArray[np.floating]) -> Directions:
    """Return the plane nearest to ``points`` ``[n, P]``: centred PCA, in float64.

    The point farthest along an axis has a positive coordinate, so that the signs do not depend on the machine.

    Raises:
        SpecError: fewer than three points that differ, or weights that are not finite.
    """
    precise = np.asarray(points, np.float64)
    if not np.isfinite(precise).all():
        raise SpecError("trajectory", "weights that are not finite", "exclude the diverged run")
    different = len({row.tobytes() for row in precise})
    if different < FEWEST_POINTS:
        hint = f"a plane needs {FEWEST_POINTS}; save weights more often, or train for more epochs"
        raise SpecError("trajectory", f"only {different} different sets of weights", hint)
    origin = precise.mean(axis=0)
    left, lengths, axes = np.linalg.svd(precise - origin, full_matrices=False)
    farthest = left[np.abs(left[:, :2]).argmax(axis=0), [0, 1]]
    signs = np.where(farthest < 0, -1.0, 1.0)
    return Directions(origin, axes[:2] * signs[:, None], lengths[:2] ** 2 / np.sum(lengths**2))


def path_lengths(points: npt.NDArray[np.floating]) -> tuple[Array, Array]:
    """Return the length of the path up to each of its ``points`` ``[n, P]``, and the distance from the first point.

    Both are ``[n]``, in L2 over all weights, not in the plane.
    """
    precise = np.asarray(points, np.float64)
    steps = np.linalg.norm(np.diff(precise, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)]), np.linalg.norm(precise - precise[0], axis=1)


def surface_extent(path: Array, margin: float = 0.25, size: int = 21) -> tuple[Array, Array]:
    """Return ``size`` values of x and of y that cover ``path`` ``[n, 2]`` plus ``margin`` of its extent per side."""
    low, high = path.min(axis=0), path.max(axis=0)
    extent = np.maximum(high - low, NARROWEST * (high - low).max())
    middle, half = (low + high) / 2, extent * (0.5 + margin)
    xs, ys = (np.linspace(middle[axis] - half[axis], middle[axis] + half[axis], size) for axis in (0, 1))
    return xs, ys


def loss_surface(
    directions: Directions, xs: Array, ys: Array, split: Split, dtype: torch.dtype, *, models_at_a_time: int = 8,
    on_progress: Progress | None = None,
) -> Array:  # fmt: skip
    """Return the mean cross-entropy ``[H, G]`` at each point of the plane, many weight vectors in one pass.

    Args:
        directions: the plane.
        xs: ``[G]``, along the first axis.
        ys: ``[H]``, along the second axis.
        split: the validation split, on the device that computes.
        dtype: type of the weights and of the computation.
        models_at_a_time: number of weight vectors in one pass.
        on_progress: called after every pass with the points done and the total.
    """
    grid = [(x, y) for y in ys for x in xs]
    losses = np.empty(len(grid))
    for start in range(0, len(grid), models_at_a_time):
        part = slice(start, start + models_at_a_time)
        losses[part] = _losses(np.stack([directions.point(x, y) for x, y in grid[part]]), split, dtype)
        if on_progress is not None:
            on_progress(min(start + models_at_a_time, len(grid)), len(grid))
    return losses.reshape(len(ys), len(xs))


def path_losses(
    points: npt.NDArray[np.floating], split: Split, dtype: torch.dtype, *, models_at_a_time: int = 8
) -> Array:
    """Return the mean cross-entropy ``[n]`` at ``points`` ``[n, P]`` themselves; arguments as in :func:`loss_surface`.

    The difference to the surface at the projection of a point shows how far the path is from the plane.
    """
    parts = range(0, len(points), models_at_a_time)
    return np.concatenate([_losses(points[start : start + models_at_a_time], split, dtype) for start in parts])


def _losses(vectors: npt.NDArray[np.floating], split: Split, dtype: torch.dtype) -> Array:
    """Return the mean loss ``[M]`` of the models whose weights are ``vectors`` ``[M, P]``."""
    models = [unflattened(vector, dtype) for vector in vectors]
    device = split.labels.device
    stacked = {name: torch.stack([model[name] for model in models]).to(device) for name in models[0]}
    return evaluate(stacked, split)[0].cpu().numpy()


def retrain_weights(
    assignment: Assignment,
    data: DataSet,
    device: torch.device,
    wanted: Collection[str],
    every: int,
    place: Path | Storage,
    kernels: str = TORCH,
) -> Iterator[Report]:
    """Train the whole pack again and save the weights of the runs ``wanted`` (ids); yield a report after every epoch.

    With the same pack, device, versions, threads and kernels its rows equal those of the ledger bit for bit.
    ``SavedWeights(place)`` reads the saved weights: the initial ones, those of every ``every`` epochs, and the last.

    Raises:
        SpecError, OSError: as :func:`trainables.training.loop.train`.
    """
    yield from train(
        assignment, data, device, TrainOptions(weights=SavedWeights(place, every, wanted), kernels=kernels)
    )
