"""Convolution, max-pooling and ReLU of LeNet-5 on a CPU as one compiled function, forward and backward.

The forward pass computes the four outputs of a pooling window together and keeps only their largest value. A gradient
passes the window at this place alone, and PyTorch's convolutions compute the other three as well;
``compiled_convolutions.cpp`` visits only the places that have a gradient. It is compiled when it is first needed, by
the system's C++ compiler for the processor at hand, and kept in the cache folder. All sums have another order than
PyTorch's, so their last bits differ.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search_spaces.atomic_write import atomic_write
from trainables.runtime.cache_folder import default_cache_dir

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ("-std=c++17", "-O3", "-fno-predictive-commoning", "-march=native", "-shared", "-fPIC")
COMPILERS = ("c++", "g++", "clang++")
NAMES = {torch.float32: "float32", torch.float64: "float64"}
LAYERS = {(3, 6, 32): 1, (6, 16, 14): 2}
"""Input and output channels of one model, and the side of a map → the layer whose loops are compiled for them."""


class CompilerError(Exception):
    """The kernels cannot be compiled or loaded here."""


def pooled_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return ``relu(max_pool2d(conv2d(x), 2))`` of K models, ``[B, K·out, H/2, W/2]``.

    Args:
        x: ``[B, C, H, W]`` (the same for all models) or ``[B, K·C, H, W]``; channels-last is the fastest.
        weight: ``[K, out, C, 5, 5]``.
        bias: ``[K, out]``.
    """
    pooled: Tensor = _PooledConvolution.apply(x, weight, bias)
    return pooled


class _PooledConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        K, out, channels = weight.shape[:3]
        x, weight = _channels_last(x), weight.contiguous()
        B, inputs, H, W = x.shape
        shape = B, K * out, (H - 4) // 2, (W - 4) // 2
        pooled = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        places = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
        _function("forward", x, weight)(
            *_addresses(x, weight, bias.contiguous(), pooled, places), B, K, int(inputs == channels)
        )
        ctx.save_for_backward(x, weight, places)
        return pooled

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight, places = ctx.saved_tensors
        K, out, channels = weight.shape[:3]
        gradient = _channels_last(gradient)
        B, inputs, H, W = x.shape
        for_x = None
        if ctx.needs_input_grad[0]:
            for_x = torch.empty(B, K * channels, H, W, dtype=x.dtype, memory_format=torch.channels_last)
        for_weight, for_bias = torch.empty_like(weight), weight.new_empty(K, out)
        _function("backward", x, weight)(
            *_addresses(x, weight, places, gradient, for_x, for_weight, for_bias), B, K, int(inputs == channels)
        )
        if for_x is not None and inputs < for_x.shape[1]:  # all models see the same images
            for_x = for_x.unflatten(1, (K, channels)).sum(1)
        return for_x, for_weight, for_bias


def _channels_last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def _addresses(*tensors: Tensor | None) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in tensors]


def _function(name: str, x: Tensor, weight: Tensor) -> Any:
    assert x.shape[2] == x.shape[3]
    layer = LAYERS[weight.shape[2], weight.shape[1], x.shape[2]]
    return getattr(library(), f"{name}{layer}_{NAMES[weight.dtype]}")


@functools.cache
def library() -> ctypes.CDLL:
    """Return the compiled kernels, which are compiled once per machine and version of the source.

    Raises:
        CompilerError: there is no compiler, or it fails.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise CompilerError(f"no C++ compiler found ({', '.join(COMPILERS)})")
    folder = default_cache_dir() / "kernels"
    kept = folder / f"{_key(compiler)}.so"
    try:
        if not kept.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(kept) as built:
                subprocess.run(
                    [compiler, *FLAGS, "-o", str(built), str(SOURCE)], check=True, capture_output=True, text=True
                )
        return ctypes.CDLL(str(kept))
    except subprocess.CalledProcessError as error:
        raise CompilerError(f"{compiler} fails: {error.stderr.strip().splitlines()[-1:]}") from error
    except OSError as error:
        raise CompilerError(f"the kernels cannot be compiled or loaded: {error}") from error


def _key(compiler: str) -> str:
    """Return a name for what is compiled: its source, the compiler, and the processor."""
    version = subprocess.run([compiler, "--version"], check=False, capture_output=True, text=True).stdout
    parts = [SOURCE.read_text("utf-8"), *FLAGS, version, platform.machine(), _processor()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """Return the instruction sets of the processor; empty where the system does not list them."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
