"""Optimizers that contain others: wrappers around a base, and one optimizer for matrices with another for the rest."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from search_spaces.errors import SpecError, shown

PARAMETERS = frozenset({"params", "parameters", "param_groups"})
NAMED = frozenset({"named_parameters", "named_params"})
MODELS = frozenset({"model", "module", "net"})
METHODS = ("step", "state_dict", "load_state_dict")


def role_of(parameter: str, first: bool, wraps: bool) -> str:
    """Return what a parameter of the constructor of an optimizer is given: ``params``, ``named``, ``model``, ``base``.

    Empty for a hyperparameter. ``first`` is whether it is the first one, ``wraps`` whether the spec names a base.
    """
    if parameter in NAMED:
        return "named"
    if parameter in MODELS:
        return "model"
    if parameter in PARAMETERS:
        return "params"
    if wraps and (parameter == "base" or "optim" in parameter):
        return "base"
    return "params" if first and not wraps else ""


def roles(found: Callable[..., Any], wraps: bool) -> dict[str, str]:
    """Return the parameters of a constructor that are no hyperparameters, with their roles."""
    names = list(inspect.signature(found).parameters)
    return {name: role for i, name in enumerate(names) if (role := role_of(name, i == 0, wraps))}


def is_optimizer(found: Any, wraps: bool) -> bool:
    """Return whether a class is an optimizer; a wrapper may be one in all but its base class."""
    if not inspect.isclass(found):
        return False
    return issubclass(found, Optimizer) or (wraps and all(hasattr(found, method) for method in METHODS))


def construct(
    found: Callable[..., Any], groups: list[dict[str, Any]], arguments: Mapping[str, Any],
    base: tuple[Callable[..., Any], Mapping[str, Any]] | None, where: str,
) -> Any:  # fmt: skip
    """Call the constructor of an optimizer.

    Args:
        found: the class.
        groups: its parameter groups, with the parameters by name.
        arguments: its hyperparameters.
        base: the class of the base of a wrapper, and its hyperparameters. A constructor that takes parameters of the
            model gets the class, and the hyperparameters as keywords; another one gets an optimizer.
        where: what an error begins with.

    Raises:
        SpecError: a wrapper that has no parameter for its base.
    """
    given: dict[str, Any] = {}
    tensors = [{**group, "params": list(group["params"].values())} for group in groups]
    plain: Any = tensors if len(groups) > 1 or set(groups[0]) != {"params"} else tensors[0]["params"]
    wanted = roles(found, base is not None)
    takes_tensors = not {"params", "named", "model"}.isdisjoint(wanted.values())
    for name, role in wanted.items():
        if role == "params":
            given[name] = plain
        elif role == "named":
            given[name] = [pair for group in groups for pair in group["params"].items()]
        elif role == "model":
            given[name] = _module({key: value for group in groups for key, value in group["params"].items()})
        elif base is not None and role == "base" and "base" not in {wanted[done] for done in given}:
            given[name] = base[0] if takes_tensors else base[0](plain, **base[1])
    if base is None:
        return _call(found, given, arguments)
    if "base" not in wanted.values():
        raise SpecError(f"{where}.base", "the class has no parameter for another optimizer", "leave out base")
    return _call(found, given, {**(base[1] if takes_tensors else {}), **arguments})


def _call(found: Callable[..., Any], given: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    """Give the first argument by its place: a subclass may name it otherwise."""
    names = list(inspect.signature(found).parameters)
    if names and names[0] in given:
        rest = {name: value for name, value in given.items() if name != names[0]}
        return found(given[names[0]], **rest, **arguments)
    return found(**given, **arguments)


def _module(tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a module that has these parameters under their names; it has no forward pass."""
    top = nn.Module()
    for name, tensor in tensors.items():
        *path, leaf = name.split(".")
        place = top
        for part in path:
            if part not in dict(place.named_children()):
                place.add_module(part, nn.Module())
            place = place.get_submodule(part)
        assert isinstance(tensor, nn.Parameter)
        place.register_parameter(leaf, tensor)
    return top


class Combined(Optimizer):
    """Several optimizers as one, each for its own parameters; a schedule moves the learning rates of all."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts: list[Optimizer] = []
        super().__init__([tensor for part in parts for group in part.param_groups for tensor in group["params"]], {})
        self.parts = list(parts)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all parts."""
        return [group for part in self.parts for group in part.param_groups]

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        """Ignore what the base class assigns: the parts own their groups."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # it returns no loss
        """Take a step of every part."""
        if closure is not None:
            raise TypeError("parts of a combined optimizer cannot have a closure")
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the state is that of the parts (see :func:`inner_optimizers`)."""
        return {"state": {}, "param_groups": []}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing."""


def inner_optimizers(optimizer: Any) -> list[Any]:
    """Return the optimizers that are attributes of ``optimizer``, or items of a list that is one."""
    return list({id(one): one for value in vars(optimizer).values() for one in _optimizers(value)}.values())


def _optimizers(value: Any) -> Iterator[Optimizer]:
    if isinstance(value, Optimizer):
        yield value
    elif type(value) in (list, tuple):
        yield from (item for item in value if isinstance(item, Optimizer))


def scheduled(optimizer: Any) -> Optimizer:
    """Return the optimizer whose learning rates a schedule changes: ``optimizer``, or the base of a wrapper.

    PyTorch's schedulers refuse a wrapper that is not a subclass of ``Optimizer``.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    inner = inner_optimizers(optimizer)
    if not inner:
        raise SpecError("optimizer", f"{shown(type(optimizer).__name__)} is no torch.optim.Optimizer", "a subclass")
    return scheduled(inner[0])
