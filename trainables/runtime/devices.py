"""The device that a pack trains on: its name, its library versions, its deterministic kernels."""

from __future__ import annotations

import os
import platform

import numpy
import torch

CONTEXT_BYTES = 600 * 2**20
"""What CUDA and its libraries take of a GPU for every process, beside what PyTorch allocates; an assumption."""


def training_device(wants_gpu: bool) -> torch.device:
    """Return the GPU that Ray gave this process; the CPU where none was asked for, or Ray's GPUs are only logical."""
    return torch.device("cuda" if wants_gpu and torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """Return what the device calls itself: ``NVIDIA H200``, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def library_versions() -> dict[str, str]:
    """Return the versions on which the bits of a result depend."""
    return {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": numpy.__version__}


def deterministic(device: torch.device) -> None:
    """Ask for kernels that give the same bits every time, on this process's ``device``."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)
        # Else every new tensor is first filled with NaN, a launch each; nothing here reads what it has not written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property
        full_precision()


def full_precision() -> None:
    """Let float32 be float32: unless it is told not to, PyTorch lets cuDNN convolve with 10 bits of mantissa."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def allocator_fraction(gpus: float, whole: int) -> float:
    """Return the fraction of ``whole`` bytes that PyTorch may allocate in a process that has ``gpus`` of a GPU.

    The process's context comes out of its share, so that all the shares together fit.
    """
    return 1.0 if gpus >= 1 else max(0.0, gpus - CONTEXT_BYTES / whole)


def hold_to_share(device: torch.device, gpus: float) -> None:
    """Let this process allocate no more of ``device`` than a trial with ``gpus`` of it may."""
    if device.type == "cuda":
        whole = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(allocator_fraction(gpus, whole), device)
