"""Parameter groups: parameters of a model that have their own hyperparameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer

from search_spaces.errors import SpecError

DecayOn = Literal["all", "matrices"]
Named = Mapping[str, Tensor]
DECAY = "weight_decay"

TINY_SHAPES = {"conv1.weight": (4, 3, 3, 3), "conv1.bias": (4,), "fc3.weight": (5, 4), "fc3.bias": (5,)}
"""Parameters of a tiny model, of the kinds that LeNet-5 has, on which optimizers are tried out."""


def named(tensors: Iterable[Tensor] | Named) -> dict[str, Tensor]:
    """Return ``tensors`` by name; without names they are numbered."""
    return dict(tensors) if isinstance(tensors, Mapping) else {str(i): tensor for i, tensor in enumerate(tensors)}


def without_decay(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return ``groups``, each divided into its matrices and its other parameters, which have no weight decay.

    A group that has its own weight decay is not divided. ``params`` of a group holds its parameters by name.
    """
    divided = []
    for group in groups:
        params: Named = group["params"]
        vectors = {name: tensor for name, tensor in params.items() if tensor.dim() < 2}
        if DECAY in group or not vectors:
            divided.append(group)
            continue
        if matrices := {name: tensor for name, tensor in params.items() if name not in vectors}:
            divided.append({**group, "params": matrices})
        divided.append({**group, "params": vectors, DECAY: 0.0})
    return divided


def check_decay(optimizer: Optimizer, params: Mapping[str, Any], decay_on: str, where: str) -> None:
    """Refuse an optimizer whose weight decay cannot differ between parameters.

    Raises:
        SpecError: it has a weight decay that is not in its parameter groups.
    """
    if decay_on == "matrices" and params.get(DECAY) and DECAY not in optimizer.defaults:
        raise SpecError(
            f"{where}.{DECAY}", f"{params[DECAY]}, but the class does not read it from its parameter groups",
            'weight_decay_on = "all"',
        )  # fmt: skip
