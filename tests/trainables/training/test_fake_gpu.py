"""A step on tensors of a GPU that have no values: PyTorch computes nothing, and refuses what a GPU would not do.

A value that is read, and an operator between tensors of the GPU and of the host, raise. What needs a real GPU is left
out (``tests/gpu_driver.py``); of the fused kernels, only the devices of the arguments are checked.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from search_spaces import Protocol
from tests.gpu_driver import GIB, GPU, GpuDriver, on_the_gpu
from tests.trainables.small_runs import make_run, options, tiny_data
from tests.trainables.training.test_resume import run_of
from trainables.data import augmentation
from trainables.data.dataset import DataSet, load_data
from trainables.profiling.gpu_share import Footprint, probe_footprint, whole_memory
from trainables.profiling.probe import StepTimer
from trainables.training import cuda_graphs
from trainables.training.batches import Batch, Split
from trainables.training.cuda_graphs import WARM_UPS, NoGraphs, graphs_of
from trainables.training.loop import train
from trainables.training.messages import Assignment, TrialSpec
from trainables.training.multi_tensor import KERNELS
from trainables.training.pack import Pack, evaluate
from trainables.training.trial import run_trial

READS_A_VALUE = r"_local_scalar_dense|is_nonzero"


class OnlyOnTheGpu(TorchDispatchMode):
    """Checks the arguments of fused kernels, and records what is copied from the host."""

    def __init__(self) -> None:
        super().__init__()
        self.fused = 0
        self.from_host: list[tuple[int, ...]] = []
        self.reads_rates = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        name = func._schema.name
        if name.startswith("aten::_fused_"):
            self.fused += 1
            assert {tensor.device for tensor in tensors} == {GPU}
            return None
        if self.reads_rates and name == "aten::_local_scalar_dense":
            return 0.003  # the states of Rprop and ASGD start at the learning rate, which is read once for it
        if name == "aten::copy_" and args[0].device == GPU and args[1].device != GPU:
            self.from_host.append(tuple(args[0].shape))
        if name == "aten::_to_copy" and args[0].device != GPU and kwargs.get("device") == GPU:
            self.from_host.append(tuple(args[0].shape))
        return func(*args, **kwargs)


@pytest.fixture(autouse=True)
def gpu(gpu_driver: GpuDriver, monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuDriver]:
    """Tensors and the driver of one GPU; nothing that was cached for it stays."""
    caches = (augmentation._scale_and_shift, cuda_graphs.graphs_of)
    monkeypatch.setattr("trainables.models.parameter_stack.ParameterStack.check_views", lambda *_: None)  # no addresses
    for cache in caches:
        cache.cache_clear()
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with on_the_gpu(monkeypatch):
        yield gpu_driver
    torch.use_deterministic_algorithms(deterministic[0])
    torch.utils.deterministic.fill_uninitialized_memory = deterministic[1]
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
    for cache in caches:
        cache.cache_clear()


@pytest.fixture(autouse=True)
def seen(gpu: GpuDriver) -> Iterator[OnlyOnTheGpu]:
    del gpu  # first: this mode is the inner one
    with OnlyOnTheGpu() as seen:
        yield seen


def batch_of(B: int) -> Batch:
    masks = (torch.empty(1, B, 120, device=GPU), torch.empty(1, B, 84, device=GPU))
    images = torch.empty(1, B, 32, 32, 3, dtype=torch.uint8, device=GPU)
    return Batch(images, torch.zeros(1, B, dtype=torch.int64, device=GPU), masks)


def test_a_step_stays_on_the_gpu_and_only_changed_rates_come_from_the_host(seen: OnlyOnTheGpu) -> None:
    """Two runs of every optimizer that can be captured, one with warm-up, and one run with a cycled momentum."""
    runs = [run_of(name, "none", warmup=warmup) for name in KERNELS for warmup in (0, 1)]
    runs.append(run_of("SGD", "CyclicLR", params={"momentum": 0.9}))
    K, B = len(runs), 32
    seen.reads_rates = True
    pack = Pack(runs, 4, GPU, NoGraphs())
    batch = batch_of(B)
    pack.train_step(batch)
    seen.reads_rates, seen.fused, seen.from_host = False, 0, []
    for step in (1, 2):
        pack.step_in_epoch = step
        pack.train_step(batch)
    assert seen.from_host == [(K,), (K,)]
    assert seen.fused == 2 * 2 * 3  # two steps, two runs each of SGD, Adam and AdamW
    images = batch.images.expand(10, B, -1, -1, -1).flatten(0, 1)
    loss, accuracy = evaluate(pack.stack.stacked, Split(images, batch.labels.repeat(1, 10)[0]))
    assert loss.device == accuracy.device == GPU
    with pytest.raises(RuntimeError, match=READS_A_VALUE):
        pack.freeze_non_finite(pack.loss_sum)


def test_a_pack_sets_the_precision_of_its_protocol() -> None:
    for precision in ("tf32", "float32"):
        Pack([make_run(lr=0.1, protocol=Protocol(batch_size=32, precision=precision))], 4, GPU, NoGraphs())
        assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == (precision == "tf32")


def test_a_pack_names_the_kernels_that_it_uses() -> None:
    runs = [make_run(lr=rate) for rate in (0.1, 0.2, 0.3, 0.4)]
    for count, kernels, expected in (
        (4, "torch", "matrix products"),
        (1, "torch", "grouped"),
        (4, "grouped", "grouped"),
    ):
        pack = Pack(runs[:count], 4, GPU, NoGraphs(), kernels=kernels)
        assert pack.kernels == expected


def test_an_operator_between_host_and_gpu_is_refused() -> None:
    """The test above fails where a step mixes devices."""
    with pytest.raises(RuntimeError, match="device"):
        torch.ones(3, device=GPU) + torch.ones(3)


def test_a_step_is_captured_after_its_warm_up_and_then_replayed(gpu: GpuDriver) -> None:
    """Gradients and update are one graph each, in one memory pool, captured on the stream of the warm-up."""
    pack = Pack([make_run(lr=0.1)], 10, GPU)
    for step in range(WARM_UPS + 2):
        pack.step_in_epoch = step
        pack.train_step(batch_of(32))
    assert gpu.streams == 1
    assert gpu.called("capture") == [[(0, 1), 1], [(0, 1), 1]]
    assert len(gpu.called("replay")) == 2 * 2
    waits = gpu.called("wait")  # the side stream waits for the default stream, and that one for it
    assert waits == [[1, 0], [0, 1]] * (2 * WARM_UPS)
    assert gpu.current_stream[0] == 0


@pytest.mark.parametrize("packs", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_packs_of_a_process_share_one_stream_and_one_memory_pool(gpu: GpuDriver, packs: int) -> None:
    """Each stream keeps a cuBLAS workspace that is never freed, so a worker must not make one for each pack."""
    held: weakref.WeakSet[Pack] = weakref.WeakSet()
    for run in [make_run(lr=0.1), make_run("Adam")] * (packs // 2):
        held.add(pack := Pack([run], 10, GPU))
        for step in range(WARM_UPS + 1):
            pack.step_in_epoch = step
            pack.train_step(batch_of(32))
    assert gpu.streams == 1
    assert gpu.called("graph_pool_handle") == [[]]
    assert gpu.called("capture") == [[(0, 1), 1]] * 2 * packs
    del pack
    gc.collect()
    assert not held  # nothing keeps a pack that has ended
    assert graphs_of(GPU) is graphs_of(torch.device("cuda", 0))
    assert graphs_of(torch.device("cpu")) is None


@pytest.fixture(scope="module")
def few() -> DataSet:
    """100 images to train on: four steps of an epoch."""
    return load_data("synthetic:n_train=200,n_test=100,seed=1", val_fraction=0.5)


def test_an_epochs_training_time_ends_when_the_gpu_is_done(few: DataSet, gpu: GpuDriver) -> None:
    """The host waits after the last step; the first value that is read is the loss of the whole epoch."""
    runs = [make_run(lr=0.1), make_run("Adam")]
    with pytest.raises(RuntimeError, match=READS_A_VALUE):
        next(train(Assignment("pack", runs, 1, frozenset()), few, GPU, options()))
    assert gpu.calls[-2:] == [("replay",), ("synchronize",)]
    assert len(gpu.called("synchronize")) == 1 + len(gpu.called("capture"))  # PyTorch waits before a capture, too


def test_a_trial_subtracts_the_measured_context_from_its_share(few: DataSet, gpu: GpuDriver, tmp_path: Path) -> None:
    assignment = Assignment("pack", [make_run(lr=0.1)], 1, frozenset())
    spec = TrialSpec(
        assignment, str(tmp_path), str(tmp_path), threads=torch.get_num_threads(), gpus=0.5, gpu_context=GIB
    )
    with pytest.raises(RuntimeError, match=READS_A_VALUE):
        next(run_trial(spec, few, lambda: False))
    assert gpu.called("set_memory_fraction") == [[0.5 - 1 / 80, 0]]


def test_a_step_is_timed_until_the_gpu_is_done(gpu: GpuDriver) -> None:
    timer = StepTimer(tiny_data(), [make_run(lr=0.1)], gpu=True)
    assert timer.device() == gpu.name
    gpu.calls.clear()
    assert timer.seconds(4, threads=1) > 0
    assert [call for call in gpu.calls if call[0] == "synchronize"] == [("synchronize",)] * 2


def test_a_probe_measures_the_peak_of_the_allocator_and_the_context(gpu: GpuDriver, few: DataSet) -> None:
    """The context is what is neither free nor held by the allocator."""
    gpu.reserved, gpu.free = {"current": 3 * GIB, "peak": 4 * GIB}, 76 * GIB
    assert probe_footprint([make_run(lr=0.1), make_run("Adam")], few) == Footprint(4 * GIB, GIB, 80 * GIB)
    assert gpu.called("reset_peak") == [[0]]
    assert gpu.calls[-1] == ("synchronize",)
    assert whole_memory() == 80 * GIB


def test_a_probe_without_enough_memory_reports_a_whole_gpu(
    gpu: GpuDriver, few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Pack, "train_step", refuse)
    assert probe_footprint([make_run(lr=0.1)], few) == Footprint(80 * GIB, 0, 80 * GIB)
