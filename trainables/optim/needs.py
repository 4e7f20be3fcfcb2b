"""What a step of an optimizer needs: gradients, a function that computes them again, or their graph."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from search_spaces import Configuration
from search_spaces import Protocol as RunProtocol
from search_spaces.errors import SpecError
from trainables.optim.optimizers import build_optimizer
from trainables.optim.plugins import names_own_code
from trainables.optim.tiny_model import CPU, Layout, TinyModel
from trainables.runtime.seeding import seeded_globals
from trainables.runtime.user_code import without_breakpoints

Need = Literal["gradients", "closure", "graph"]
STEPS = 6
WITH_CLOSURE = frozenset({"LBFGS"})
"""Classes of PyTorch whose step needs a closure."""
REASONS: dict[Need, str] = {
    "closure": "its step() needs a closure",
    "graph": "its step() differentiates the gradients (create_graph)",
}


def check_clipping(protocol: RunProtocol, need: Need, where: str) -> None:
    """Refuse to clip gradients that are differentiated.

    Raises:
        SpecError: the key and its value.
    """
    if need == "graph" and protocol.grad_clip_norm:
        raise SpecError(
            f"{where}: protocol.grad_clip_norm", f"{protocol.grad_clip_norm}, but {REASONS[need].removeprefix('its ')}",
            "grad_clip_norm = 0, or another optimizer",
        )  # fmt: skip


class Evaluation(Protocol):
    """The loss of one run on the batch of a step, with the dropout masks of that step."""

    def evaluate(self) -> Tensor:
        """Leave the gradients at the present weights in the buffers, and return the loss."""

    def keep_graph(self) -> None:
        """Give the parameters gradients that can be differentiated."""


def take_step(optimizer: Any, need: Need, evaluation: Evaluation | None, restore: Callable[[], None]) -> None:
    """Take a step; ``restore`` gives the parameters their gradient buffers again after a ``zero_grad``."""
    if need == "gradients":
        optimizer.step()
        return
    assert evaluation is not None, f"{type(optimizer).__name__} {REASONS[need]}"
    if need == "graph":
        evaluation.keep_graph()
        optimizer.step()
        return

    def closure() -> Tensor:
        with torch.enable_grad():
            loss = evaluation.evaluate()
        restore()
        return loss

    optimizer.step(closure)


@lru_cache(maxsize=1000)
def need_of(configuration: Configuration, layout: Layout = ()) -> Need:
    """Return what the optimizer of a completed ``configuration`` needs; found with a few steps of a tiny model.

    ``layout`` is that of the parameters of the model.

    Raises:
        Exception: what its first step raises, where it can be given nothing that it needs.
    """
    if not names_own_code(configuration)[0]:
        return "closure" if configuration.optimizer.rpartition(":")[2] in WITH_CLOSURE else "gradients"
    failed: Exception | None = None
    needs: tuple[Need, ...] = ("gradients", "closure", "graph")
    with warnings.catch_warnings(), without_breakpoints():
        warnings.simplefilter("ignore")  # they are repeated in the training
        for need in needs:
            try:
                if _moves(configuration, need, layout):
                    return need
            except Exception as error:  # code of a user
                failed = failed or error
    if failed is not None:
        raise failed
    return "gradients"


def _moves(configuration: Configuration, need: Need, layout: Layout) -> bool:
    """Take steps with what ``need`` names, and return whether they change the weights."""
    model = TinyModel(torch.float32, layout)
    gradients = [parameter.grad for parameter in model.parameters.values()]

    def restore() -> None:
        for parameter, gradient in zip(model.parameters.values(), gradients, strict=True):
            parameter.grad = gradient

    with seeded_globals(CPU, 0, "need of an optimizer"):
        optimizer = build_optimizer(
            configuration.optimizer, configuration.optimizer_params, model.parameters, "optimizer"
        )
        if not _accepts(optimizer.step, need):
            return False
        if callable(getattr(optimizer, "train", None)):
            optimizer.train()  # type: ignore[attr-defined]
        before = model.values()
        for step in range(STEPS):
            model.begin(1, step)
            take_step(optimizer, need, model, restore)
            restore()
    return any(not torch.equal(*pair) for pair in zip(before, model.values(), strict=True))


def _accepts(step: Callable[..., Any], need: Need) -> bool:
    """Return whether ``step`` can be called with, or without, a closure."""
    try:
        inspect.signature(step).bind(*([None] if need == "closure" else []))
    except TypeError:
        return False
    return True
