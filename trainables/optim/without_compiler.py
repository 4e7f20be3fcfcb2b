"""PyTorch's optimizers without its compiler, whose import takes seconds."""

from __future__ import annotations

import inspect

import torch._compile
from torch.optim import Optimizer

MARK = "__dynamo_disable"
"""Where ``torch._compile`` keeps a method that its compiler leaves alone (torch 2.11 to 2.15)."""


def leave_compiler_out() -> None:
    """Let the methods of ``Optimizer`` be called as they are, without an import of ``torch._dynamo``.

    The first call of such a method imports the compiler (3 to 4 s of CPU time in each process), only to tell it not to
    compile the method. Nothing here is compiled, so the numbers are the same. Versions of PyTorch without the mark
    ignore it.
    """
    for method in vars(Optimizer).values():
        if inspect.isfunction(method) and method.__code__.co_filename == torch._compile.__file__:
            plain = inspect.unwrap(method)
            if not hasattr(plain, MARK):
                setattr(plain, MARK, plain)
