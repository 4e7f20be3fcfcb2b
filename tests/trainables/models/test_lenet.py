"""LeNet-5's one forward pass, in all its forms, against a plain list of PyTorch's modules."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.gpu_driver import GPU, GpuDriver, on_the_gpu
from trainables.models.interface import NO_DRAWS
from trainables.models.lenet import (
    CONVOLUTIONS,
    MATRIX_PRODUCTS_FROM,
    SHAPES,
    Convolutions,
    GroupedConvolutions,
    LeNet5,
    Masks,
    convolution_for,
    initial_parameters,
    stacked_logits,
)
from trainables.models.stacked_lenet import StackedLeNet5

Gradients = list[Tensor]

pytestmark = pytest.mark.usefixtures("one_thread")


def test_lenet_has_the_studys_69656_parameters() -> None:
    assert sum(p.numel() for p in LeNet5().parameters()) == 69_656
    assert {name: tuple(p.shape) for name, p in LeNet5().named_parameters()} == SHAPES


def test_initial_weights_follow_pytorchs_own_distribution() -> None:
    """U(-b, b) with b = 1/√fan_in; bounds and spread are those of ``nn.Conv2d`` and ``nn.Linear``."""
    ours = initial_parameters(0, torch.float32)
    torch.manual_seed(0)
    for name, theirs in LeNet5().named_parameters():
        bound = math.prod(SHAPES[name.replace("bias", "weight")][1:]) ** -0.5
        assert ours[name].abs().max() <= bound
        if theirs.numel() > 1000:
            assert ours[name].std().item() == pytest.approx(theirs.std().item(), rel=0.05)
            assert ours[name].abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=0.01)


def reference_lenet() -> nn.Sequential:
    """LeNet-5 as a list of PyTorch's modules, with ReLU before pooling and no code of this project."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 100),
    ).double()  # fmt: skip


WEIGHTS = [initial_parameters(seed, torch.float64) for seed in (0, 1, 2, 3)]
K, B = len(WEIGHTS), 6


def images_and_masks(shared: bool) -> tuple[Tensor, Masks]:
    rng = torch.Generator().manual_seed(0)
    images = torch.randn(1 if shared else K, B, 3, 32, 32, generator=rng, dtype=torch.float64)
    first, second = ((torch.rand(K, B, n, generator=rng, dtype=torch.float64) > 0.3) / 0.7 for n in (120, 84))
    return images.expand(K, -1, -1, -1, -1), (first, second)


def expected(shared: bool, k: int) -> tuple[Tensor, Gradients]:
    """Model k's logits and the gradients of their squares' sum; dropout is a hook after the ReLU of a dense layer."""
    images, masks = images_and_masks(shared)
    model = reference_lenet()
    model.load_state_dict(dict(zip(model.state_dict(), WEIGHTS[k].values(), strict=True)))
    for layer, mask in ((8, masks[0][k]), (10, masks[1][k])):
        model[layer].register_forward_hook(lambda _, __, output, mask=mask: output * mask)
    logits = model(images[k])
    logits.square().sum().backward()
    return logits.detach(), [p.grad for p in model.parameters() if p.grad is not None]


def assert_equal(found: tuple[Tensor, Gradients], wanted: tuple[Tensor, Gradients]) -> None:
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(found[1], wanted[1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def stacked(
    shared: bool, convolutions: Convolutions | None, lost: int | None = None
) -> list[tuple[Tensor, Gradients]]:  # fmt: skip
    """What K models in one pass compute, model by model; all weights of the model ``lost`` are NaN."""
    images, masks = images_and_masks(shared)
    stack = {name: torch.stack([one[name] for one in WEIGHTS]) for name in SHAPES}
    for stacked_weights in stack.values():
        if lost is not None:
            stacked_weights[lost] = math.nan
        stacked_weights.requires_grad_()
    logits = stacked_logits(stack, images[0] if shared else images, masks, convolutions)
    logits.square().sum().backward()
    gradients = [leaf.grad for leaf in stack.values() if leaf.grad is not None]
    return [(logits[k].detach(), [gradient[k] for gradient in gradients]) for k in range(K)]


def test_the_module_computes_what_a_plain_list_of_modules_does() -> None:
    images, masks = images_and_masks(shared=False)
    model = LeNet5().double()
    model.load_state_dict(WEIGHTS[1])
    logits = model(images[1], (masks[0][1], masks[1][1]))
    logits.square().sum().backward()
    assert_equal((logits.detach(), [p.grad for p in model.parameters() if p.grad is not None]), expected(False, 1))


@pytest.mark.parametrize("shared", [True, False], ids=["shared images", "images of each model"])
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_k_models_at_a_time_compute_what_each_does_alone(convolution: str, shared: bool) -> None:
    """In float64: the logits, and the gradients of all ten parameters; also what a GPU computes."""
    for k, found in enumerate(stacked(shared, CONVOLUTIONS[convolution])):
        assert_equal(found, expected(shared, k))


@pytest.mark.parametrize("shared", [True, False], ids=["shared images", "images of each model"])
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_a_model_without_numbers_does_not_change_the_bits_of_the_others(convolution: str, shared: bool) -> None:
    """A diverged model stays in the shared operators until the end of the epoch."""
    healthy = stacked(shared, CONVOLUTIONS[convolution])
    diverged = stacked(shared, CONVOLUTIONS[convolution], lost=1)
    assert diverged[1][0].isnan().all()
    for k in (0, 2, 3):
        assert torch.equal(healthy[k][0], diverged[k][0])
        assert all(torch.equal(a, b) for a, b in zip(healthy[k][1], diverged[k][1], strict=True))


@pytest.mark.parametrize("shared", [True, False])
def test_on_a_cpu_the_convolutions_are_grouped(shared: bool) -> None:
    for (ours, gradients), (grouped, theirs) in zip(
        stacked(shared, None), stacked(shared, GroupedConvolutions()), strict=True
    ):
        assert torch.equal(ours, grouped)
        assert all(torch.equal(a, b) for a, b in zip(gradients, theirs, strict=True))


class Operators(TorchDispatchMode):
    """Counts operators by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func._schema.name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("models", [1, MATRIX_PRODUCTS_FROM - 1, MATRIX_PRODUCTS_FROM, 24])
def test_on_a_gpu_the_convolutions_of_several_models_are_matrix_products(
    models: int, shared: bool, gpu_driver: GpuDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with on_the_gpu(monkeypatch), Operators() as seen:
        stack = {name: torch.empty(models, *shape, device=GPU) for name, shape in SHAPES.items()}
        images = torch.empty(*(() if shared else (models,)), B, 3, 32, 32, device=GPU)
        logits = stacked_logits(stack, images)
    assert logits.shape == (models, B, 100)
    assert logits.device == GPU
    convolved = seen.names.count("aten::convolution")
    products = seen.names.count("aten::baddbmm")
    assert (convolved, products) == ((0, 5) if models >= MATRIX_PRODUCTS_FROM else (2, 3))


def test_the_device_and_the_number_of_models_choose_the_convolution() -> None:
    assert convolution_for(torch.device("cpu"), 24) == "grouped"
    assert convolution_for(GPU, 24) == "matrix products"
    assert convolution_for(GPU, MATRIX_PRODUCTS_FROM - 1) == "grouped"


@pytest.mark.parametrize(("kernels", "products"), [("torch", 3), ("grouped", 3), ("matrix products", 5)])
def test_a_model_is_convolved_by_the_kernels_that_are_asked_for(kernels: str, products: int) -> None:
    """In training and in evaluation; the dense layers are three products."""
    model = StackedLeNet5(100, kernels)
    stack = {name: torch.stack([one[name] for one in WEIGHTS]) for name in SHAPES}
    images, masks = images_and_masks(shared=True)
    for work in (
        lambda: model.train_logits(stack, {}, images[0], masks, NO_DRAWS),
        lambda: model.eval_logits(stack, {}, images[0]),
    ):
        with Operators() as seen:
            work()
        assert seen.names.count("aten::baddbmm") == products
