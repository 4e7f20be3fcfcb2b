"""The compiled kernels have the values and gradients of PyTorch's operators."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import trainables.models.compiled_convolutions as compiled
from search_spaces import Protocol
from tests.trainables.small_runs import CPU, make_run
from trainables.data.dataset import DataSet
from trainables.models.compiled_convolutions import COMPILERS, CompilerError, library, pooled_convolution
from trainables.models.kernels import COMPILED, TORCH, usable_kernels
from trainables.models.lenet import initial_parameters
from trainables.models.stacked_lenet import StackedLeNet5
from trainables.training.batches import Batches, Split
from trainables.training.pack import Pack

pytestmark = pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C++ compiler")

CASES = {
    "conv1, the same images": (3, 3, 6, 32, True),
    "conv1, images of every model": (2, 3, 6, 32, False),
    "conv2": (3, 6, 16, 14, False),
    "conv2, one model": (1, 6, 16, 14, False),
    "conv1, channels of several blocks": (11, 3, 6, 32, True),
    "conv1, one model": (1, 3, 6, 32, True),
}
"""Models, input and output channels of one, side of the maps, whether all models see the same maps."""


def expected(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    groups = x.shape[1] // weight.shape[2]
    return F.relu(F.max_pool2d(F.conv2d(x, weight.flatten(0, 1), bias.flatten(), groups=groups), 2))


def inputs(case: str, dtype: torch.dtype, ties: bool) -> tuple[list[Tensor], Tensor]:
    """Input, weight and bias, and a gradient of the result. With ties, many windows have equal largest values."""
    K, channels, out, side, shared = CASES[case]
    rng = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        values = torch.randn(shape, generator=rng, dtype=dtype)
        return (values / 2).round() if ties else values

    x = draw(5, channels if shared else K * channels, side, side).to(memory_format=torch.channels_last)
    given = [x, draw(K, out, channels, 5, 5), draw(K, out)]
    gradient = torch.randn(5, K * out, (side - 4) // 2, (side - 4) // 2, generator=rng, dtype=dtype)
    return [tensor.requires_grad_() for tensor in given], gradient


@pytest.mark.parametrize("ties", [False, True], ids=["", "ties"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 5e-6)])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_pytorch(case: str, dtype: torch.dtype, tolerance: float, ties: bool) -> None:
    given, gradient = inputs(case, dtype, ties)
    there, here = expected(*given), pooled_convolution(*given)
    gradients = [torch.autograd.grad(maps, given, gradient) for maps in (here, there)]
    for found, right in zip((here, *gradients[0]), (there, *gradients[1]), strict=True):
        assert found.shape == right.shape
        assert (found - right).abs().max() <= tolerance * right.abs().max()


def test_ties_of_the_test_above_exist() -> None:
    given, _ = inputs("conv2", torch.float64, ties=True)
    maps = F.conv2d(given[0], given[1].flatten(0, 1), given[2].flatten(), groups=3).detach()
    windows = maps.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    largest = windows.amax(-1, keepdim=True)
    assert (((windows == largest).sum(-1) > 1) & (largest[..., 0] > 0)).any()


def test_nan_passes_pooling_as_in_pytorch() -> None:
    given, gradient = inputs("conv2", torch.float64, ties=False)
    given[0].data[0, 0, 3, 4] = float("nan")
    given[0].data[1, 1, 5, 5] = float("inf")
    there, here = expected(*given), pooled_convolution(*given)
    assert torch.isnan(there).any()
    assert torch.equal(here.isnan(), there.isnan())
    assert torch.allclose(here.nan_to_num(), there.nan_to_num(), rtol=1e-12, atol=1e-13)
    found, right = (torch.autograd.grad(maps, given[2], gradient)[0] for maps in (here, there))
    assert torch.allclose(found, right, rtol=1e-12)


def test_the_gradient_of_an_input_that_needs_none_is_not_computed() -> None:
    given, gradient = inputs("conv1, the same images", torch.float32, ties=False)
    x = given[0].detach()
    pooled_convolution(x, *given[1:]).backward(gradient)
    assert x.grad is None
    assert given[1].grad is not None


def test_gradients_have_no_graph() -> None:
    given, gradient = inputs("conv2", torch.float32, ties=False)
    gradients = torch.autograd.grad(pooled_convolution(*given), given, gradient, create_graph=True)
    assert not any(found.requires_grad for found in gradients)


class _PlainModel:
    """The pass of K models as PyTorch's operators alone, in the order of the definition."""

    def train_logits(self, parameters, buffers, images, masks, draws):
        x, K = images, len(parameters["fc1.bias"])
        for layer in ("conv1", "conv2"):
            x = expected(x, parameters[f"{layer}.weight"], parameters[f"{layer}.bias"])
        x = x.reshape(len(x), K, 400).transpose(0, 1)
        for layer, mask in (("fc1", masks[0]), ("fc2", masks[1]), ("fc3", None)):
            weight, bias = parameters[f"{layer}.weight"], parameters[f"{layer}.bias"]
            x = torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))
            x = x if mask is None else F.relu(x) * mask
        return x


def test_a_pack_without_compiled_kernels_has_the_bits_of_pytorchs_operators(
    data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [make_run("SGD", lr=0.02 * (k + 1), momentum=0.9) for k in range(3)]
    batches = Batches(data, [0] * 3, runs[0].protocol, CPU)
    packs = [Pack(runs, batches.steps, CPU) for _ in range(2)]
    monkeypatch.setattr(packs[1], "_fast_model", _PlainModel())
    for index in range(20):
        epoch, step = divmod(index, batches.steps)
        for pack in packs:
            pack.train_step(batches.batch(epoch + 1, step))
        assert torch.equal(packs[0].loss_sum, packs[1].loss_sum)
    for name, right in packs[1].stack.stacked.items():
        assert torch.equal(packs[0].stack.stacked[name], right)


@pytest.mark.parametrize("seeds", [(0, 0, 0), (0, 1, 0)], ids=["one seed", "two seeds"])
def test_a_pack_with_compiled_kernels_follows_pytorch(seeds: tuple[int, ...], data: DataSet) -> None:
    protocol = Protocol(dtype="float64")
    runs = [make_run("SGD", protocol=protocol, seed=seed, lr=0.02 * (k + 1)) for k, seed in enumerate(seeds)]
    batches = Batches(data, list(seeds), protocol, CPU)
    packs = [Pack(runs, batches.steps, CPU, kernels=kernels) for kernels in (TORCH, COMPILED)]
    for step in range(2):
        for pack in packs:
            pack.train_step(batches.batch(1, step))
        there, here = packs
        assert torch.allclose(here.loss_sum, there.loss_sum, rtol=1e-10)
    for name, right in there.stack.stacked.items():
        assert torch.allclose(here.stack.stacked[name], right, rtol=1e-9, atol=1e-13)
    assert any(not torch.equal(here.stack.stacked[name], right) for name, right in there.stack.stacked.items())
    split = Split.of(data.test_images, data.test_labels, CPU)
    (loss, accuracy), (right, expected_accuracy) = here.evaluate(split), there.evaluate(split)
    assert torch.allclose(loss, right, rtol=1e-9)
    assert torch.equal(accuracy, expected_accuracy)


def test_compiled_kernels_evaluate_too() -> None:
    parameters = {name: values[None] for name, values in initial_parameters(0, torch.float64, 100).items()}
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    here, there = (StackedLeNet5(100, compiled).eval_logits(parameters, {}, images) for compiled in (True, False))
    assert torch.allclose(here, there, rtol=1e-12)
    assert not torch.equal(here, there)


def test_a_pack_with_compiled_kernels_has_second_derivatives(data: DataSet) -> None:
    run = make_run("SGD", lr=0.1)
    batches = Batches(data, [0], run.protocol, CPU)
    pack = Pack([run], batches.steps, CPU, kernels=COMPILED)
    gradients = pack.differentiable_gradients(0, batches.batch(1, 0))
    assert all(gradient.requires_grad for gradient in gradients)


def test_compiled_kernels_are_for_lenet5_on_a_cpu() -> None:
    assert usable_kernels(COMPILED, Protocol(), CPU) == COMPILED
    assert usable_kernels(COMPILED, Protocol(model="lenet5_wide"), CPU) == TORCH
    assert usable_kernels(COMPILED, Protocol(), torch.device("cuda", 0)) == TORCH
    assert usable_kernels(TORCH, Protocol(), CPU) == TORCH


@pytest.fixture
def not_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, and a process that has not loaded the kernels."""
    monkeypatch.setenv("LENET_SWEEP_CACHE", str(tmp_path))
    library.cache_clear()
    yield tmp_path
    library.cache_clear()


def test_a_missing_or_failing_compiler_is_one_line(not_compiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = not_compiled / "c++"
    failing.write_text("#!/bin/sh\necho 'error: no such flag' >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(compiled, "COMPILERS", (str(failing),))
    with pytest.raises(CompilerError, match=r"c\+\+.*no such flag"):
        library()
    monkeypatch.setattr(compiled, "COMPILERS", ("no-such-compiler",))
    with pytest.raises(CompilerError, match="no-such-compiler"):
        library()
    assert not list(not_compiled.rglob("*.so"))
