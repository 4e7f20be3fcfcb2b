"""A GPU on a machine without one: PyTorch's lowest calls into CUDA are replaced, and nothing above them.

PyTorch's own Python code runs in every ``torch.cuda`` call: its lazy initialisation, its device index, its argument
checks. Replaced are functions and base classes of ``torch._C``, and what ``torch._C._cuda_init`` would add. Tensors of
this GPU exist only under :class:`on_the_gpu`: they have a shape and a device but no values.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

GPU = torch.device("cuda", 0)
GIB = 2**30
CUDA = 1  # c10::DeviceType


class GpuDriver:
    """The calls of the driver, and its answers."""

    name = "NVIDIA Test"
    memory = 80 * GIB

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.free = 78 * GIB
        self.reserved = {"current": 1 * GIB, "peak": 1 * GIB}
        self.streams = 0
        self.current_stream = (0, 0, CUDA)
        self.properties = SimpleNamespace(name=self.name, total_memory=self.memory, major=9, minor=0)

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """Return the arguments of every call of ``name``."""
        return [arguments for called, *arguments in self.calls if called == name]  # type: ignore[misc]

    def note(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))

    def functions(self) -> dict[str, Any]:
        """Return the functions of ``torch._C`` that are replaced."""
        return {
            "_cuda_getDeviceCount": lambda: 1,
            "_cuda_init": lambda: None,
            "_cuda_isInBadFork": lambda: False,
            "_cuda_getDevice": lambda: 0,
            "_cuda_setDevice": _index,
            "_cuda_synchronize": lambda: self.note("synchronize"),
            "_cuda_setMemoryFraction": self._set_memory_fraction,
            "_cuda_resetPeakMemoryStats": lambda device: self.note("reset_peak", _index(device)),
            "_cuda_memoryStats": self._memory_stats,
            "_cuda_getCurrentStream": lambda device: (_index(device), self.current_stream)[1],
            "_cuda_getDefaultStream": lambda device: (0, _index(device), CUDA),
            "_cuda_setStream": self._set_stream,
            "_cuda_emptyCache": lambda: None,
            "_host_emptyCache": lambda: None,
            "_cuda_isCurrentStreamCapturing": lambda: False,
            "_graph_pool_handle": self._graph_pool_handle,
        }

    def _set_memory_fraction(self, fraction: float, device: int) -> None:
        assert isinstance(fraction, float)
        self.note("set_memory_fraction", fraction, _index(device))

    def _memory_stats(self, device: int) -> dict[str, Any]:
        _index(device)
        return {"reserved_bytes": {"all": self.reserved}}

    def _set_stream(self, stream_id: int, device_index: int, device_type: int) -> None:
        self.current_stream = (stream_id, _index(device_index), device_type)

    def _graph_pool_handle(self) -> tuple[int, int]:
        self.note("graph_pool_handle")
        return (0, len(self.called("graph_pool_handle")))

    def memory_info(self, device: int) -> tuple[int, int]:
        """``cudaMemGetInfo``."""
        _index(device)
        return self.free, self.memory


def _index(device: object) -> int:
    """Refuse what is not the index of the one GPU, as the C++ code does."""
    if type(device) is not int or device != 0:
        raise RuntimeError(f"invalid device ordinal: {device!r}")
    return device


def base_classes(driver: GpuDriver) -> dict[str, type]:
    """Return the classes of ``torch._C`` that PyTorch's streams, events and graphs derive from."""

    class Stream:
        def __new__(cls, priority: int = 0, **kwargs: int) -> Stream:
            new = super().__new__(cls)
            if not kwargs:
                driver.streams += 1
            new.stream_id = kwargs.get("stream_id", driver.streams)
            new.device_index = _index(kwargs.get("device_index", 0))
            new.device_type = kwargs.get("device_type", CUDA)
            new.device = torch.device("cuda", new.device_index)
            new.cuda_stream = new.stream_id
            return new

        def __init__(self, *arguments: object, **kwargs: object) -> None:
            del arguments, kwargs

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Stream) and self.stream_id == other.stream_id

        def __hash__(self) -> int:
            return self.stream_id

    class Event:
        def __new__(cls, **kwargs: bool) -> Event:
            del kwargs
            return super().__new__(cls)

        def record(self, stream: Any) -> None:
            self.of = stream.stream_id

        def wait(self, stream: Any) -> None:
            driver.note("wait", stream.stream_id, self.of)

    class Graph:
        _has_graph_exec = True

        def __new__(cls, keep_graph: bool = False) -> Graph:
            del keep_graph
            return super().__new__(cls)

        def capture_begin(self, pool: Any = None, capture_error_mode: str = "global") -> None:
            del capture_error_mode
            driver.note("capture", pool, driver.current_stream[0])

        def capture_end(self) -> None: ...

        def capture_end_pre(self) -> None: ...

        def capture_end_post(self) -> None: ...

        def instantiate(self) -> None: ...

        def reset(self) -> None: ...

        def replay(self) -> None:
            driver.note("replay")

    return {"_CudaStreamBase": Stream, "_CudaEventBase": Event, "_CUDAGraph": Graph}


def _on_these_base_classes(name: str) -> ModuleType:
    """Run the source of one of PyTorch's modules again: its classes derive from what ``torch._C`` has now."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def install(driver: GpuDriver, patch: pytest.MonkeyPatch) -> None:
    """Give this process one GPU until ``patch`` is undone."""
    import torch._dynamo  # FakeTensorMode imports it, and what it imports must not keep the classes below

    for name, value in {**driver.functions(), **base_classes(driver)}.items():
        patch.setattr(torch._C, name, value, raising=False)
    cuda = {
        "_initialized": False,
        "_queued_calls": [],
        "_cached_device_count": None,
        "_lazy_seed_tracker": torch.cuda._LazySeedTracker(),
        "_get_device_properties": lambda device: (_index(device), driver.properties)[1],
        "_cudart": SimpleNamespace(cudaMemGetInfo=driver.memory_info),
        "_exchange_device": lambda device: device if device < 0 else _index(device),
        "_maybe_exchange_device": lambda device: device if device < 0 else _index(device),
        "_is_in_bad_fork": lambda: False,
    }
    for module, names in (("streams", ("Stream", "Event")), ("graphs", ("CUDAGraph", "graph", "graph_pool_handle"))):
        again = _on_these_base_classes(f"torch.cuda.{module}")
        cuda |= {name: getattr(again, name) for name in names}
    for name, value in cuda.items():
        patch.setattr(torch.cuda, name, value, raising=False)
    patch.setattr(torch._C, "_has_cuda", True)


@contextmanager
def on_the_gpu(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let tensors be made on the GPU: they have no values, and reading a value raises.

    Replaced, because their C++ code needs a real GPU: generators, page-locked memory, and autograd's engine.
    """
    from torch._subclasses import fake_tensor

    class Generator(torch.Generator):
        def __new__(cls, device: object = "cpu") -> Generator:
            del device
            return super().__new__(cls)

    class WithoutDeviceGuards(FakeTensorMode):
        avoid_device_init = True  # as on a machine without a GPU, which this is

    zeros = torch.zeros
    patch.setattr(fake_tensor, "init_gpu_context", lambda device: None)
    patch.setattr(torch, "Generator", Generator)
    patch.setattr(torch, "zeros", lambda *size, pin_memory=False, **kwargs: zeros(*size, **kwargs))
    patch.setattr(Tensor, "backward", lambda self: None)
    with WithoutDeviceGuards():
        yield
