"""State of optimizers and schedulers for a checkpoint: written as plain values, read back without a change of type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
from torch import Tensor

from trainables.optim.composed import inner_optimizers

INNER = "inner optimizers"
"""The key of the states of the optimizers in an optimizer."""
SHARED = ("state", "param_groups")


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


def optimizer_state(optimizer: Any) -> dict[str, Any]:
    """Return the state of ``optimizer``, and of the optimizers in it, as plain values."""
    inner = [optimizer_state(one) for one in inner_optimizers(optimizer)]
    return {**as_plain(optimizer.state_dict()), **({INNER: inner} if inner else {})}


def load_optimizer(optimizer: Any, saved: Mapping[str, Any]) -> None:
    """Load ``saved`` without a change of type: PyTorch casts to the type of the parameter (NAdam keeps float32).

    State under another key than the index of a parameter is loaded as it is. Attributes that are the state or the
    groups of an inner optimizer stay so: PyTorch replaces both objects.
    """
    inner = inner_optimizers(optimizer)
    shared = [
        (name, one, attribute)
        for name, value in vars(optimizer).items()
        for one in inner
        for attribute in SHARED
        if value is getattr(one, attribute)
    ]
    optimizer.load_state_dict({key: value for key, value in saved.items() if key != INNER})
    for one, state in zip(inner, saved.get(INNER, ()), strict=True):
        load_optimizer(one, state)
    for name, one, attribute in shared:
        setattr(optimizer, name, getattr(one, attribute))
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    own_state = saved.get("state", {}) if hasattr(optimizer, "state") else {}
    for index, state in own_state.items():
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
