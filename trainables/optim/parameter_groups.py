"""Parameter groups: parameters of a model that have their own hyperparameters, chosen by name or by dimensions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from search_spaces.errors import SpecError, shortened, shown

Named = Mapping[str, Tensor]
DECAY = "weight_decay"
MATCH = "match"
FACTOR = "lr_factor"
RATES = ("max_lr", "base_lr")
"""Parameters of schedulers that are learning rates which they set."""
KINDS: dict[str, Callable[[Tensor], bool]] = {
    "1d": lambda tensor: tensor.dim() <= 1,
    "2d": lambda tensor: tensor.dim() == 2,
    "4d": lambda tensor: tensor.dim() == 4,
    "matrices": lambda tensor: tensor.dim() >= 2,
}
"""Words of a ``match`` that choose by dimensions: biases, dense layers, convolutions, and the last two together."""
EXAMPLE = 'for example [{match = "1d", weight_decay = 0}, {match = "fc3.*", lr_factor = 0.1}]'


def named(tensors: Iterable[Tensor] | Named) -> dict[str, Tensor]:
    """Return ``tensors`` by name; without names they are numbered."""
    return dict(tensors) if isinstance(tensors, Mapping) else {str(i): tensor for i, tensor in enumerate(tensors)}


def matches(match: str, name: str, tensor: Tensor) -> bool:
    """Return whether one of the words of ``match``, separated by ``|``, is a pattern of the name or a kind."""
    words = [word.strip() for word in match.split("|")]
    return any(KINDS[word](tensor) if word in KINDS else fnmatchcase(name, word) for word in words)


def check_groups(groups: Any, found: Callable[..., Any], defaults: Mapping[str, Any], where: str) -> None:
    """Check the keys of ``groups`` in a spec.

    A key is a hyperparameter of the class, or a word that its code reads, such as ``use_muon``.

    Raises:
        SpecError: no list of tables, a table without ``match``, or a key that the class does not have.
    """
    if not isinstance(groups, list) or not groups or not all(isinstance(group, Mapping) for group in groups):
        raise SpecError(where, shown(groups), EXAMPLE)
    for i, group in enumerate(groups):
        place = f"{where}[{i}]"
        if not isinstance(group.get(MATCH), str):
            raise SpecError(f"{place}.{MATCH}", shown(group.get(MATCH)), f"names or kinds; {EXAMPLE}")
        if set(group) == {MATCH}:
            raise SpecError(place, f"{shown(dict(group))} changes nothing", EXAMPLE)
        for key, value in group.items():
            if key == "lr":
                raise SpecError(f"{place}.lr", shown(value), f"{FACTOR}, a multiple of the learning rate")
            if key == FACTOR and not (type(value) in (int, float) and value > 0):
                raise SpecError(f"{place}.{FACTOR}", shown(value), "a number above 0")
            if key not in (MATCH, FACTOR) and key not in defaults and not reads(found, key):
                valid = ", ".join(sorted({FACTOR, *defaults} - {"lr"}))
                raise SpecError(f"{place}.{shortened(key)}", "unknown parameter", f"valid: {shortened(valid, 170)}")


def reads(found: Callable[..., Any], key: str) -> bool:
    """Return whether the code of a class has ``key`` as a string."""
    try:
        code = inspect.getsource(found)
    except (OSError, TypeError):
        return False
    return f"'{key}'" in code or f'"{key}"' in code


def grouped(
    tensors: Named, groups: Sequence[Mapping[str, Any]], params: Mapping[str, Any], decay_on: str, where: str
) -> list[dict[str, Any]]:
    """Return the parameter groups, each with its parameters by name as ``params``; the unmatched ones are the first.

    A parameter belongs to the first group that matches it.

    Raises:
        SpecError: a group that matches no parameter, or a factor without a learning rate.
    """
    found: list[dict[str, Any]] = [{"params": {}}]
    for i, group in enumerate(groups):
        settings = {key: value for key, value in group.items() if key not in (MATCH, FACTOR)}
        if FACTOR in group:
            if params.get("lr") is None:
                raise SpecError(f"{where}.groups[{i}].{FACTOR}", "the optimizer has no learning rate", f"no {FACTOR}")
            settings["lr"] = params["lr"] * group[FACTOR]
        found.append({"params": {}, **settings})
    for name, tensor in tensors.items():
        place = next((i for i, group in enumerate(groups) if matches(group[MATCH], name, tensor)), -1)
        found[place + 1]["params"][name] = tensor
    for i, group in enumerate(found[1:]):
        if not group["params"]:
            names = ", ".join(tensors)
            raise SpecError(
                f"{where}.groups[{i}].{MATCH}", f"{shown(groups[i][MATCH])} matches no parameter that is left",
                f"parameters: {shortened(names, 150)}; kinds: {', '.join(KINDS)}",
            )  # fmt: skip
    found = [group for group in found if group["params"]]
    return without_decay(found) if decay_on == "matrices" and DECAY in params else found


def without_decay(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return ``groups``, each divided into its matrices and its other parameters, which have no weight decay.

    A group that has its own weight decay is not divided. ``params`` of a group holds its parameters by name.
    """
    divided = []
    for group in groups:
        params: Named = group["params"]
        vectors = {name: tensor for name, tensor in params.items() if tensor.dim() < 2}
        if DECAY in group or not vectors:
            divided.append(group)
            continue
        if matrices := {name: tensor for name, tensor in params.items() if name not in vectors}:
            divided.append({**group, "params": matrices})
        divided.append({**group, "params": vectors, DECAY: 0.0})
    return divided


def rates_of_groups(arguments: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """Return the arguments of a scheduler with its absolute rates as lists, in the proportions of the groups' rates.

    ``OneCycleLR`` and ``CyclicLR`` would give all groups one rate.
    """
    rates: list[Any] = [group.get("lr") for group in optimizer.param_groups]
    if len(set(rates)) == 1 or not all(isinstance(rate, int | float) for rate in rates):
        return dict(arguments)
    return {
        key: [value * rate / rates[0] for rate in rates] if key in RATES and isinstance(value, int | float) else value
        for key, value in arguments.items()
    }


def check_decay(optimizer: Optimizer, params: Mapping[str, Any], decay_on: str, where: str) -> None:
    """Refuse an optimizer whose weight decay cannot differ between parameters.

    Raises:
        SpecError: it has a weight decay that is not in its parameter groups.
    """
    if decay_on == "matrices" and params.get(DECAY) and any(DECAY not in group for group in optimizer.param_groups):
        raise SpecError(
            f"{where}.{DECAY}", f"{params[DECAY]}, but the class does not read it from its parameter groups",
            'weight_decay_on = "all"',
        )  # fmt: skip
