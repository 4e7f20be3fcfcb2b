"""A step on tensors that only say they are on a GPU: PyTorch computes nothing, and refuses what a GPU would not do.

A value that is asked for, and an operator between tensors of the GPU and of the host, raise. Left out are what needs a
driver: autograd's engine (its operators are seen by the rehearsal), page-locked memory, and the fused kernels, of which
only the places of the arguments are checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.trainables.training.test_resume import run_of
from trainables.data import augmentation
from trainables.training.batches import Batch, Split
from trainables.training.cuda_graphs import NoGraphs
from trainables.training.multi_tensor import KERNELS
from trainables.training.pack import Pack, evaluate

GPU = torch.device("cuda", 0)


class OnlyOnTheGpu(TorchDispatchMode):
    """Checks the fused kernels' arguments, and notes what is copied from the host."""

    def __init__(self) -> None:
        super().__init__()
        self.fused = 0
        self.from_host: list[tuple[int, ...]] = []
        self.first_step = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        name = func._schema.name
        if name.startswith("aten::_fused_"):
            self.fused += 1
            assert {tensor.device for tensor in tensors} == {GPU}
            return None
        if self.first_step and name == "aten::_local_scalar_dense":
            return 0.003  # Rprop's and ASGD's states begin at the rate, which is looked at for it, once
        if name == "aten::copy_" and args[0].device == GPU and args[1].device != GPU:
            self.from_host.append(tuple(args[0].shape))
        if name == "aten::_to_copy" and args[0].device != GPU and kwargs.get("device") == GPU:
            self.from_host.append(tuple(args[0].shape))
        return func(*args, **kwargs)


@pytest.fixture(autouse=True)
def _no_driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *size, pin_memory=False, **kwargs: zeros(*size, **kwargs))
    monkeypatch.setattr(Tensor, "backward", lambda self: None)
    augmentation._scale_and_shift.cache_clear()
    yield
    augmentation._scale_and_shift.cache_clear()


def test_a_step_stays_on_the_gpu_and_only_changed_rates_come_from_the_host() -> None:
    """Two runs of every capturable optimizer, one of which warms up, and one with a cycled momentum outside."""
    runs = [run_of(name, "none", warmup=warmup) for name in KERNELS for warmup in (0, 1)]
    runs.append(run_of("SGD", "CyclicLR", params={"momentum": 0.9}))
    K, B = len(runs), 32
    with FakeTensorMode(), OnlyOnTheGpu() as seen:
        pack = Pack(runs, 4, GPU, NoGraphs())
        pack._views_checked = True  # by addresses, which these have none of
        masks = (torch.empty(1, B, 120, device=GPU), torch.empty(1, B, 84, device=GPU))
        images = torch.empty(1, B, 32, 32, 3, dtype=torch.uint8, device=GPU)
        batch = Batch(images, torch.zeros(1, B, dtype=torch.int64, device=GPU), masks)
        pack.train_step(batch)
        seen.first_step, seen.fused, seen.from_host = False, 0, []
        for step in (1, 2):
            pack.step_in_epoch = step
            pack.train_step(batch)
        assert seen.from_host == [(K,), (K,)]
        assert seen.fused == 2 * 2 * 3  # two steps, two runs each of SGD, Adam and AdamW
        loss, accuracy = evaluate(
            pack.stack.stacked, Split(images.expand(10, B, -1, -1, -1).flatten(0, 1), batch.labels.repeat(1, 10)[0])
        )
        assert loss.device == accuracy.device == GPU
        with pytest.raises(RuntimeError, match=r"_local_scalar_dense|is_nonzero"):
            pack.freeze_non_finite(pack.loss_sum)


def test_what_mixes_host_and_gpu_is_refused() -> None:
    """That the test above could fail."""
    with FakeTensorMode(), pytest.raises(RuntimeError, match="device"):
        torch.ones(3, device=GPU) + torch.ones(3)
