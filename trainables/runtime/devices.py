"""The device that trains a pack: its name, library versions, deterministic kernels and share of memory."""

from __future__ import annotations

import os
import platform

import numpy
import torch

from search_spaces.errors import SpecError

TF32 = "tf32"

CONTEXT_BYTES = 800 * 2**20
"""Memory of CUDA and its libraries per process on a GPU where it was not measured, in addition to PyTorch's
allocations: 758 MiB were measured on an H200 (see ``benchmarks/LOG.md``)."""


def training_device(wants_gpu: bool) -> torch.device:
    """Return the GPU that Ray assigned to this process; the CPU where none is wanted or PyTorch finds no GPU.

    The device has an index: ``torch.cuda.set_per_process_memory_fraction`` refuses one without it.
    """
    if wants_gpu and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def device_name(device: torch.device) -> str:
    """Return the name of the device: for example ``NVIDIA H200``, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def library_versions() -> dict[str, str]:
    """Return the versions that affect the bits of a result."""
    return {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": numpy.__version__}


def deterministic(device: torch.device) -> None:
    """Use deterministic kernels in this process if ``device`` is a GPU."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)
        # Otherwise PyTorch fills every new tensor with NaN, one launch each; no code here reads uninitialised memory.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property
        use_precision(device, "float32")


def use_precision(device: torch.device, precision: str) -> None:
    """Compute products of float32 numbers with the protocol's ``precision`` in this process.

    By default PyTorch lets cuDNN convolve float32 in TF32, with 10 bits of mantissa. A device without TF32 would
    compute in float32, and the protocol in the run's id would be wrong.

    Raises:
        SpecError: TF32 on such a device.
    """
    tf32 = precision == TF32
    if tf32 and not _has_tf32(device):
        raise SpecError(
            "protocol.precision", f"{precision!r}, but {device_name(device)} has no TF32",
            "'float32', or an NVIDIA GPU of compute capability 8.0 or newer",
        )  # fmt: skip
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32


def _has_tf32(device: torch.device) -> bool:
    nvidia = device.type == "cuda" and torch.version.hip is None
    return nvidia and torch.cuda.get_device_capability(device) >= (8, 0)


def allocator_fraction(gpus: float, whole: int, context: int = 0) -> float:
    """Return the fraction of ``whole`` bytes that PyTorch may allocate in a process that has ``gpus`` of a GPU.

    The CUDA context of the process counts towards its share, so that all shares together fit; ``context`` are its
    measured bytes, 0: not measured.
    """
    return 1.0 if gpus >= 1 else max(0.0, gpus - (context or CONTEXT_BYTES) / whole)


def hold_to_share(device: torch.device, gpus: float, context: int = 0) -> None:
    """Limit the allocations of this process on ``device`` to a share ``gpus`` of it, as :func:`allocator_fraction`.

    A process cannot measure its own context: on a shared GPU, the memory in use is also that of other processes.
    """
    if device.type == "cuda":
        whole = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(allocator_fraction(gpus, whole, context), device)
