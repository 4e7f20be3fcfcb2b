"""State of optimizers and schedulers for a checkpoint: written as plain values, read back without a change of type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
from torch import Tensor
from torch.optim import Optimizer


def as_plain(value: Any) -> Any:
    """Return ``value`` with NumPy numbers and enums as Python's, mappings as dicts, and without functions in mappings.

    A checkpoint is read without pickle: it cannot hold these, and a fresh object has its functions.
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Enum) and isinstance(value, int | str):
        return value.value  # it is equal to the member
    if isinstance(value, Mapping):
        return {as_plain(key): as_plain(item) for key, item in value.items() if not _is_function(item)}
    if type(value) in (list, tuple):
        return type(value)(as_plain(item) for item in value)
    return value


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, Tensor)


def like_present(saved: Any, present: Any) -> Any:
    """Return ``saved``, which :func:`as_plain` made, with a ``Counter`` wherever ``present`` has one."""
    if isinstance(saved, dict) and isinstance(present, Mapping):
        found = {key: like_present(item, present.get(key)) for key, item in saved.items()}
        return Counter(found) if isinstance(present, Counter) else found
    if type(saved) in (list, tuple) and type(present) is type(saved) and len(saved) == len(present):
        return type(saved)(like_present(*pair) for pair in zip(saved, present, strict=True))
    return saved


def load_optimizer(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Load ``saved`` without a change of type: PyTorch casts to the type of the parameter (NAdam keeps float32).

    State under another key than the index of a parameter is loaded as it is.
    """
    optimizer.load_state_dict(dict(saved))
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, state in saved["state"].items():
        if isinstance(index, int) and index < len(parameters) and isinstance(state, Mapping):
            present = optimizer.state[parameters[index]]
            for key, value in state.items():
                if key in present:
                    present[key] = _in_its_type(value, present[key])


def _in_its_type(saved: Any, present: Any) -> Any:
    """Return ``present``, with every tensor in it in the type that it has in ``saved``."""
    if isinstance(saved, Tensor) and isinstance(present, Tensor):
        return present if present.dtype == saved.dtype else saved.clone().to(present.device)
    if isinstance(saved, Mapping) and isinstance(present, dict):
        for key in present:
            if key in saved:
                present[key] = _in_its_type(saved[key], present[key])
    elif type(saved) in (list, tuple) and type(present) is type(saved) and len(saved) == len(present):
        return type(saved)(_in_its_type(*pair) for pair in zip(saved, present, strict=True))
    return present
