"""Each ``torch.cuda`` call of a trial's set-up, with PyTorch's own argument checks; see ``tests/gpu_driver.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from search_spaces.errors import SpecError
from tests.gpu_driver import GIB, GPU, GpuDriver
from trainables.runtime.devices import CONTEXT_BYTES, device_name, hold_to_share, training_device, use_precision


def test_a_trial_trains_on_the_current_gpu_by_its_index(gpu_driver: GpuDriver) -> None:
    assert training_device(wants_gpu=True) == GPU
    assert training_device(wants_gpu=False) == torch.device("cpu")


def test_a_logical_gpu_without_a_real_one_is_the_cpu(gpu_driver: GpuDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._C, "_cuda_getDeviceCount", lambda: 0)
    assert training_device(wants_gpu=True) == torch.device("cpu")


def test_a_device_has_the_name_that_its_driver_gives(gpu_driver: GpuDriver) -> None:
    assert device_name(training_device(wants_gpu=True)) == gpu_driver.name
    assert device_name(torch.device("cpu")) == "cpu"


@pytest.fixture
def _tf32_as_it_was() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("_tf32_as_it_was")
def test_products_have_the_precision_of_the_protocol(gpu_driver: GpuDriver) -> None:
    """A process trains one pack after the other, so the precision of the one before does not remain."""
    for precision, allowed in (("float32", False), ("tf32", True), ("float32", False)):
        torch.backends.cudnn.allow_tf32 = not allowed
        use_precision(GPU, precision)
        assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (allowed, allowed)
        assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")


@pytest.mark.usefixtures("_tf32_as_it_was")
def test_tf32_is_refused_where_a_device_has_none(gpu_driver: GpuDriver) -> None:
    """PyTorch would compute in float32 without a message."""
    with pytest.raises(SpecError, match=r"^protocol\.precision: 'tf32', but cpu has no TF32"):
        use_precision(torch.device("cpu"), "tf32")
    gpu_driver.properties.major, gpu_driver.properties.minor = 7, 5
    with pytest.raises(SpecError, match=r"^protocol\.precision: 'tf32', but NVIDIA Test has no TF32"):
        use_precision(GPU, "tf32")
    use_precision(GPU, "float32")


def test_a_trial_is_held_to_its_share_of_the_memory(gpu_driver: GpuDriver) -> None:
    """Its share less the context, as measured or else as usual; a trial with a whole GPU may use all of it."""
    for gpus, context in ((0.25, 0), (0.25, 2 * GIB), (1.0, 2 * GIB)):
        hold_to_share(training_device(wants_gpu=True), gpus, context)
    assert gpu_driver.called("set_memory_fraction") == [
        [pytest.approx(0.25 - CONTEXT_BYTES / (80 * GIB)), 0], [pytest.approx(0.25 - 2 / 80), 0], [1.0, 0],
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
