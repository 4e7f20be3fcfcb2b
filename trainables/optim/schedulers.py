"""The learning-rate schedulers: a registry, and the schedule of one run."""

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
}


def inverse_time(decay: float = 0.1) -> Callable[[int], float]:
    """Return the factor 1/(1 + decay·e) of epoch e."""
    return lambda epoch: 1.0 / (1.0 + decay * epoch)


def polynomial(total: int | str = "epochs", power: float = 0.9) -> Callable[[int], float]:
    """Return the factor (1 - e/total)^power, 0 past ``total`` (Chen et al., *DeepLab*, 2017: power 0.9)."""
    return lambda epoch: max(0.0, 1.0 - epoch / int(total)) ** power


LAMBDAS: dict[str, Callable[..., Callable[[int], float]]] = {"inverse_time": inverse_time, "polynomial": polynomial}
"""Functions that a spec can name as ``lr_lambda``; their parameters are given next to it."""


def scheduler_entry(name: str, where: str) -> SchedulerEntry:
    """Return the entry of ``name``: one of :data:`SCHEDULERS`, or a ``module:Class`` that steps once per epoch.

    Raises:
        UnknownNameError: no such scheduler; the message lists the valid names.
        SpecError: ``module:Class`` is not a scheduler.
    """
    if ":" in name:
        found = import_named(name, where)
        if not (inspect.isclass(found) and issubclass(found, lr_scheduler.LRScheduler)):
            raise SpecError(where, f"{name!r} is not a subclass of torch.optim.lr_scheduler.LRScheduler")
        return SchedulerEntry(found)
    if name not in SCHEDULERS:
        raise UnknownNameError("scheduler", name, [NO_SCHEDULER, *SCHEDULERS], where)
    return SCHEDULERS[name]


def complete_scheduler(name: str, params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return ``params`` with defaults added; expressions are resolved later, with the length of the sweep.

    Raises:
        SpecError: an unknown parameter, a value of the wrong type, or milestones that do not increase.
    """
    if name == NO_SCHEDULER:
        return complete(params, {}, where, expressions=True)
    entry = scheduler_entry(name, where)
    defaults = defaults_of(entry.factory, HIDDEN | entry.hidden) | dict(entry.defaults)
    if "cycle_momentum" in defaults:  # PyTorch's default replaces the momentum (or beta1) of the configuration
        defaults["cycle_momentum"] = not CYCLED.isdisjoint(params)
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
            raise SpecError(
                f"{where}.{key}",
                f"{value!r}",
                "a number; only counts and rates may be expressions",
            )
    for key, least in COUNTS.items():
        value = full.get(key)
        if value is not None and not is_expression(value) and (type(value) is not int or value < least):
            raise SpecError(f"{where}.{key}", f"{value!r}", f"a whole number, at least {least}")
    if name == "ReduceLROnPlateau" and full["mode"] != "min":
        raise SpecError(
            f"{where}.mode",
            f"{full['mode']!r}, but the schedule watches the validation loss, which should fall",
            '"min"',
        )
    milestones = full.get("milestones")
    if milestones is not None and not is_expression(milestones):
        increasing = isinstance(milestones, list) and all(
            isinstance(m, int) and m > (milestones[i - 1] if i else 0) for i, m in enumerate(milestones)
        )
        if not increasing or not milestones:
            raise SpecError(f"{where}.milestones", f"{milestones!r}", "increasing whole epochs, for example [25, 40]")
    return full


def _whole(value: Any) -> Any:
    """Return counts as ints: 3.0 becomes 3. Other values are returned unchanged and refused by the checks."""
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def build_scheduler(name: str, params: Mapping[str, Any], optimizer: Optimizer, where: str) -> Any:
    """Create PyTorch's scheduler for ``optimizer``; None for ``none``.

    Raises:
        SpecError: the class refuses a value; the message is that of the class.
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
        raise SpecError(f"{where}.lr_lambda", f"{function!r} is not a function of the epoch alone")
    return found


def _takes_one(function: Callable[..., Any]) -> bool:
    """Return whether ``function`` can be called with the epoch alone."""
    try:
        inspect.signature(function).bind(0)
    except TypeError:
        return False
    return True


class Schedule:
    """The learning rate of one run: a linear warm-up per batch, then PyTorch's scheduler.

    During a warm-up of W batches the rate of batch t (from 0) is (t + 1)/W of the base rate. The first epoch of the
    scheduler begins when the warm-up ends. ``SequentialLR`` is not used: it refuses ``ReduceLROnPlateau`` and counts
    epochs or batches, not both.
    """

    def __init__(
        self, name: str, params: Mapping[str, Any], optimizer: Optimizer, warmup_steps: int, where: str = "scheduler"
    ) -> None:
        """``optimizer`` is that of the run; ``warmup_steps`` is in batches.

        Raises:
            SpecError: the class of the scheduler refuses a value.
        """
        self.optimizer = optimizer
        self.inner = build_scheduler(name, params, optimizer, where)
        self.interval: Interval = "epoch" if self.inner is None else scheduler_entry(name, where).interval
        self.warmup_steps = warmup_steps
        self.batches = 0
        self.base_lrs = [group["lr"] for group in optimizer.param_groups]
        self._warm_up()

    def end_warm_up(self) -> None:
        """Skip the warm-up: the next batch uses the first rate of PyTorch's scheduler."""
        self.batches = self.warmup_steps
        self._warm_up()

    @property
    def lr(self) -> float:
        """The learning rate of the next batch."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def moves_only_the_rate(self) -> bool:
        """Whether it changes only the learning rate of the optimizer; unknown, so False, for a third-party class."""
        known = self.inner is None or type(self.inner).__module__ == lr_scheduler.__name__
        return known and not getattr(self.inner, "cycle_momentum", False)

    def note_step(self) -> None:
        """Record that the optimizer stepped without its method ``step``; otherwise PyTorch warns."""
        self.optimizer._opt_called = True  # type: ignore[attr-defined]  # PyTorch sets this attribute in ``step``

    def after_batch(self) -> None:
        """Advance by one batch."""
        self.batches += 1
        if self.batches <= self.warmup_steps:
            self._warm_up()
        elif self.interval == "batch":
            self.inner.step()

    def after_epoch(self, val_loss: float) -> None:
        """Advance by one epoch, whose validation loss was ``val_loss``."""
        if self.inner is None or self.interval == "batch" or self.batches <= self.warmup_steps:
            return
        if self.interval == "val_loss":
            self.inner.step(val_loss)
        else:
            self.inner.step()

    def _warm_up(self) -> None:
        if self.warmup_steps:
            share = min(1.0, (self.batches + 1) / self.warmup_steps)
            for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
                group["lr"] = base_lr * share

    def state_dict(self) -> dict[str, Any]:
        """Return the state as numbers, strings, lists and dicts; ``full_rates`` is the key in existing checkpoints."""
        inner = {} if self.inner is None else self.inner.state_dict()
        plain = {key: dict(value) if isinstance(value, Counter) else value for key, value in inner.items()}
        return {"batches": self.batches, "full_rates": self.base_lrs, "inner": plain}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``; the state of the optimizer, which holds the current rate, is loaded separately."""
        self.batches = state["batches"]
        if self.batches:  # the steps were taken, perhaps in another process
            self.note_step()
        self.base_lrs = list(state["full_rates"])
        if self.inner is not None:
            present = self.inner.state_dict()
            self.inner.load_state_dict(
                {k: Counter(v) if isinstance(present.get(k), Counter) else v for k, v in state["inner"].items()}
            )


def without_schedule(run: Run) -> Run:
    """Return ``run`` with a constant learning rate and no warm-up."""
    choice = replace(run.configuration, scheduler=NO_SCHEDULER, scheduler_params={}, warmup=0)
    return replace(run, configuration=choice)
