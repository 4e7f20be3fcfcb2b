"""The learning-rate schedulers: a registry, and the schedule that drives one run's optimizer."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch.optim import Optimizer, lr_scheduler

from search_spaces import Run
from search_spaces.configuration import NO_SCHEDULER
from search_spaces.errors import SpecError, UnknownNameError
from search_spaces.expressions import is_expression
from trainables.optim.plugins import import_named
from trainables.optim.signature import complete, defaults_of

Stepped = Literal["batch", "epoch", "val_loss"]
HIDDEN = frozenset({"optimizer", "last_epoch", "verbose"})
COUNTS = {"step_size": 1, "T_max": 1, "total_iters": 1, "T_0": 1, "T_mult": 1, "step_size_up": 1, "step_size_down": 1,
          "total_steps": 1, "total": 1, "patience": 0, "cooldown": 0}  # fmt: skip
"""Parameters that count epochs or batches, with the least that each may be."""
EXPRESSIBLE = {*COUNTS, "milestones", "base_lr", "max_lr", "eta_min", "min_lr"}
"""Parameters that may be multiples of the sweep's length or of the optimizer's rate."""


@dataclass(frozen=True)
class SchedulerEntry:
    """How a scheduler is made and when it steps: per batch, per epoch, or per epoch on the validation loss."""

    factory: Callable[..., Any]
    stepped: Stepped = "epoch"
    defaults: Mapping[str, Any] = field(default_factory=dict)  # where PyTorch has none, or where ours follows the sweep
    hidden: frozenset[str] = frozenset()  # parameters that say again what another one says


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
}


def inverse_time(decay: float = 0.1) -> Callable[[int], float]:
    """Return the factor 1/(1 + decay·e) of epoch e."""
    return lambda epoch: 1.0 / (1.0 + decay * epoch)


def polynomial(total: int | str = "epochs", power: float = 0.9) -> Callable[[int], float]:
    """Return the factor (1 - e/total)^power, 0 past ``total`` (Chen et al., *DeepLab*, 2017: power 0.9)."""
    return lambda epoch: max(0.0, 1.0 - epoch / int(total)) ** power


LAMBDAS: dict[str, Callable[..., Callable[[int], float]]] = {"inverse_time": inverse_time, "polynomial": polynomial}
"""Functions that ``LambdaLR`` knows by name; their parameters stand beside ``lr_lambda`` in the spec."""


def scheduler_entry(name: str, where: str) -> SchedulerEntry:
    """Return the entry of ``name``: one of :data:`SCHEDULERS`, or a ``module:Class`` that steps once an epoch.

    Raises:
        UnknownNameError: no such scheduler; the line lists the valid ones.
        SpecError: a ``module:Class`` that is no scheduler.
    """
    if ":" in name:
        found = import_named(name, where)
        if not (inspect.isclass(found) and issubclass(found, lr_scheduler.LRScheduler)):
            raise SpecError(where, f"{name!r} is no torch.optim.lr_scheduler.LRScheduler")
        return SchedulerEntry(found)
    if name not in SCHEDULERS:
        raise UnknownNameError("scheduler", name, [NO_SCHEDULER, *SCHEDULERS], where)
    return SCHEDULERS[name]


def complete_scheduler(name: str, params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return ``params`` with defaults filled in; expressions stay for the sweep's length to resolve.

    Raises:
        SpecError: an unknown parameter, one of the wrong type, or milestones that do not rise.
    """
    if name == NO_SCHEDULER:
        return complete(params, {}, where, expressions=True)
    entry = scheduler_entry(name, where)
    defaults = defaults_of(entry.factory, HIDDEN | entry.hidden) | dict(entry.defaults)
    if name == "LambdaLR":
        function = params.get("lr_lambda")
        if function is None:
            raise SpecError(f"{where}.lr_lambda", "missing", f"valid: {', '.join(LAMBDAS)}, module:function")
        if isinstance(function, str) and function in LAMBDAS:
            defaults |= defaults_of(LAMBDAS[function], frozenset())
        elif not (isinstance(function, str) and ":" in function):
            raise UnknownNameError("lr_lambda", function, [*LAMBDAS, "module:function"], where)
    full = complete(params, defaults, where, expressions=True)
    full |= {key: _whole(full[key]) for key in (*COUNTS, "milestones") if key in full}
    for key, value in full.items():
        if is_expression(value) and key not in EXPRESSIBLE:
            raise SpecError(f"{where}.{key}", f"{value!r}", "a number; only counts and rates follow the sweep")
    for key, least in COUNTS.items():
        value = full.get(key)
        if value is not None and not is_expression(value) and (type(value) is not int or value < least):
            raise SpecError(f"{where}.{key}", f"{value!r}", f"a whole number, at least {least}")
    milestones = full.get("milestones")
    if milestones is not None and not is_expression(milestones):
        rising = isinstance(milestones, list) and all(
            isinstance(m, int) and m > (milestones[i - 1] if i else 0) for i, m in enumerate(milestones)
        )
        if not rising or not milestones:
            raise SpecError(f"{where}.milestones", f"{milestones!r}", "whole epochs that rise, for instance [25, 40]")
    return full


def _whole(value: Any) -> Any:
    """Return counts as ints, however they are written: 3.0 counts as 3. Anything else stays for the checks to name."""
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def build_scheduler(name: str, params: Mapping[str, Any], optimizer: Optimizer, where: str) -> Any:
    """Make PyTorch's scheduler over ``optimizer``; None for ``none``.

    Raises:
        SpecError: what the class itself refuses, in its own words.
    """
    if name == NO_SCHEDULER:
        return None
    arguments = dict(params)
    if name == "LambdaLR":
        arguments = {"lr_lambda": _lambda(arguments, where)}
    try:
        return scheduler_entry(name, where).factory(optimizer, **arguments)
    except (ValueError, TypeError, ZeroDivisionError, RuntimeError) as error:
        shown = ", ".join(f"{key}={value}" for key, value in params.items())
        raise SpecError(f"{where} {name}({shown})", " ".join(str(error).split())) from error


def _lambda(params: Mapping[str, Any], where: str) -> Callable[[int], float]:
    arguments = dict(params)
    function = arguments.pop("lr_lambda")
    if function in LAMBDAS:
        return LAMBDAS[function](**arguments)
    found = import_named(function, f"{where}.lr_lambda")
    if not inspect.isfunction(found) or not _takes_one(found):
        raise SpecError(f"{where}.lr_lambda", f"{function!r} is no plain function of the epoch")
    return found


def _takes_one(function: Callable[..., Any]) -> bool:
    """Tell whether ``function`` can be called with the epoch alone."""
    try:
        inspect.signature(function).bind(0)
    except TypeError:
        return False
    return True


class Schedule:
    """One run's learning rate: a linear warm-up, per batch, and then PyTorch's scheduler.

    While it warms up the rate of batch t (from 0) is (t + 1)/W of the rate that the scheduler starts from.
    The scheduler's own first epoch begins where the warm-up ends. ``SequentialLR`` would chain them but
    refuses ``ReduceLROnPlateau`` and knows epochs or batches, not both.
    """

    def __init__(
        self, name: str, params: Mapping[str, Any], optimizer: Optimizer, warmup_steps: int, where: str = "scheduler"
    ) -> None:
        """``optimizer`` is the run's own; ``warmup_steps`` is in batches.

        Raises:
            SpecError: what the scheduler's class refuses.
        """
        self.optimizer = optimizer
        self.inner = build_scheduler(name, params, optimizer, where)
        self.stepped: Stepped = "epoch" if self.inner is None else scheduler_entry(name, where).stepped
        self.warmup_steps = warmup_steps
        self.batches = 0
        self.full_rates = [group["lr"] for group in optimizer.param_groups]
        self._warm_up()

    def end_warm_up(self) -> None:
        """Go to where the warm-up is over and PyTorch's scheduler has its first rate."""
        self.batches = self.warmup_steps
        self._warm_up()

    @property
    def lr(self) -> float:
        """The rate that the next batch will use."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def moves_only_the_rate(self) -> bool:
        """Whether the learning rate is all of the optimizer that it moves; of a third party's class nobody knows."""
        ours = self.inner is None or type(self.inner).__module__ == lr_scheduler.__name__
        return ours and not getattr(self.inner, "cycle_momentum", False)

    def note_step(self) -> None:
        """Take notice that the optimizer's step was taken, if not by its own ``step``: PyTorch would warn."""
        self.optimizer._opt_called = True  # type: ignore[attr-defined]  # PyTorch's own mark, set from outside

    def after_batch(self) -> None:
        """Move on by one batch."""
        self.batches += 1
        if self.batches <= self.warmup_steps:
            self._warm_up()
        elif self.stepped == "batch":
            self.inner.step()

    def after_epoch(self, val_loss: float) -> None:
        """Move on by one epoch, whose validation loss was ``val_loss``."""
        if self.inner is None or self.stepped == "batch" or self.batches <= self.warmup_steps:
            return
        if self.stepped == "val_loss":
            self.inner.step(val_loss)
        else:
            self.inner.step()

    def _warm_up(self) -> None:
        if self.warmup_steps:
            share = min(1.0, (self.batches + 1) / self.warmup_steps)
            for group, rate in zip(self.optimizer.param_groups, self.full_rates, strict=True):
                group["lr"] = rate * share

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain numbers, strings, lists and dicts."""
        inner = {} if self.inner is None else self.inner.state_dict()
        plain = {key: dict(value) if isinstance(value, Counter) else value for key, value in inner.items()}
        return {"batches": self.batches, "full_rates": self.full_rates, "inner": plain}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``; the optimizer's own state, which holds the present rate, is loaded beside it."""
        self.batches = state["batches"]
        if self.batches:  # if not in this process
            self.note_step()
        self.full_rates = list(state["full_rates"])
        if self.inner is not None:
            present = self.inner.state_dict()
            self.inner.load_state_dict(
                {k: Counter(v) if isinstance(present.get(k), Counter) else v for k, v in state["inner"].items()}
            )


def without_schedule(run: Run) -> Run:
    """Return ``run`` with its rate constant from the first step on."""
    choice = replace(run.configuration, scheduler=NO_SCHEDULER, scheduler_params={}, warmup=0)
    return replace(run, configuration=choice)
