"""The registry of learning-rate schedulers: their names, parameters and intervals."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

from torch.optim import Optimizer, lr_scheduler

from search_spaces.configuration import NO_SCHEDULER, PARTS
from search_spaces.errors import SpecError, UnknownNameError, shortened, shown
from search_spaces.expressions import is_expression
from trainables.optim.parameter_groups import rates_of_groups
from trainables.optim.signature import complete, defaults_of
from trainables.optim.timm_schedules import HIDDEN as HIDDEN_OF_TIMM
from trainables.optim.timm_schedules import is_timms, timm_factory
from trainables.runtime.user_code import message_of, one_line_errors
from trainables.runtime.user_imports import import_named

Interval = Literal["batch", "epoch", "val_loss"]
HIDDEN = frozenset({"optimizer", "last_epoch", "verbose"})
COUNTS = {"step_size": 1, "T_max": 1, "total_iters": 1, "T_0": 1, "T_mult": 1, "step_size_up": 1, "step_size_down": 1,
          "total_steps": 1, "total": 1, "patience": 0, "cooldown": 0}  # fmt: skip
"""Parameters that count epochs or batches, with the minimum of each."""
CYCLED = frozenset({"base_momentum", "max_momentum"})
"""Momentum (or beta1) is cycled only where one of these is given; otherwise it is that of the optimizer."""
EXPRESSIBLE = {*COUNTS, "milestones", "base_lr", "max_lr", "eta_min", "min_lr"}
"""Parameters that may be multiples of the length of the sweep or of the learning rate of the optimizer."""


@dataclass(frozen=True)
class SchedulerEntry:
    """The class of a scheduler and its interval: per batch, per epoch, or per epoch with the validation loss."""

    factory: Callable[..., Any]
    interval: Interval = "epoch"
    defaults: Mapping[str, Any] = field(default_factory=dict)  # missing in PyTorch, or relative to the sweep
    hidden: frozenset[str] = frozenset()  # parameters that repeat another one


SCHEDULERS: dict[str, SchedulerEntry] = {
    "StepLR": SchedulerEntry(lr_scheduler.StepLR),
    "MultiStepLR": SchedulerEntry(lr_scheduler.MultiStepLR),
    "ExponentialLR": SchedulerEntry(lr_scheduler.ExponentialLR),
    "LambdaLR": SchedulerEntry(lr_scheduler.LambdaLR),
    "ConstantLR": SchedulerEntry(lr_scheduler.ConstantLR),
    "LinearLR": SchedulerEntry(lr_scheduler.LinearLR),
    "PolynomialLR": SchedulerEntry(lr_scheduler.PolynomialLR, defaults={"total_iters": "epochs"}),
    "CosineAnnealingLR": SchedulerEntry(lr_scheduler.CosineAnnealingLR, defaults={"T_max": "epochs"}),
    "CosineAnnealingWarmRestarts": SchedulerEntry(lr_scheduler.CosineAnnealingWarmRestarts),
    "CyclicLR": SchedulerEntry(
        lr_scheduler.CyclicLR, "batch", {"base_lr": "0.1 lr", "max_lr": "lr"}, frozenset({"scale_fn", "scale_mode"})
    ),
    "OneCycleLR": SchedulerEntry(
        lr_scheduler.OneCycleLR,
        "batch",
        {"max_lr": "lr", "total_steps": "steps"},
        frozenset({"epochs", "steps_per_epoch"}),
    ),
    "ReduceLROnPlateau": SchedulerEntry(lr_scheduler.ReduceLROnPlateau, "val_loss"),
    "MultiplicativeLR": SchedulerEntry(lr_scheduler.MultiplicativeLR),
    "SequentialLR": SchedulerEntry(lr_scheduler.SequentialLR),
    "ChainedScheduler": SchedulerEntry(lr_scheduler.ChainedScheduler),
}
MOST_GIVEN = 120
"""Characters of a class with its arguments in a message."""
COMPOSED = ("SequentialLR", "ChainedScheduler")
"""Schedulers made of others, which are tables in their parameter ``schedulers``."""
INTERVAL = "interval"
"""The key of a ``module:Class`` that names its interval, unless the class has a parameter of this name."""


def inverse_time(decay: float = 0.1) -> Callable[[int], float]:
    """Return the factor 1/(1 + decay·e) of epoch e."""
    return lambda epoch: 1.0 / (1.0 + decay * epoch)


def polynomial(total: int | str = "epochs", power: float = 0.9) -> Callable[[int], float]:
    """Return the factor (1 - e/total)^power, 0 past ``total`` (Chen et al., *DeepLab*, 2017: power 0.9)."""
    return lambda epoch: max(0.0, 1.0 - epoch / int(total)) ** power


LAMBDAS: dict[str, Callable[..., Callable[[int], float]]] = {"inverse_time": inverse_time, "polynomial": polynomial}
"""Functions that a spec can name as ``lr_lambda``; their parameters are given next to it."""


def scheduler_entry(name: str, where: str) -> SchedulerEntry:
    """Return the entry of ``name``: one of :data:`SCHEDULERS`, or a ``module:Class``.

    A class of PyTorch has its entry in the registry also where it is named by its module.

    Raises:
        UnknownNameError: no such scheduler; the message lists the valid names.
        SpecError: ``module:Class`` is not a scheduler.
    """
    if ":" in name:
        found = import_named(name, where)
        if is_timms(found):
            return SchedulerEntry(timm_factory(found, name, where), hidden=HIDDEN_OF_TIMM)
        if not (inspect.isclass(found) and issubclass(found, lr_scheduler.LRScheduler)):
            raise SpecError(where, f"{shown(name)} is not a subclass of torch.optim.lr_scheduler.LRScheduler")
        return next((entry for entry in SCHEDULERS.values() if entry.factory is found), SchedulerEntry(found))
    if name not in SCHEDULERS:
        raise UnknownNameError("scheduler", name, [NO_SCHEDULER, *SCHEDULERS], where)
    return SCHEDULERS[name]


def interval_of(name: str, params: Mapping[str, Any], where: str) -> Interval:
    """Return when the scheduler ``name`` with these completed parameters is stepped."""
    if name == NO_SCHEDULER:
        return "epoch"
    entry = scheduler_entry(name, where)
    named = params.get(INTERVAL) if _may_name_interval(entry) else None
    return "batch" if named == "batch" else entry.interval


def _may_name_interval(entry: SchedulerEntry) -> bool:
    return entry not in SCHEDULERS.values() and INTERVAL not in defaults_of(entry.factory, HIDDEN)


def complete_scheduler(name: str, params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return ``params`` with defaults added; expressions are resolved later, with the length of the sweep.

    Raises:
        SpecError: an unknown parameter, a value of the wrong type, or milestones that do not increase.
    """
    if name == NO_SCHEDULER:
        return complete(params, {}, where, expressions=True)
    entry = scheduler_entry(name, where)
    if _may_name_interval(entry):
        return _complete_own(entry, params, where)
    name = next((known for known, other in SCHEDULERS.items() if other is entry), name)
    defaults = defaults_of(entry.factory, HIDDEN | entry.hidden) | dict(entry.defaults)
    if "cycle_momentum" in defaults:  # PyTorch's default replaces the momentum (or beta1) of the configuration
        defaults["cycle_momentum"] = not CYCLED.isdisjoint(params)
    if "lr_lambda" in defaults and entry in SCHEDULERS.values():
        defaults |= _parameters_of_lambda(name, params, where)
    own = _parameters_of_function(params.get("lr_lambda"), where) if "lr_lambda" in defaults else {}
    full = complete(params, {**own, **defaults}, where, expressions=True)
    full = {key: value for key, value in full.items() if key in params or key not in own}
    if name in COMPOSED:
        full[PARTS] = _complete_parts(name, full, where)
    full |= {key: _whole(full[key]) for key in (*COUNTS, "milestones") if key in full}
    _check_values(name, {key: value for key, value in full.items() if key not in own}, where)
    return full


def _complete_own(entry: SchedulerEntry, params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Complete the parameters of a ``module:Class``; its interval is kept where it is not the default."""
    rest = {key: value for key, value in params.items() if key != INTERVAL}
    interval = params.get(INTERVAL, "epoch")
    if interval not in ("batch", "epoch"):
        raise SpecError(f"{where}.{INTERVAL}", shown(interval), '"batch" or "epoch"')
    full = complete(rest, defaults_of(entry.factory, HIDDEN | entry.hidden), where, expressions=True)
    full = {key: value for key, value in full.items() if key in rest or not is_expression(value)}
    return full if interval == "epoch" else {**full, INTERVAL: interval}


def _parameters_of_lambda(name: str, params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the parameters of the named function of ``lr_lambda``, which are given next to it."""
    function, known = params.get("lr_lambda"), LAMBDAS if name == "LambdaLR" else {}
    valid = ", ".join([*known, "module:function"])
    if function is None:
        raise SpecError(f"{where}.lr_lambda", "missing", f"valid: {valid}")
    if isinstance(function, str) and function in known:
        return defaults_of(known[function], frozenset())
    if not (isinstance(function, str) and ":" in function):
        raise UnknownNameError("lr_lambda", function, [*known, "module:function"], where)
    return {}


def _parameters_of_function(function: Any, where: str) -> dict[str, Any]:
    """Return the parameters of a ``module:function`` after the epoch, with their defaults.

    Only those that are given are part of a configuration: the function itself adds the others.
    """
    if not isinstance(function, str) or ":" not in function:
        return {}
    found = import_named(function, f"{where}.lr_lambda")
    if not inspect.isfunction(found) or not inspect.signature(found).parameters:
        raise SpecError(f"{where}.lr_lambda", f"{shown(function)} is not a function of the epoch")
    epoch = next(iter(inspect.signature(found).parameters))
    return defaults_of(found, frozenset({epoch}))


def _complete_parts(name: str, full: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Return the tables in ``schedulers``, each with its defaults."""
    where = f"{where}.{PARTS}"
    tables = full[PARTS]
    if not isinstance(tables, list) or not tables:
        raise SpecError(where, shown(tables), 'a list of tables, for example [{name = "ConstantLR"}, …]')
    parts = []
    for i, table in enumerate(tables):
        rest = {"name": table} if isinstance(table, str) else table
        if not isinstance(rest, Mapping) or not isinstance(rest.get("name"), str):
            raise SpecError(f"{where}[{i}]", f"{shown(table)} has no name", 'for example {name = "ConstantLR"}')
        params = {key: value for key, value in rest.items() if key != "name"}
        part, place = str(rest["name"]), f"{where}[{i}]"
        if part == NO_SCHEDULER or part in COMPOSED:
            raise SpecError(place, f"{shown(part)} cannot be a part of {name}", "a scheduler that steps once per epoch")
        completed = complete_scheduler(part, params, place)
        if interval_of(part, completed, place) != "epoch":
            raise SpecError(place, f"{part} does not step once per epoch", f"{name} has parts that do")
        parts.append({"name": part, **completed})
    milestones = full.get("milestones")
    if name == "SequentialLR" and isinstance(milestones, list) and len(milestones) != len(parts) - 1:
        raise SpecError(
            f"{where.removesuffix(PARTS)}milestones", f"{shown(milestones)} for {len(parts)} schedulers",
            f"{len(parts) - 1}, where each of the others begins",
        )  # fmt: skip
    return parts


def _check_expressions(full: Mapping[str, Any], where: str) -> None:
    for key, value in full.items():
        if is_expression(value) and key not in EXPRESSIBLE:
            raise SpecError(f"{where}.{key}", shown(value), "a number; only counts and rates may be expressions")


def _check_values(name: str, full: Mapping[str, Any], where: str) -> None:
    _check_expressions(full, where)
    for key, least in COUNTS.items():
        value = full.get(key)
        if value is not None and not is_expression(value) and (type(value) is not int or value < least):
            raise SpecError(f"{where}.{key}", shown(value), f"a whole number, at least {least}")
    if name == "ReduceLROnPlateau" and full["mode"] != "min":
        raise SpecError(
            f"{where}.mode",
            f"{shown(full['mode'])}, but the schedule watches the validation loss, which should fall",
            '"min"',
        )
    milestones = full.get("milestones")
    if milestones is not None and not is_expression(milestones):
        increasing = isinstance(milestones, list) and all(
            isinstance(m, int) and m > (milestones[i - 1] if i else 0) for i, m in enumerate(milestones)
        )
        if not increasing or not (milestones or name == "SequentialLR"):
            raise SpecError(f"{where}.milestones", shown(milestones), "increasing whole epochs, for example [25, 40]")


def _whole(value: Any) -> Any:
    """Return counts as ints: 3.0 becomes 3. Other values are returned unchanged and refused by the checks."""
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def build_scheduler(name: str, params: Mapping[str, Any], optimizer: Optimizer, where: str) -> Any:
    """Create PyTorch's scheduler for ``optimizer``; None for ``none``.

    Raises:
        SpecError: the class refuses a value, or the code of a user fails; the message is that of the class.
    """
    if name == NO_SCHEDULER:
        return None
    entry = scheduler_entry(name, where)
    arguments = {key: value for key, value in params.items() if key != INTERVAL or not _may_name_interval(entry)}
    if entry.factory in (lr_scheduler.LambdaLR, lr_scheduler.MultiplicativeLR):
        arguments = {"lr_lambda": _lambda(arguments, where)}
    if entry in (SCHEDULERS[composed] for composed in COMPOSED):
        places = (f"{where}.{PARTS}[{i}]" for i in count())
        arguments[PARTS] = [_build_part(part, optimizer, next(places)) for part in params[PARTS]]
    try:
        if entry.factory is lr_scheduler.ChainedScheduler:
            return entry.factory(arguments[PARTS], optimizer=optimizer)
        with one_line_errors(where, name) if ":" in str(params.get("lr_lambda", name)) else nullcontext():
            return entry.factory(optimizer, **rates_of_groups(arguments, optimizer))
    except (ValueError, TypeError, ZeroDivisionError, RuntimeError) as error:
        given = ", ".join(f"{key}={value}" for key, value in params.items())
        raise SpecError(f"{where} {shortened(f'{name}({given})', MOST_GIVEN)}", message_of(error)) from error


def _build_part(part: Mapping[str, Any], optimizer: Optimizer, where: str) -> Any:
    return build_scheduler(part["name"], {key: value for key, value in part.items() if key != "name"}, optimizer, where)


def _lambda(params: Mapping[str, Any], where: str) -> Callable[[int], float]:
    arguments = dict(params)
    function = arguments.pop("lr_lambda")
    if function in LAMBDAS:
        return LAMBDAS[function](**arguments)
    found = import_named(function, f"{where}.lr_lambda")
    if not inspect.isfunction(found) or not _takes_epoch(found, arguments):
        raise SpecError(f"{where}.lr_lambda", f"{shown(function)} is not a function of the epoch")
    return (lambda epoch: found(epoch, **arguments)) if arguments else found


def _takes_epoch(function: Callable[..., Any], arguments: Mapping[str, Any]) -> bool:
    """Return whether ``function`` can be called with the epoch and ``arguments``."""
    try:
        inspect.signature(function).bind(0, **arguments)
    except TypeError:
        return False
    return True
