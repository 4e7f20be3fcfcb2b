"""Ideas for the two convolutions of a training step on a CPU, and for the pooling after them.

Each is a function without arguments that returns what PyTorch's operators return, for one micro-batch of a pack.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.models.compiled_convolutions import pooled_convolution
from trainables.models.lenet import SHAPES

IMAGES = 4
"""Images of a tile: its patches of all models have 8·4·100·150 values, and those of one model stay in the cache."""


class DataGradient:
    """The gradient of conv2's input, for K models and a micro-batch."""

    def __init__(self, runs: int, examples: int) -> None:
        self._x = torch.randn(examples, 6 * runs, 14, 14).to(memory_format=torch.channels_last)
        self._weight = torch.randn(runs, *SHAPES["conv2.weight"])
        self._gradient = torch.randn(examples, 16 * runs, 10, 10).to(memory_format=torch.channels_last)

    def stock(self) -> Tensor:
        """By oneDNN's grouped convolution."""
        weight, groups = self._weight.flatten(0, 1), len(self._weight)
        found: Tensor = torch.ops.aten.convolution_backward(
            self._gradient, self._x, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], groups, [True, False, False]
        )[0]
        return found

    def tiled(self) -> Tensor:
        """As a matrix product per tile of images and per model, [positions, 16] · [16, 150], and 25 sums."""
        K = len(self._weight)
        filters = self._weight.permute(0, 1, 3, 4, 2).flatten(2)  # [K, 16, 150]
        found = torch.zeros(len(self._x), 14, 14, K, 6)
        for start in range(0, len(self._x), IMAGES):
            gradient = self._gradient[start : start + IMAGES].permute(0, 2, 3, 1).unflatten(-1, (K, 16))
            part = found[start : start + IMAGES]
            for k in range(K):
                patches = (gradient[..., k, :].reshape(-1, 16) @ filters[k]).view(len(part), 10, 10, 5, 5, 6)
                for row in range(5):
                    for column in range(5):
                        part[:, row : row + 10, column : column + 10, k] += patches[..., row, column, :]
        return found.flatten(3).permute(0, 3, 1, 2)


class PooledConvolution:
    """A convolution, pooling and ReLU, forward and backward: the gradients of what a step needs."""

    def __init__(self, layer: str, runs: int, examples: int) -> None:
        out, channels, *_ = SHAPES[f"{layer}.weight"]
        first = layer == "conv1"
        side = 32 if first else 14
        x = torch.randn(examples, channels if first else channels * runs, side, side)
        self._x = x.to(memory_format=torch.channels_last).requires_grad_(not first)
        self._weight = (torch.randn(runs, out, channels, 5, 5) / 8).requires_grad_()
        self._bias = torch.randn(runs, out).requires_grad_()
        pooled = torch.randn(examples, out * runs, (side - 4) // 2, (side - 4) // 2)
        self._gradient = pooled.to(memory_format=torch.channels_last)

    def stock(self) -> list[Tensor]:
        """By PyTorch's operators."""
        groups = self._x.shape[1] // self._weight.shape[2]
        maps = F.conv2d(self._x, self._weight.flatten(0, 1), self._bias.flatten(), groups=groups)
        return self._gradients(F.relu(F.max_pool2d(maps, 2)))

    def compiled(self) -> list[Tensor]:
        """By the compiled kernels, which visit only the positions that have a gradient."""
        return self._gradients(pooled_convolution(self._x, self._weight, self._bias))

    def _gradients(self, pooled: Tensor) -> list[Tensor]:
        wanted = [tensor for tensor in (self._x, self._weight, self._bias) if tensor.requires_grad]
        return list(torch.autograd.grad(pooled, wanted, self._gradient))


class OneWritePool(torch.autograd.Function):
    """Pooling and ReLU whose backward pass writes each input once, by four strided writes; no zeros are filled."""

    @staticmethod
    def forward(ctx, values):  # type: ignore[no-untyped-def]
        pooled, places = F.max_pool2d(values, 2, return_indices=True)
        width = values.shape[3]
        places = ((places // width % 2) * 2 + places % 2).to(torch.uint8)
        pooled = pooled.relu_()
        ctx.save_for_backward(pooled, places)
        return pooled

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        pooled, places = (tensor.permute(0, 2, 3, 1) for tensor in ctx.saved_tensors)
        B, h, w, C = pooled.shape
        passed = torch.where(pooled > 0, gradient.permute(0, 2, 3, 1), 0.0)
        found = torch.empty(B, h, 2, w, 2, C, dtype=gradient.dtype)
        for place in range(4):
            torch.mul(passed, places == place, out=found[:, :, place // 2, :, place % 2])
        return found.view(B, 2 * h, 2 * w, C).permute(0, 3, 1, 2)


def one_write(values: Tensor) -> Tensor:
    """Return the pooled ``values`` after ReLU, with the backward pass of :class:`OneWritePool`."""
    pooled: Tensor = OneWritePool.apply(values)
    return pooled


def profile(works: dict[str, Callable[[], object]], rows: int = 14) -> str:
    """Return tables of the operators of each work by their own CPU time, after one call of each."""
    texts = []
    for name, work in works.items():
        work()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
            for _ in range(3):
                work()
        texts += [f"{name}, three steps:", found.key_averages().table(sort_by="self_cpu_time_total", row_limit=rows)]
    return "\n".join(texts)
