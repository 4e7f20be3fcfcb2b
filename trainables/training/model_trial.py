"""A trial of a model at planning time: does it train, can it share a pack, and does it continue from a checkpoint?"""

from __future__ import annotations

import io
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from search_spaces import Configuration, Protocol, Run
from search_spaces.errors import SpecError, shown
from trainables.data import augmentation
from trainables.models.interface import Draws, ModelState
from trainables.models.module_stack import ModuleStack
from trainables.models.registry import module_stack
from trainables.optim.optimizers import complete_optimizer
from trainables.optim.planning_trial import bits_of
from trainables.optim.tiny_model import Layout, layout_of
from trainables.runtime.seeding import generator
from trainables.runtime.user_code import error_text, one_line_errors
from trainables.runtime.user_imports import check_named
from trainables.training.batches import Batch
from trainables.training.pack import Pack

EXAMPLES = 6
STEPS = 4
BREAK = 2
"""Steps before the state is saved."""
LENET5_PRODUCTS = 659_280
"""Multiplications in the convolutions and dense layers of LeNet-5 for one image and 100 classes."""
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-9}
"""Largest relative difference between a stacked pass and separate passes."""
DRAWS = Draws(seed=0, epoch=1, step=0)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class ModelFacts:
    """What a trial found out about a model."""

    parameters: int  # number of trained values
    layout: Layout  # name and number of dimensions of each parameter
    cost: float  # multiplications of a forward pass, relative to LeNet-5
    alone: str  # why its runs cannot share a pack; empty: they can
    cannot_resume: str  # why a checkpoint does not hold all of its state; empty: it does


def try_model(protocol: Protocol, classes: int, packages: Collection[str], where: str) -> ModelFacts:
    """Train the protocol's model, which is not LeNet-5, for a few steps.

    Args:
        protocol: the protocol, which names it.
        classes: the number of classes of the data.
        packages: the installed packages that the spec may name, besides PyTorch.
        where: what an error begins with.

    Raises:
        UnknownNameError: no such model.
        SpecError: its code fails, or it cannot be trained; the message has the name and what would be right.
    """
    name = protocol.model
    if ":" in name:
        check_named(name, packages, where)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are repeated in the training
        trial = _Trial(protocol, classes, where)
        trial.check_parameters()
        with one_line_errors(where, name):
            trial.check_pass()
            alone = trial.why_alone()
            cannot_resume = trial.why_not_resumed()
        return ModelFacts(trial.count, trial.layout(), trial.cost(), alone, cannot_resume)


class _Trial:
    """A model, its state under seed 0, and a batch of random images."""

    def __init__(self, protocol: Protocol, classes: int, where: str) -> None:
        self._protocol, self._classes, self._where = protocol, classes, where
        self._dtype: torch.dtype = getattr(torch, protocol.dtype)
        self._model: ModuleStack = module_stack(protocol, classes, 0, where)
        self._module: nn.Module = self._model.build(0, self._dtype)
        rng = generator(CPU, 0, "model trial")
        self._pixels = torch.randint(0, 256, (1, EXAMPLES, 32, 32, 3), dtype=torch.uint8, generator=rng)
        self._labels = torch.randint(0, classes, (1, EXAMPLES), generator=rng)
        self._images = augmentation.normalise(self._pixels, self._dtype)[0]
        self.count = 0

    def _refuse(self, problem: str, hint: str) -> SpecError:
        return SpecError(self._where, f"{shown(self._protocol.model)} {problem}", hint)

    def check_parameters(self) -> None:
        """Refuse parameters that cannot be trained, and initial weights that do not depend on the seed alone."""
        parameters = dict(self._module.named_parameters())
        if not parameters:
            raise self._refuse("has no parameters", "a module with at least one torch.nn.Parameter")
        for key, parameter in parameters.items():
            if is_lazy(parameter):
                raise self._refuse(f"has the lazy parameter {key}", "give its layer the number of inputs")
            if not parameter.requires_grad:
                raise self._refuse(
                    f"has the parameter {key} with requires_grad = False", "requires_grad = True, or register_buffer"
                )
        self.count = sum(parameter.numel() for parameter in parameters.values())
        once, again = (self._model.initial_state(0, self._dtype) for _ in range(2))
        if _bits(once) != _bits(again):
            raise self._refuse(
                "has other initial weights at the second call", "draw them from PyTorch's global generator"
            )

    def check_pass(self) -> None:
        """Refuse an output of another shape or type, values that are not finite, and parameters without a gradient."""
        for mode in ("training", "evaluation"):
            output: Any = self._module.train(mode == "training")(self._images)
            expected = [EXAMPLES, self._classes]
            if not isinstance(output, Tensor):
                raise self._refuse(f"returns a {type(output).__name__} in {mode} mode", "one tensor, the logits")
            if list(output.shape) != expected:
                raise self._refuse(
                    f"returns the shape {list(output.shape)} for {EXAMPLES} images", f"[B, classes], here {expected}"
                )
            if output.dtype != self._dtype:
                raise self._refuse(f"returns {output.dtype}", f"{self._dtype}, as protocol.dtype")
            if not bool(torch.isfinite(output).all()):
                raise self._refuse(f"returns NaN or infinity in its first forward pass ({mode} mode)", "finite logits")
            if mode == "training":
                F.cross_entropy(output, self._labels[0]).backward()
        for key, parameter in self._module.named_parameters():
            if parameter.grad is None:
                raise self._refuse(
                    f"has the parameter {key}, which gets no gradient from the loss",
                    "use it in forward(), or remove it",
                )
            if not bool(torch.isfinite(parameter.grad).all()):
                raise self._refuse(f"has a gradient of {key} that is not finite", "finite gradients")

    def why_alone(self) -> str:
        """Return why several of these models cannot be one stacked model; empty if they can."""
        before = self._model.initial_state(0, self._dtype)
        pack = self._stacked(before, 1)
        self._model.train_logits(*pack, self._images, None, DRAWS)
        changed = [key for key, value in before.buffers.items() if not torch.equal(value, pack[1][key][0])]
        if changed:
            return f"its buffer {changed[0]} changes in training"
        try:
            parameters, buffers = self._stacked(before, 2)
            together = self._model.vectorised_logits(parameters, buffers, self._images, DRAWS)
            together.square().sum().backward()
        except Exception as error:
            return f"torch.func.vmap cannot run it ({error_text(error)})"
        for k in range(2):
            one = {key: value.detach()[k : k + 1].clone().requires_grad_() for key, value in parameters.items()}
            own = {key: value[k : k + 1] for key, value in buffers.items()}
            separate = self._model.train_logits(one, own, self._images, None, DRAWS)
            separate.square().sum().backward()
            pairs = [(together[k], separate[0])]
            pairs += [(_gradient(parameters[key])[k], _gradient(one[key])[0]) for key in one]
            if not all(self._close(a, b) for a, b in pairs):
                return "torch.func.vmap gives other numbers than a single model"
        return ""

    def why_not_resumed(self) -> str:
        """Return why a training cannot continue exactly from a checkpoint; empty if it can."""
        whole = self._pack()
        expected = [self._step(whole) for _ in range(STEPS)]
        first = self._pack()
        if [self._step(first) for _ in range(BREAK)] != expected[:BREAK]:
            return "two trainings with the same seed differ"
        buffer = io.BytesIO()
        torch.save(first.state_dict(), buffer)
        buffer.seek(0)
        again = self._pack()
        again.load_state_dict(torch.load(buffer, weights_only=True))
        differ = [self._step(again) != bits for bits in expected[BREAK:]]
        if any(differ):
            return "steps after a checkpoint differ; keep its state in registered buffers"
        return ""

    def layout(self) -> Layout:
        """Return the layout of the parameters."""
        return layout_of(dict(self._module.named_parameters()))

    def cost(self) -> float:
        """Return the multiplications in convolutions and dense layers relative to LeNet-5; 1 where there are none.

        PyTorch's ``FlopCounterMode`` would import its compiler, which takes seconds.
        """
        products = 0

        def count(layer: nn.Module, _: Any, output: Tensor) -> None:
            nonlocal products
            assert isinstance(layer.weight, Tensor)
            products += layer.weight.numel() * (output[0].numel() // len(layer.weight))

        layers = [one for one in self._module.modules() if isinstance(one, nn.Conv1d | nn.Conv2d | nn.Linear)]
        hooks = [layer.register_forward_hook(count) for layer in layers]
        with torch.no_grad():
            self._module.eval()(self._images)
        for hook in hooks:
            hook.remove()
        return products / LENET5_PRODUCTS or 1.0

    def _stacked(self, state: ModelState, models: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return stacked parameters and buffers of models with different weights."""
        parameters = {
            key: torch.stack([value * (1 + 0.1 * k) + 0.01 * k for k in range(models)]).requires_grad_()
            for key, value in state.parameters.items()
        }
        return parameters, {key: torch.stack([value] * models) for key, value in state.buffers.items()}

    def _close(self, a: Tensor, b: Tensor) -> bool:
        scale = float(b.detach().abs().max()) or 1.0
        return float((a - b).detach().abs().max()) <= TOLERANCE[self._dtype] * scale

    def _pack(self) -> Pack:
        sgd = Configuration("SGD", complete_optimizer("SGD", {"lr": 1e-3, "momentum": 0.9}, self._where))
        return Pack([Run(sgd, 0, self._protocol, "trial")], STEPS, CPU, classes=self._classes)

    def _step(self, pack: Pack) -> Any:
        """Take a step; return the bits of the weights, of the buffers, and of the logits in evaluation mode."""
        draws = Draws(0, *pack.next_step)
        pack.train_step(Batch(self._pixels, self._labels, None, draws))
        stack = pack.stack
        with torch.no_grad():
            logits = pack.model.eval_logits(stack.stacked, stack.buffers, self._images)
        return bits_of([stack.stacked, stack.buffers, logits])


def _bits(state: ModelState) -> Any:
    return bits_of([dict(state.parameters), dict(state.buffers)])


def _gradient(leaf: Tensor) -> Tensor:
    """Return the gradient; zeros where a parameter has none."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
