"""Candidates for conv2 of K models on a GPU: the same result, forward and backward, from different kernels.

conv2 of one model maps ``[B, 6, 14, 14]`` to ``[B, 16, 10, 10]`` by 5×5 filters. For K models PyTorch offers one
grouped convolution; as a matrix product, the 150 inputs of every output position are copied first (``im2col``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.models import lenet

IN, OUT, SIDE, KERNEL = 6, 16, 14, 5
RESULT = SIDE - KERNEL + 1
PATCH = IN * KERNEL * KERNEL

Convolution = Callable[[Tensor, Tensor], Tensor]
"""``[B, K, 6, 14, 14]`` and weights ``[K, 16, 6, 5, 5]`` to ``[B, K, 16, 10, 10]``."""


def grouped(x: Tensor, weight: Tensor) -> Tensor:
    """Use one grouped convolution, channels first."""
    B, K = x.shape[:2]
    return F.conv2d(x.flatten(1, 2), weight.flatten(0, 1), groups=K).view(B, K, OUT, RESULT, RESULT)


def grouped_channels_last(x: Tensor, weight: Tensor) -> Tensor:
    """Use one grouped convolution, channels last."""
    B, K = x.shape[:2]
    flat = x.flatten(1, 2).contiguous(memory_format=torch.channels_last)
    return F.conv2d(flat, weight.flatten(0, 1), groups=K).reshape(B, K, OUT, RESULT, RESULT)


def one_by_one(x: Tensor, weight: Tensor) -> Tensor:
    """Use K ordinary convolutions."""
    return torch.stack([F.conv2d(x[:, k], weight[k]) for k in range(len(weight))], 1)


def vmapped(x: Tensor, weight: Tensor) -> Tensor:
    """Use ``torch.vmap`` over an ordinary convolution."""
    return torch.vmap(F.conv2d, in_dims=(1, 0), out_dims=1)(x, weight)


def patches(x: Tensor) -> Tensor:
    """Return the inputs of each output position, ``[K, 150, B·100]``, of ``x`` ``[B, K, 6, 14, 14]``."""
    return lenet.patches(x.permute(1, 2, 0, 3, 4))


def matrix_product(x: Tensor, weight: Tensor) -> Tensor:
    """Copy the patches and use one batched matrix product; autograd derives the backward pass."""
    B, K = x.shape[:2]
    return torch.bmm(weight.flatten(2), patches(x)).view(K, OUT, B, RESULT, RESULT).permute(2, 0, 1, 3, 4)


class _Im2col(torch.autograd.Function):
    """The same with ``F.fold`` for the gradient of the input; patches are computed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return matrix_product(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        B, K = x.shape[:2]
        flat = gradient.permute(1, 2, 0, 3, 4).reshape(K, OUT, -1)  # [K, 16, B·100]
        of_weight = torch.bmm(flat, patches(x).transpose(1, 2)).view_as(weight)
        columns = torch.bmm(weight.flatten(2).transpose(1, 2), flat)  # [K, 150, B·100]
        columns = columns.view(K, PATCH, B, RESULT * RESULT).permute(2, 0, 1, 3).reshape(B * K, PATCH, RESULT**2)
        of_input = F.fold(columns, (SIDE, SIDE), KERNEL).view(B, K, IN, SIDE, SIDE)
        return of_input, of_weight


def im2col(x: Tensor, weight: Tensor) -> Tensor:
    """Use matrix products forward and backward, and ``F.fold`` for the gradient of the input."""
    result: Tensor = _Im2col.apply(x, weight)
    return result


class _Transposed(torch.autograd.Function):
    """A matrix product for the weights' gradient; both other convolutions as ``im2col`` of a (padded) input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        columns = patches(x)
        ctx.save_for_backward(columns, weight)
        B, K = x.shape[:2]
        return torch.bmm(weight.flatten(2), columns).view(K, OUT, B, RESULT, RESULT).permute(2, 0, 1, 3, 4)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        columns, weight = ctx.saved_tensors
        (gradient,) = gradients
        B, K = gradient.shape[:2]
        flat = gradient.permute(1, 2, 0, 3, 4).reshape(K, OUT, -1)
        of_weight = torch.bmm(flat, columns.transpose(1, 2)).view_as(weight)
        padded = F.pad(gradient, [KERNEL - 1] * 4)  # [B, K, 16, 18, 18]
        windows = padded.unfold(3, KERNEL, 1).unfold(4, KERNEL, 1)
        spread = windows.permute(1, 2, 5, 6, 0, 3, 4).reshape(K, OUT * KERNEL**2, B * SIDE * SIDE)
        turned = weight.flip(3, 4).transpose(1, 2).reshape(K, IN, OUT * KERNEL**2)
        of_input = torch.bmm(turned, spread).view(K, IN, B, SIDE, SIDE).permute(2, 0, 1, 3, 4)
        return of_input, of_weight


def transposed(x: Tensor, weight: Tensor) -> Tensor:
    """Use matrix products only: the gradient of the input is a full convolution with the turned filters."""
    result: Tensor = _Transposed.apply(x, weight)
    return result


CANDIDATES: dict[str, Convolution] = {
    "grouped": grouped,
    "grouped, channels last": grouped_channels_last,
    "one by one": one_by_one,
    "vmap": vmapped,
    "patches + bmm": matrix_product,
    "im2col + fold": im2col,
    "im2col + turned filters": transposed,
}


def inputs(K: int, B: int, device: torch.device, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Draw an input and weights for K models."""
    rng = torch.Generator(device).manual_seed(K)
    x = torch.randn(B, K, IN, SIDE, SIDE, generator=rng, device=device, dtype=dtype)
    weight = torch.randn(K, OUT, IN, KERNEL, KERNEL, generator=rng, device=device, dtype=dtype)
    return x.requires_grad_(), weight.requires_grad_()


def gradients(convolution: Convolution, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output and the gradients of its sum, weighted by a fixed pattern, with respect to both inputs."""
    out = convolution(x, weight)
    pattern = torch.linspace(-1, 1, out.numel(), device=x.device, dtype=x.dtype).view_as(out)
    of_input, of_weight = torch.autograd.grad(out, (x, weight), pattern)
    return out.detach(), of_input, of_weight
