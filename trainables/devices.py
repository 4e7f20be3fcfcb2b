"""The device that a pack trains on: its name, its library versions, its deterministic kernels."""

from __future__ import annotations

import os
import platform

import numpy
import torch


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
