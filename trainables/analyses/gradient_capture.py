"""The gradients of one layer at every step of a training, and the noise of a mini-batch gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from search_spaces import Run
from search_spaces.errors import SpecError, UnknownNameError
from trainables.data.dataset import DataSet
from trainables.models.registry import build_model
from trainables.training.batches import Batch, Batches
from trainables.training.loop import EndTraining, TrainOptions, train
from trainables.training.messages import Assignment
from trainables.training.pack import Pack
from trainables.training.weight_snapshots import flattened

MOST_NOISE_BATCHES = 100
MAX_BATCHES = 100_000
"""Default maximum of mini-batches for the noise; more of them improve its precision little."""

Vector = npt.NDArray[np.floating[Any]]


class RecordGradient(Protocol):
    """Receives the row of one step and may keep its arrays."""

    def __call__(self, step: int, epoch: int, gradient: Vector, weights: Vector, loss: float) -> None:
        """``step`` and ``epoch`` count from 1; ``gradient`` and the ``weights`` before the step are ``[P]``."""


@dataclass(frozen=True)
class Capture:
    """What to capture: the layer (a parameter of P values), the steps, and the mini-batches M for the noise."""

    layer: str = "conv1.weight"
    batches: int = 100  # steps to capture, at least 2; they may continue into the next epochs
    noise_batches: int | None = None  # M >= 2; None: ``batches``, at most 100

    @property
    def noise_count(self) -> int:
        """M, the mini-batches that measure the noise."""
        return min(self.batches, MOST_NOISE_BATCHES) if self.noise_batches is None else self.noise_batches

    def check(self, layers: Collection[str] | None = None) -> None:
        """Refuse what cannot be captured. ``layers`` are the parameters of the model; None: not known yet.

        Raises:
            UnknownNameError: no such layer.
            SpecError: fewer than two batches.
        """
        if layers is not None and self.layer not in layers:
            raise UnknownNameError("layer", self.layer, layers)
        if not 2 <= self.batches <= MAX_BATCHES:
            raise SpecError("batches", f"{self.batches}", f"2 (the variance needs two) to {MAX_BATCHES:,}")
        if not 2 <= self.noise_count <= MAX_BATCHES:
            raise SpecError("noise_batches", f"{self.noise_batches}", f"2 (the variance needs two) to {MAX_BATCHES:,}")


@dataclass(frozen=True)
class NoiseSums:
    """Sums over the gradients of M mini-batches of ``batch_size`` examples at fixed weights."""

    batch_size: int  # examples
    batches: int  # M
    trace_covariance: float  # tr Ĉov(g_B) of the mini-batches' gradients, ddof = 1
    mean_square_norm: float  # ‖ḡ‖² of their mean


@dataclass
class _Moments:
    """Running mean ``[P]`` and sum of squared deviations of vectors, in float64.

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


def layer_shapes(run: Run, classes: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter of the run's model for ``classes`` classes."""
    state = build_model(run.protocol, classes, run.seed).initial_state(run.seed, torch.float32)
    return {name: tuple(parameter.shape) for name, parameter in state.parameters.items()}


def capture_gradients(
    run: Run, data: DataSet, device: torch.device, *, record: RecordGradient, capture: Capture | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, NoiseSums]:  # fmt: skip
    """Train ``run`` from its initial weights and pass the gradient of one layer at every step to ``record``.

    The run trains as in a sweep; only the current row is kept in memory. One more row follows the last step: it has
    the weights after that step, and NaN as gradient ``[P]`` and loss. At these weights the next full mini-batches are
    evaluated to measure the noise, without an optimizer step.

    Args:
        run: the run, as a sweep would train it.
        data: the data of the run; the test split is not used.
        device: where to train.
        record: called with each row, in order.
        capture: layer and numbers of batches; None: the defaults of :class:`Capture`.
        on_progress: called with the number of mini-batches done and the total.

    Returns:
        The noise of the gradient of the layer, ``"layer"``, and of all parameters, ``"all"``.

    Raises:
        UnknownNameError: no such layer.
        SpecError: too few batches; a batch larger than the training split; a run that diverges before the last batch.
    """
    capture = Capture() if capture is None else capture
    capture.check(layer_shapes(run, data.classes))
    layer, batches, noise_batches = capture.layer, capture.batches, capture.noise_count
    batch_size = run.conditions.batch_size
    if batch_size > len(data.train_labels):
        raise SpecError(
            "batch_size", f"{batch_size}, but the training split has {len(data.train_labels)} images",
            "a batch size that fills at least one mini-batch",
        )  # fmt: skip
    steps_per_epoch = -(-len(data.train_labels) // batch_size)
    progress = on_progress or (lambda done, total: None)
    taken = 0
    noise: dict[str, NoiseSums] = {}

    def before_step(pack: Pack, mini_batches: Batches) -> None:
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
        for done, batch in enumerate(_full_batches(mini_batches, batch_size, epoch, step, noise_batches)):
            pack.backward(batch)
            gradients = {name: view.grad for name, view in pack.stack.member(0).items() if view.grad is not None}
            moments["layer"].add(_values(gradients[layer]))
            moments["all"].add(flattened(gradients))
            progress(batches + done + 1, batches + noise_batches)
        noise.update({name: moment.sums(batch_size) for name, moment in moments.items()})
        raise EndTraining

    # One epoch more than the steps need: the last weights are read before a step that follows them.
    assignment = Assignment(run.run_id, [run], batches // steps_per_epoch + 1, test_epochs=frozenset())
    for _ in train(assignment, data, device, TrainOptions(before_step=before_step)):
        pass
    if not noise:  # the run was frozen at the end of an epoch
        raise _diverged(batches, taken)
    return noise


def _full_batches(batches: Batches, batch_size: int, epoch: int, step: int, count: int) -> Iterator[Batch]:
    """Yield ``count`` full mini-batches from ``step`` of ``epoch`` on; the smaller last batch of an epoch is skipped.

    Within an epoch they are drawn without replacement. Their covariance with ddof = 1 stays unbiased: each mean
    varies less, and by as much the means of two batches are negatively correlated.
    """
    full = batches.examples // batch_size
    while count:
        if step >= full:
            epoch, step = epoch + 1, 0
        yield batches.batch(epoch, step)
        step, count = step + 1, count - 1


def _values(tensor: torch.Tensor) -> Vector:
    """Return a copy ``[P]``: the next step overwrites the storage of the tensor."""
    values: Vector = tensor.detach().to("cpu", copy=True).reshape(-1).numpy()
    return values


def _diverged(batches: int, taken: int) -> SpecError:
    """Return the error for a loss that is not finite after step ``taken``."""
    usable = taken - 1  # step ``taken`` led to the weights at which the loss is not finite
    hint = f"ask for at most {usable} batches" if usable >= 2 else "use a smaller learning rate"
    return SpecError("batches", f"{batches}, but the run diverged: its loss is not finite after step {taken}", hint)
