"""A layer's gradients as a run really trains, step by step, and how noisy a mini-batch's gradient is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from search_spaces import Run
from search_spaces.errors import SpecError, UnknownNameError
from trainables.data.dataset import DataSet
from trainables.models.lenet import SHAPES
from trainables.training.batches import Batch, Batches
from trainables.training.loop import EndTraining, TrainOptions, train
from trainables.training.messages import Assignment
from trainables.training.pack import Pack
from trainables.training.weight_snapshots import flattened

MOST_NOISE_BATCHES = 100
"""Mini-batches for the noise where nobody says how many; more than so many sharpen it little."""

Vector = npt.NDArray[np.floating[Any]]


class RecordGradient(Protocol):
    """Takes one step's row, and owns its arrays."""

    def __call__(self, step: int, epoch: int, gradient: Vector, weights: Vector, loss: float) -> None:
        """``step`` and ``epoch`` count from 1; ``gradient`` and the ``weights`` before the step are ``[P]``."""


@dataclass(frozen=True)
class NoiseSums:
    """What M mini-batches of ``batch_size`` examples said of the gradient at fixed weights."""

    batch_size: int  # examples
    batches: int  # M
    trace_covariance: float  # tr Ĉov(g_B) of the mini-batches' gradients, ddof = 1
    mean_square_norm: float  # ‖ḡ‖² of their mean


@dataclass
class _Moments:
    """Mean ``[P]`` and summed squared deviations of vectors that come one by one, in float64.

    Welford, *Note on a method for calculating corrected sums of squares and products* (1962).
    """

    count: int = 0
    mean: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    deviations: float = 0.0

    def add(self, vector: Vector) -> None:
        self.count += 1
        before = vector - self.mean
        self.mean = self.mean + before / self.count
        self.deviations += float(before @ (vector - self.mean))

    def sums(self, batch_size: int) -> NoiseSums:
        trace = self.deviations / (self.count - 1)
        return NoiseSums(batch_size, self.count, trace, float(self.mean @ self.mean))


@dataclass(frozen=True)
class CaptureSettings:
    """What :func:`capture_gradients` captures."""

    layer: str = "conv1.weight"  # a name of ``SHAPES``; P values
    batches: int = 100  # steps to record, at least 2; they may go past the end of an epoch
    noise_batches: int | None = None  # M ≥ 2 mini-batches for the noise; None: ``batches``, but at most 100

    @property
    def all_noise_batches(self) -> int:
        """M, also where it was not given."""
        return min(self.batches, MOST_NOISE_BATCHES) if self.noise_batches is None else self.noise_batches


DEFAULT_SETTINGS = CaptureSettings()


def check_capture(layer: str, batches: int) -> None:
    """Say what cannot be captured, before any data is loaded.

    Raises:
        UnknownNameError: no such layer.
        SpecError: fewer than two batches.
    """
    if layer not in SHAPES:
        raise UnknownNameError("layer", layer, list(SHAPES))
    if batches < 2:
        raise SpecError("batches", f"{batches}", "at least 2; a variance over the steps needs two")


def capture_gradients(
    run: Run, data: DataSet, device: torch.device, settings: CaptureSettings = DEFAULT_SETTINGS, *,
    record: RecordGradient, on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, NoiseSums]:  # fmt: skip
    """Train ``run`` from its first step and pass the gradient of one layer at each step to ``record``.

    The run trains as it does in a sweep; nothing but the present row is kept. One more row follows the last step: its
    weights are those after it, its gradient ``[P]`` and its loss are NaN. At these weights the full mini-batches that
    come next are passed through to measure the noise; no step is taken on them.

    Args:
        run: the run, as a sweep would train it; its id decides every number.
        data: the run's data; its test split is not touched.
        device: where to train.
        settings: the layer and the numbers of steps.
        record: takes the rows in their order.
        on_progress: called with the mini-batches done and those that there are to do.

    Returns:
        The noise of the layer's gradient, ``"layer"``, and of the gradient of all parameters, ``"all"``.

    Raises:
        UnknownNameError: no such layer.
        SpecError: too few batches; a batch larger than the training split; a run that diverges on its way.
    """
    layer, batches, noise_batches = settings.layer, settings.batches, settings.all_noise_batches
    check_capture(layer, batches)
    if noise_batches < 2:
        raise SpecError("noise_batches", f"{noise_batches}", "at least 2; a variance between batches needs two")
    if run.protocol.batch_size > len(data.train_labels):
        raise SpecError(
            "batch_size", f"{run.protocol.batch_size}, but the training split has {len(data.train_labels)} images",
            "a batch size that fills at least one mini-batch",
        )  # fmt: skip
    steps_per_epoch = -(-len(data.train_labels) // run.protocol.batch_size)
    progress = on_progress or (lambda done, total: None)
    taken = 0
    noise: dict[str, NoiseSums] = {}

    def look(pack: Pack, mini_batches: Batches) -> None:
        nonlocal taken
        parameter, epoch, step = pack.stack.member(0)[layer], pack.epoch + 1, pack.step_in_epoch
        loss, weights = float(pack.step_losses[0]), _values(parameter)
        if not math.isfinite(loss):
            raise _diverged(batches, taken)
        if taken < batches:
            assert parameter.grad is not None
            taken += 1
            record(taken, epoch, _values(parameter.grad), weights, loss)
            progress(taken, batches + noise_batches)
            return
        record(taken + 1, epoch, np.full_like(weights, math.nan), weights, math.nan)
        moments = {"layer": _Moments(), "all": _Moments()}
        for done, batch in enumerate(_full_batches(mini_batches, run.protocol.batch_size, epoch, step, noise_batches)):
            pack.backward(batch)
            gradients = {name: view.grad for name, view in pack.stack.member(0).items() if view.grad is not None}
            moments["layer"].add(_values(gradients[layer]))
            moments["all"].add(flattened(gradients))
            progress(batches + done + 1, batches + noise_batches)
        noise.update({name: moment.sums(run.protocol.batch_size) for name, moment in moments.items()})
        raise EndTraining

    # One epoch more than the steps fill: it holds the step that the last weights are looked at before.
    assignment = Assignment(run.run_id, [run], batches // steps_per_epoch + 1, test_epochs=frozenset())
    for _ in train(assignment, data, device, TrainOptions(before_step=look)):
        pass
    if not noise:  # frozen at an epoch's end
        raise _diverged(batches, taken)
    return noise


def _full_batches(batches: Batches, batch_size: int, epoch: int, step: int, count: int) -> Iterator[Batch]:
    """Yield ``count`` full mini-batches from ``step`` of ``epoch`` on; an epoch's smaller last one is left out.

    Within an epoch they are drawn without replacement, which leaves their covariance with ddof = 1 unbiased: what
    each mean varies less, the means of two batches are anti-correlated.
    """
    full = batches.examples // batch_size
    while count:
        if step >= full:
            epoch, step = epoch + 1, 0
        yield batches.batch(epoch, step)
        step, count = step + 1, count - 1


def _values(tensor: torch.Tensor) -> Vector:
    """Return a copy ``[P]``: the tensor's storage is written over by the next step."""
    values: Vector = tensor.detach().to("cpu", copy=True).reshape(-1).numpy()
    return values


def _diverged(batches: int, taken: int) -> SpecError:
    """Say that the loss is not finite on the step after ``taken`` ones, and how many batches there are to have."""
    usable = taken - 1  # the last step taken made the weights that the loss is not finite at
    mend = f"ask for at most {usable} batches" if usable >= 2 else "a smaller learning rate"
    return SpecError("batches", f"{batches}, but the run diverged: its loss is not finite after step {taken}", mend)
