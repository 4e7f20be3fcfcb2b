"""LeNet-5 for 3×32×32 images and C classes: one forward pass, for a plain module and for K models at a time.

LeCun et al., *Gradient-based learning applied to document recognition* (1998), with ReLU, max-pooling and
dropout in place of the original's tanh, subsampling and Gaussian connections: 69,656 parameters for 100 classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.models.compiled_convolutions import pooled_convolution
from trainables.runtime.seeding import generator

HIDDEN = (120, 84)
"""Units of the two dense layers that are followed by dropout."""

FEATURES = 400
"""Inputs of the first dense layer: 16 maps of 5×5."""

MATRIX_PRODUCTS_FROM = 4
"""Smallest number of models whose convolutions on a GPU are matrix products; for fewer models cuDNN is faster (see
``benchmarks/LOG.md``)."""

CLASSES = 100
"""Number of classes by default: that of CIFAR-100."""


def shapes(classes: int = CLASSES) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter of a model for C classes."""
    return {
        "conv1.weight": (6, 3, 5, 5),
        "conv1.bias": (6,),
        "conv2.weight": (16, 6, 5, 5),
        "conv2.bias": (16,),
        "fc1.weight": (HIDDEN[0], FEATURES),
        "fc1.bias": (HIDDEN[0],),
        "fc2.weight": (HIDDEN[1], HIDDEN[0]),
        "fc2.bias": (HIDDEN[1],),
        "fc3.weight": (classes, HIDDEN[1]),
        "fc3.bias": (classes,),
    }


SHAPES = shapes()
"""The shapes for 100 classes; the names and their order do not depend on the number of classes."""

Masks = tuple[Tensor, Tensor]
"""Dropout masks, scaled by 1/(1-p): ``[B, 120]`` and ``[B, 84]``; in a pack with a leading ``[K]`` or ``[1]``."""

ApplyLayer = Callable[[str, Tensor], Tensor]
"""Applies the layer of this name (``conv1``, ``conv2``, ``fc1``, ``fc2`` or ``fc3``) to a tensor."""


def forward_stages(apply_layer: ApplyLayer, images: Tensor, masks: Masks | None = None) -> Iterator[tuple[str, Tensor]]:
    """Yield the name and value of each stage: conv1, pool1, conv2, pool2, fc1, fc2, and the logits as fc3.

    ``pool1`` and ``pool2`` are after ReLU, ``fc1`` and ``fc2`` after ReLU and dropout. Pooling comes before ReLU: the
    values and gradients are the same, and ReLU has a quarter of the work.

    Args:
        apply_layer: the layers, of one model or of K models. ``fc1`` gets the maps of ``pool2`` and flattens them.
        images: what ``apply_layer("conv1", images)`` accepts.
        masks: dropout masks for ``fc1`` and ``fc2``; None for evaluation.
    """
    x = images
    for conv, pool in (("conv1", "pool1"), ("conv2", "pool2")):
        x = apply_layer(conv, x)
        yield conv, x
        x = F.relu(F.max_pool2d(x, 2))
        yield pool, x
    yield from dense_stages(apply_layer, x, masks)


def dense_stages(apply_layer: ApplyLayer, x: Tensor, masks: Masks | None = None) -> Iterator[tuple[str, Tensor]]:
    """Yield the stages of :func:`forward_stages` after ``pool2``, whose maps are ``x``."""
    for i, dense in enumerate(("fc1", "fc2")):
        x = F.relu(apply_layer(dense, x))
        x = x if masks is None else x * masks[i]
        yield dense, x
    yield "fc3", apply_layer("fc3", x)


def _logits(stages: Iterator[tuple[str, Tensor]]) -> Tensor:
    """Compute all stages and return the value of the last one."""
    for _, value in stages:
        logits = value
    return logits


class LeNet5(nn.Module):
    """One LeNet-5, built from PyTorch's layers."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(FEATURES, HIDDEN[0])
        self.fc2 = nn.Linear(HIDDEN[0], HIDDEN[1])
        self.fc3 = nn.Linear(HIDDEN[1], classes)

    def forward(self, images: Tensor, masks: Masks | None = None) -> Tensor:
        """Return logits ``[B, C]`` of ``images`` ``[B, 3, 32, 32]``; ``masks`` are given in training only."""
        return _logits(self.stages(images, masks))

    def stages(self, images: Tensor, masks: Masks | None = None) -> Iterator[tuple[str, Tensor]]:
        """Yield the stages of :func:`forward_stages` for ``images`` ``[B, 3, 32, 32]``."""
        return forward_stages(self._layer, images, masks)

    def _layer(self, layer: str, x: Tensor) -> Tensor:
        output: Tensor = self.get_submodule(layer)(x.flatten(1) if layer == "fc1" else x)
        return output


def initial_parameters(seed: int, dtype: torch.dtype, classes: int = CLASSES) -> dict[str, Tensor]:
    """Return the initial weights of ``seed`` for C classes, by PyTorch's own rule for these layers.

    U(-b, b) with b = 1/√fan_in for weights and biases (``kaiming_uniform_`` with a = √5, as in
    ``torch.nn.Conv2d`` and ``Linear``). They are always drawn on the CPU, so that they do not depend on the device.
    """
    rng = generator(torch.device("cpu"), seed, "weights")
    parameters = {}
    for name, shape in shapes(classes).items():
        if name.endswith("weight"):
            bound = 1 / math.sqrt(math.prod(shape[1:]))  # also the bound of the bias, which is the next entry
        parameters[name] = torch.empty(shape, dtype=torch.float64).uniform_(-bound, bound, generator=rng).to(dtype)
    return parameters


class Convolutions(Protocol):
    """How the two convolutions of K models are computed, and the memory layout of their maps."""

    def arrange(self, images: Tensor) -> Tensor:
        """Return ``[B, 3, 32, 32]`` (shared by all models) or ``[K, B, 3, 32, 32]`` in the layout of the maps."""

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Convolve with ``weight`` ``[K, out, in, 5, 5]`` and ``bias`` ``[K, out]``."""

    def features(self, maps: Tensor, models: int) -> Tensor:
        """Return the last maps as the input of the dense layers, ``[K, B, 400]``."""


class GroupedConvolutions:
    """Maps are ``[B, K·channels, H, W]``; one grouped convolution serves K models.

    Where all models see the same images, conv1 is one dense convolution from 3 to 6K channels.
    """

    def arrange(self, images: Tensor) -> Tensor:
        """See :meth:`Convolutions.arrange`."""
        if images.dim() == 4:
            return images
        return images.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """See :meth:`Convolutions.convolve`."""
        groups = x.shape[1] // weight.shape[2]  # 1 for shared images, else K
        return F.conv2d(x, weight.flatten(0, 1), bias.flatten(), groups=groups)

    def features(self, maps: Tensor, models: int) -> Tensor:
        """See :meth:`Convolutions.features`."""
        return maps.reshape(len(maps), models, FEATURES).transpose(0, 1)


class CompiledConvolutions(GroupedConvolutions):
    """As :class:`GroupedConvolutions`, with compiled kernels for convolution, pooling and ReLU together."""


class MatrixProducts:
    """Maps are ``[K·channels, B, H, W]``; a convolution is one batched matrix product of filters and patches."""

    def arrange(self, images: Tensor) -> Tensor:
        """See :meth:`Convolutions.arrange`; here the maps of an input stay ``[1 or K, 3, B, 32, 32]``."""
        return (images.unsqueeze(0) if images.dim() == 4 else images).transpose(1, 2)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """See :meth:`Convolutions.convolve`."""
        K, out, channels = weight.shape[:3]
        x = x if x.dim() == 5 else x.unflatten(0, (-1, channels))
        inputs, _, B, H, W = x.shape  # 1 input for K models, or K
        filters = weight.reshape(inputs, -1, channels * 25)
        maps = torch.baddbmm(bias.reshape(inputs, -1, 1), filters, patches(x))
        return maps.view(K * out, B, H - 4, W - 4)

    def features(self, maps: Tensor, models: int) -> Tensor:
        """See :meth:`Convolutions.features`."""
        by_model = maps.view(models, -1, maps.shape[1], 25)  # [K, 16, B, 25]
        return by_model.transpose(1, 2).reshape(models, -1, FEATURES)


def patches(x: Tensor) -> Tensor:
    """Copy the inputs of each output of a 5×5 convolution: ``[K, C, B, H, W]`` to ``[K, C·25, B·(H-4)·(W-4)]``."""
    K, C, B, H, W = x.shape
    windows = x.unfold(3, 5, 1).unfold(4, 5, 1)  # [K, C, B, H - 4, W - 4, 5, 5]
    return windows.permute(0, 1, 5, 6, 2, 3, 4).reshape(K, C * 25, B * (H - 4) * (W - 4))


def convolutions_for(device: torch.device, models: int) -> Convolutions:
    """Return how ``models`` models are convolved on ``device``.

    On a GPU the convolutions of several models are matrix products: cuDNN's grouped convolution is slower (1.8 times
    for 24 models on an H200), and its gradient of the weights has a relative error of 1e-3.
    """
    return MatrixProducts() if device.type == "cuda" and models >= MATRIX_PRODUCTS_FROM else GroupedConvolutions()


def stacked_logits(
    parameters: Mapping[str, Tensor],
    images: Tensor,
    masks: Masks | None = None,
    convolutions: Convolutions | None = None,
) -> Tensor:
    """Return the logits ``[K, B, C]`` of K models in one pass.

    Args:
        parameters: as :data:`SHAPES`, each with a leading ``[K]``.
        images: ``[B, 3, 32, 32]`` where all models see the same batch, or ``[K, B, 3, 32, 32]``.
        masks: dropout masks with a leading ``[K]`` or ``[1]``; None for evaluation.
        convolutions: how to convolve; None: :func:`convolutions_for` the device of ``images``.
    """
    K = len(parameters["conv1.weight"])
    how = convolutions_for(images.device, K) if convolutions is None else convolutions

    def apply_layer(layer: str, x: Tensor) -> Tensor:
        weight, bias = parameters[f"{layer}.weight"], parameters[f"{layer}.bias"]
        if layer.startswith("conv"):
            return how.convolve(x, weight, bias)
        x = how.features(x, K) if layer == "fc1" else x
        return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))  # [K, B, in] to [K, B, out]

    x = how.arrange(images)
    if isinstance(how, CompiledConvolutions):
        for layer in ("conv1", "conv2"):
            x = pooled_convolution(x, parameters[f"{layer}.weight"], parameters[f"{layer}.bias"])
        return _logits(dense_stages(apply_layer, x, masks))
    return _logits(forward_stages(apply_layer, x, masks))
