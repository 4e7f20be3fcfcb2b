"""PyTorch's optimizers without its compiler, whose import takes seconds."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch._compile
import torch.optim
import torch.optim.optimizer
from torch.optim import Optimizer

MARK = "__dynamo_disable"
"""Where ``torch._compile`` keeps a method that its compiler leaves alone (torch 2.11 to 2.15)."""


def leave_compiler_out() -> None:
    """Let optimizers be built and stepped without an import of ``torch._dynamo``.

    The first call of a method of ``Optimizer`` and the first ``step`` import the compiler (3 to 4 s of CPU time in each
    process), only to tell it not to compile. Nothing here is compiled, so the numbers are the same. Where a program has
    imported the compiler, the optimizers call it as before. Versions of PyTorch with other wrappers stay as they are.
    """
    for method in vars(Optimizer).values():
        if inspect.isfunction(method) and method.__code__.co_filename == torch._compile.__file__:
            plain = inspect.unwrap(method)
            if not hasattr(plain, MARK):
                setattr(plain, MARK, plain)
    for cls in vars(torch.optim).values():
        step = vars(cls).get("step") if inspect.isclass(cls) else None
        if inspect.isfunction(step) and step.__code__ is _WRAPPER:
            cls.step = _without_import(step)


_WRAPPER = torch.optim.SGD.step.__code__ if "_dynamo" in torch.optim.SGD.step.__code__.co_names else None
"""The code that ``_use_grad_for_differentiable`` puts around the ``step`` of an optimizer of PyTorch."""


def _without_import(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``step`` that sets the gradient mode as PyTorch's wrapper does, and imports nothing for it."""
    plain = step.__wrapped__  # type: ignore[attr-defined]

    @functools.wraps(step)
    def plain_step(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if "torch._dynamo" in sys.modules:
            return step(self, *args, **kwargs)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return plain(self, *args, **kwargs)

    return plain_step
