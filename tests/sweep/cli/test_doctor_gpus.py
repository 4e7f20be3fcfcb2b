"""``sweep doctor`` names the GPUs, with PyTorch's own argument checks; see ``tests/gpu_driver.py``."""

from __future__ import annotations

from sweep.cli import doctor
from tests.gpu_driver import GpuDriver


def test_doctor_names_each_gpu(gpu_driver: GpuDriver) -> None:
    assert gpu_driver.name in doctor._gpus()
