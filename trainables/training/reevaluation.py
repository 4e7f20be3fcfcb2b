"""The loss and gradients of one run of a pack, computed again within a step for optimizers that need it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from trainables.models.parameter_stack import ParameterStack
from trainables.training.batches import Batch
from trainables.training.member import Member


class EvaluatedPack(Protocol):
    """What the evaluation of one run needs of its pack."""

    members: list[Member]
    stack: ParameterStack

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Leave the gradients in the stack; return the summed losses ``[K]`` and numbers of correct predictions."""

    def differentiable_gradients(self, k: int, batch: Batch) -> list[Tensor]:
        """Return the gradients of run k on ``batch``, with their graph."""

    def clip_gradients(self) -> None:
        """Scale each run's gradient to the protocol's largest norm; nothing is done where it has none."""


class Reevaluation:
    """Evaluates one run on the batch of the present step, with its dropout masks.

    The gradients of the whole pack are computed, so the other runs must have used theirs before.
    """

    def __init__(self, pack: EvaluatedPack, k: int, batch: Batch) -> None:
        self._pack = pack
        self._k = k
        self._batch = batch
        self._first = True

    def _begin(self) -> None:
        """Before the first pass: undo what the pass that measured the loss has changed in the buffers."""
        if self._first:
            self._first = False
            self._pack.stack.restore_buffers()

    def evaluate(self) -> Tensor:
        """Leave the gradients at the present weights in the stack, and return the mean loss."""
        self._begin()
        losses, _ = self._pack.backward(self._batch)
        self._pack.clip_gradients()
        loss = losses[self._k] / self._batch.labels.shape[1]
        return loss.to(next(iter(self._pack.stack.stacked.values())).dtype)

    def keep_graph(self) -> None:
        """Give the parameters of the run gradients that can be differentiated."""
        self._begin()
        gradients = self._pack.differentiable_gradients(self._k, self._batch)
        for view, gradient in zip(self._pack.stack.member(self._k).values(), gradients, strict=True):
            view.grad = gradient


def in_order_of_needs(
    pack: EvaluatedPack, members: Sequence[Member], batch: Batch
) -> list[tuple[Member, Reevaluation | None]]:
    """Return ``members`` in the order in which they step: those that compute gradients again are the last."""
    chosen = {id(member) for member in members}
    ordered: list[tuple[Member, Reevaluation | None]] = [
        (member, None) for member in members if member.learner.need == "gradients"
    ]
    for k, member in enumerate(pack.members):
        if id(member) in chosen and member.learner.need != "gradients":
            ordered.append((member, Reevaluation(pack, k, batch)))
    return ordered
