"""LeNet-5 for 3×32×32 images and 100 classes: once as a plain module, once for K models at a time.

LeCun et al., *Gradient-based learning applied to document recognition* (1998), with ReLU, max-pooling and
dropout in place of the original's tanh, subsampling and Gaussian connections: 69,656 parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.runtime.seeding import generator

HIDDEN = (120, 84)
"""Units of the two dense layers that dropout follows."""

SHAPES: dict[str, tuple[int, ...]] = {
    "conv1.weight": (6, 3, 5, 5),
    "conv1.bias": (6,),
    "conv2.weight": (16, 6, 5, 5),
    "conv2.bias": (16,),
    "fc1.weight": (HIDDEN[0], 400),
    "fc1.bias": (HIDDEN[0],),
    "fc2.weight": (HIDDEN[1], HIDDEN[0]),
    "fc2.bias": (HIDDEN[1],),
    "fc3.weight": (100, HIDDEN[1]),
    "fc3.bias": (100,),
}

Masks = tuple[Tensor, Tensor]
"""Dropout masks, already scaled by 1/(1-p): ``[B, 120]`` and ``[B, 84]``; in a pack after ``[K]`` or ``[1]``."""


class LeNet5(nn.Module):
    """One LeNet-5, the reference that the stacked form is checked against."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, HIDDEN[0])
        self.fc2 = nn.Linear(HIDDEN[0], HIDDEN[1])
        self.fc3 = nn.Linear(HIDDEN[1], 100)

    def forward(self, images: Tensor, masks: Masks | None = None) -> Tensor:
        """Return logits ``[B, 100]`` of ``images`` ``[B, 3, 32, 32]``; ``masks`` are given in training only."""
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        x = F.relu(self.fc1(x))
        x = x if masks is None else x * masks[0]
        x = F.relu(self.fc2(x))
        x = x if masks is None else x * masks[1]
        logits: Tensor = self.fc3(x)
        return logits


def initial_parameters(seed: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the weights that ``seed`` starts from, by PyTorch's own rule for these layers.

    U(-b, b) with b = 1/√fan_in for weights and biases (``kaiming_uniform_`` with a = √5, as in
    ``torch.nn.Conv2d`` and ``Linear``). Always drawn on the CPU, so that all devices start from the same.
    """
    rng = generator(torch.device("cpu"), seed, "weights")
    parameters = {}
    for name, shape in SHAPES.items():
        if name.endswith("weight"):
            bound = 1 / math.sqrt(math.prod(shape[1:]))  # a bias shares the bound of the weight above it
        parameters[name] = torch.empty(shape, dtype=torch.float64).uniform_(-bound, bound, generator=rng).to(dtype)
    return parameters


def stacked_logits(parameters: Mapping[str, Tensor], images: Tensor, masks: Masks | None = None) -> Tensor:
    """Return the logits ``[K, B, 100]`` of K models in one pass.

    Args:
        parameters: as :data:`SHAPES`, each with a leading ``[K]``.
        images: ``[B, 3, 32, 32]`` where all models see the same batch (conv1 is then one dense convolution
            from 3 to 6K channels), or ``[K, B, 3, 32, 32]``.
        masks: dropout masks with a leading ``[K]`` or ``[1]``; None for evaluation.

    Pooling comes before ReLU: the same values, a quarter of the ReLU's work.
    """
    K = parameters["conv1.weight"].shape[0]
    B = images.shape[-4]
    groups = 1
    if images.dim() == 5:
        images = images.transpose(0, 1).reshape(B, K * 3, 32, 32).contiguous(memory_format=torch.channels_last)
        groups = K
    x = F.conv2d(images, parameters["conv1.weight"].flatten(0, 1), parameters["conv1.bias"].flatten(), groups=groups)
    x = F.relu(F.max_pool2d(x, 2))
    x = F.conv2d(x, parameters["conv2.weight"].flatten(0, 1), parameters["conv2.bias"].flatten(), groups=K)
    x = F.relu(F.max_pool2d(x, 2))
    x = x.reshape(B, K, 400).transpose(0, 1)
    x = F.relu(_dense(x, parameters, "fc1"))
    x = x if masks is None else x * masks[0]
    x = F.relu(_dense(x, parameters, "fc2"))
    x = x if masks is None else x * masks[1]
    return _dense(x, parameters, "fc3")


def _dense(x: Tensor, parameters: Mapping[str, Tensor], layer: str) -> Tensor:
    """``[K, B, in]`` to ``[K, B, out]``."""
    return torch.baddbmm(parameters[f"{layer}.bias"].unsqueeze(1), x, parameters[f"{layer}.weight"].transpose(1, 2))
