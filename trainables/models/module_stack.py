"""Any ``nn.Module`` as a :class:`Model`: its parameters are arguments of its forward pass, and K of them are stacked.

On a GPU ``torch.func`` vectorises the pass over the parameters of K models (``functional_call`` under ``vmap``), which
saves launches. On a CPU the models are computed one after the other: this is faster there (see ``benchmarks/LOG.md``),
and the bits of a run do not depend on its pack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from trainables.models.interface import Draws, Masks, ModelState
from trainables.runtime.seeding import seeded_globals

CPU = torch.device("cpu")
Arrays = Mapping[str, Tensor]


class ModuleStack:
    """K copies of a module with separate parameters and buffers.

    Random draws in the forward pass (``nn.Dropout``) come from the global generator, which is seeded by seed, epoch and
    step. All runs of a pack have one seed, so all use the same draws: under ``vmap`` with ``randomness="same"``. The
    draws of a run are therefore the same in every pack, and the same as alone.
    """

    splits_batches = False  # dropout and batch statistics belong to the whole batch
    capturable = False  # its draws are seeded by the host in every step

    def __init__(self, name: str, build: Callable[[], nn.Module], seed: int) -> None:
        """``build`` returns a new module with random weights; ``seed`` is that of the runs."""
        self.name = name
        self._build = build
        self._seed = seed
        self._module: nn.Module | None = None  # gives the structure; its parameters are not used
        self._place: tuple[torch.device, torch.dtype] | None = None

    def build(self, seed: int, dtype: torch.dtype) -> nn.Module:
        """Return a module with the initial weights of ``seed``, as ``dtype``."""
        with seeded_globals(CPU, seed, "weights"):
            return self._build().to(dtype)

    def initial_state(self, seed: int, dtype: torch.dtype) -> ModelState:
        """See :meth:`Model.initial_state`."""
        module = self.build(seed, dtype)
        return ModelState(
            {name: parameter.detach().clone() for name, parameter in module.named_parameters()},
            {name: buffer.detach().clone() for name, buffer in module.named_buffers()},
        )

    def train_logits(
        self, parameters: Arrays, buffers: Arrays, images: Tensor, masks: Masks | None, draws: Draws
    ) -> Tensor:
        """See :meth:`Model.train_logits`."""
        if images.device.type == "cuda" and _models(parameters) > 1:
            return self.vectorised_logits(parameters, buffers, images, draws)
        return self._one_by_one(parameters, buffers, images, draws)

    def eval_logits(self, parameters: Arrays, buffers: Arrays, images: Tensor) -> Tensor:
        """See :meth:`Model.eval_logits`."""
        if images.device.type == "cuda" and _models(parameters) > 1:
            return self.vectorised_logits(parameters, buffers, images, None)
        return self._one_by_one(parameters, buffers, images, None)

    def vectorised_logits(self, parameters: Arrays, buffers: Arrays, images: Tensor, draws: Draws | None) -> Tensor:
        """Return the logits ``[K, B, C]`` by ``vmap``; in evaluation mode where ``draws`` is None."""
        own_images = 0 if images.dim() == 5 else None
        over_models = vmap(self._pass(images, draws), in_dims=(0, own_images), randomness="same")
        with self._seeded(images, draws):
            logits: Tensor = over_models({**parameters, **buffers}, images)
        return logits

    def _one_by_one(self, parameters: Arrays, buffers: Arrays, images: Tensor, draws: Draws | None) -> Tensor:
        one = self._pass(images, draws)
        members = {name: stacked.unbind() for name, stacked in parameters.items()}
        logits = []
        for k in range(_models(parameters)):
            values = {name: member[k] for name, member in members.items()}
            values |= {name: stacked[k] for name, stacked in buffers.items()}
            with self._seeded(images, draws):
                logits.append(one(values, images[k] if images.dim() == 5 else images))
        return torch.stack(logits)

    def _pass(self, images: Tensor, draws: Draws | None) -> Callable[[Arrays, Tensor], Tensor]:
        """Return the forward pass of one model as a function of its parameters and buffers."""
        place = images.device, images.dtype
        if self._module is None or self._place != place:
            self._module = self.build(self._seed, images.dtype).to(images.device)
            self._place = place
        module = self._module.train(draws is not None)

        def one(values: Arrays, batch: Tensor) -> Tensor:
            logits: Tensor = functional_call(module, dict(values), (batch,))
            return logits

        return one

    def _seeded(self, images: Tensor, draws: Draws | None) -> AbstractContextManager[None]:
        purpose = "evaluation" if draws is None else "forward pass"
        asked = Draws(self._seed) if draws is None else draws
        return seeded_globals(images.device, asked.seed, purpose, asked.epoch, asked.step)


def _models(parameters: Arrays) -> int:
    return len(next(iter(parameters.values())))
