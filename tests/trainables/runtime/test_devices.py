"""Each ``torch.cuda`` call of a trial's set-up, with PyTorch's own argument checks; see ``tests/gpu_driver.py``."""

from __future__ import annotations

import pytest
import torch

from tests.gpu_driver import GIB, GPU, GpuDriver
from trainables.runtime.devices import CONTEXT_BYTES, device_name, hold_to_share, training_device


def test_a_trial_trains_on_the_current_gpu_by_its_index(gpu_driver: GpuDriver) -> None:
    assert training_device(wants_gpu=True) == GPU
    assert training_device(wants_gpu=False) == torch.device("cpu")


def test_a_logical_gpu_without_a_real_one_is_the_cpu(gpu_driver: GpuDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._C, "_cuda_getDeviceCount", lambda: 0)
    assert training_device(wants_gpu=True) == torch.device("cpu")


def test_a_device_has_the_name_that_its_driver_gives(gpu_driver: GpuDriver) -> None:
    assert device_name(training_device(wants_gpu=True)) == gpu_driver.name
    assert device_name(torch.device("cpu")) == "cpu"


def test_a_trial_is_held_to_its_share_of_the_memory(gpu_driver: GpuDriver) -> None:
    """Its share less the context; a trial with a whole GPU may use all of it."""
    for gpus in (0.25, 1.0):
        hold_to_share(training_device(wants_gpu=True), gpus)
    assert gpu_driver.called("set_memory_fraction") == [
        [pytest.approx(0.25 - CONTEXT_BYTES / (80 * GIB)), 0], [1.0, 0],
    ]  # fmt: skip


def test_a_trial_on_the_cpu_asks_the_driver_for_nothing(gpu_driver: GpuDriver) -> None:
    hold_to_share(training_device(wants_gpu=False), 0)
    assert gpu_driver.calls == []


def test_pytorch_refuses_a_gpu_without_its_index(gpu_driver: GpuDriver) -> None:
    """The tests above fail where a device has no index, because this check of PyTorch's runs in them."""
    with pytest.raises(ValueError, match="with a specified index"):
        hold_to_share(torch.device("cuda"), 0.25)


def test_an_argument_of_another_type_reaches_no_driver(gpu_driver: GpuDriver) -> None:
    with pytest.raises(TypeError, match="must be `float`"):
        torch.cuda.set_per_process_memory_fraction(1, GPU)
    with pytest.raises(AssertionError, match="Invalid device id"):
        torch.cuda.get_device_name(1)
