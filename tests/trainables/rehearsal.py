"""A capture that needs no GPU, and follows the rules of a CUDA graph.

A CUDA graph is a list of kernels with their arguments: the tensors' addresses and, frozen, all of Python's numbers. Its
capture runs the Python code and none of the kernels; its replay runs the kernels and none of the Python code. Here
the kernels are PyTorch's operators, seen below autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HOST_LOOKS = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "unique")
"""Operators that need a value on the host: a GPU's host would wait for it, and a CUDA graph cannot hold it."""


class HostLookError(AssertionError):
    """The value of a tensor was read on the host."""


def looks_at_host(func: Any) -> bool:
    name = func._schema.name.partition("::")[2]
    return name in HOST_LOOKS


class NoHostLooks(TorchDispatchMode):
    """Raises where the host would have to wait for the device; counts the operators."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if looks_at_host(func):
            raise HostLookError(str(func))
        result = func(*args, **(kwargs or {}))
        self.launches += is_kernel(func)
        return result


class _Tape(TorchDispatchMode):
    """Keeps every operator with its arguments and results, and puts back what they wrote over."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[tuple[Any, Any, Any, list[Any]]] = []
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if looks_at_host(func):
            raise HostLookError(f"{func} while capturing")
        for argument, given in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self._keep(given)
        for argument in func._schema.arguments:
            if argument.name in kwargs and argument.alias_info is not None and argument.alias_info.is_write:
                self._keep(kwargs[argument.name])
        result = func(*args, **kwargs)
        if is_kernel(func):
            self.kernels.append((func, args, kwargs, list(tree_leaves(result))))
        return result

    def _keep(self, written: Any) -> None:
        for leaf in tree_leaves(written):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                self._before.setdefault(storage.data_ptr(), (storage, storage.clone()))

    def put_back(self) -> None:
        for storage, before in self._before.values():
            storage.copy_(before)


def is_kernel(func: Any) -> bool:
    """Whether there is something to run again: no mark of a profiler, and no other view of the same memory."""
    aliases = [returned.alias_info for returned in func._schema.returns]
    view = any(alias is not None and not alias.is_write for alias in aliases)
    return func.namespace == "aten" and not view


class Rehearsal:
    """Replaces ``CudaGraphs`` if there is no GPU."""

    def __init__(self) -> None:
        self.captures = 0
        self.replays = 0

    def warm_up(self, work: Callable[[], None]) -> None:
        work()

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        self.captures += 1
        with _Tape() as tape:
            work()
        tape.put_back()

        @torch.no_grad()
        def replay() -> None:
            self.replays += 1
            for func, args, kwargs, results in tape.kernels:
                for mine, again in zip(results, tree_leaves(func(*args, **kwargs)), strict=True):
                    if isinstance(mine, Tensor) and mine.data_ptr() != again.data_ptr():
                        mine.copy_(again)  # a graph's own memory is the same in every replay

        return replay
