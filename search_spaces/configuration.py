"""One choice of optimizer, its hyperparameters, and learning-rate scheduler."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from search_spaces.canonical import canonical_json, checked_value, content_hash
from search_spaces.expressions import Quantities, evaluate, is_expression

NO_SCHEDULER = "none"
PARTS = "schedulers"
"""The parameter of a scheduler that is made of others; its value is a list of tables."""
BASE = "base"
"""The parameter of an optimizer that wraps another one, which is a table."""
REST = "rest"
"""The parameter of an optimizer for some parameters of the model: another optimizer, a table, for all others."""
GROUPS = "groups"
"""The parameter of an optimizer that is a list of tables: parameter groups."""


@dataclass(frozen=True, eq=False)
class Configuration:
    """A configuration; equal configurations have the same canonical JSON.

    Names are PyTorch's class names (``SGD``, ``CosineAnnealingLR``), ``none`` for a constant learning rate, or
    ``module:Class`` for a third-party class. ``warmup`` is in epochs. Parameters may contain expressions
    (``"0.3 epochs"``), which :meth:`resolved` replaces by numbers.
    """

    optimizer: str
    optimizer_params: Mapping[str, Any] = field(default_factory=dict)
    scheduler: str = NO_SCHEDULER
    scheduler_params: Mapping[str, Any] = field(default_factory=dict)
    warmup: float = 0
    batch_size: int = 0  # 0: the protocol's
    follows_length: bool = False  # whether its schedule depends on the epochs of the sweep; not part of the identity
    needs_own_pack: str = ""  # why its runs do not share a pack; empty: they do; not part of the identity
    cannot_resume: str = ""  # why a checkpoint does not hold all of its state; empty: it does; not part of the identity

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a nested table, as in a spec; numbers keep their type."""
        table = {
            "optimizer": {"name": self.optimizer, **self.optimizer_params},
            "scheduler": {"name": self.scheduler, **self.scheduler_params},
            "warmup": self.warmup,
            **({"batch_size": self.batch_size} if self.batch_size else {}),
        }
        return dict(checked_value(table, "configuration"))

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Configuration:
        """Read what :meth:`to_dict` wrote."""
        optimizer = dict(table["optimizer"])
        scheduler = dict(table.get("scheduler", {"name": NO_SCHEDULER}))
        return cls(
            optimizer.pop("name"), optimizer, scheduler.pop("name"), scheduler, table.get("warmup", 0),
            table.get("batch_size", 0),
        )  # fmt: skip

    @property
    def lr(self) -> Any:
        """The learning rate: that of the optimizer, or of the base that it wraps; None without one."""
        base = self.optimizer_params.get(BASE)
        inner = base.get("lr") if isinstance(base, Mapping) else None
        return self.optimizer_params.get("lr", inner)

    def without_lr(self) -> Configuration:
        """Return the configuration without its learning rate."""
        params = {key: value for key, value in self.optimizer_params.items() if key != "lr"}
        base = params.get(BASE)
        if "lr" not in self.optimizer_params and isinstance(base, Mapping):
            params[BASE] = {key: value for key, value in base.items() if key != "lr"}
        return replace(self, optimizer_params=params)

    @cached_property
    def key(self) -> str:
        """The canonical JSON: the identity of the configuration."""
        return canonical_json(self.to_dict())

    @cached_property
    def configuration_id(self) -> str:
        """Ten hex digits that identify the configuration; they do not depend on the seed."""
        return content_hash(self.to_dict(), 10)

    def columns(self) -> dict[str, Any]:
        """Return one flat column per key: ``optimizer``, ``optimizer.lr``, …, ``scheduler.T_max``, ``warmup``.

        ``batch_size`` is a column where it is not the protocol's.
        """
        flat: dict[str, Any] = {"optimizer": self.optimizer}
        if self.lr is not None and "lr" not in self.optimizer_params:
            flat["optimizer.lr"] = self.lr
        for key, value in self.optimizer_params.items():
            if key in (BASE, REST) and isinstance(value, Mapping):
                flat["optimizer"] += f"({_short(value)})" if key == BASE else f"+{_short(value)}"
                flat |= {f"optimizer.{key}.{inner}": each for inner, each in value.items()}
            else:
                flat[f"optimizer.{key}"] = value
        if "lr" not in self.optimizer_params:  # the learning rate is that of the base
            flat.pop(f"optimizer.{BASE}.lr", None)
        flat["scheduler"] = self.scheduler
        flat |= {f"scheduler.{key}": value for key, value in self.scheduler_params.items()}
        flat["warmup"] = self.warmup
        if self.batch_size:
            flat["batch_size"] = self.batch_size
        return flat

    def resolved(self, epochs: int, steps_per_epoch: int, where: str) -> Configuration:
        """Replace every expression by its number; the length of the schedule is what remains after the warm-up.

        A schedule that steps once per epoch begins in the epoch in which the warm-up ends. A warm-up of 0.5 epochs
        therefore leaves all epochs to it, and one of 2.5 epochs leaves all but two.

        Raises:
            SpecError: an invalid expression; the message begins with ``where``.
        """
        lr = self.lr
        warmup_steps = round(self.warmup * steps_per_epoch)
        quantities = Quantities(
            epochs=max(epochs - math.floor(self.warmup), 1),
            steps=max(epochs * steps_per_epoch - warmup_steps, 1),
            lr=float(lr) if isinstance(lr, int | float) else None,
        )
        place = f"{where}.scheduler"
        params = {key: evaluate(value, quantities, f"{place}.{key}") for key, value in self.scheduler_params.items()}
        values = list(self.scheduler_params.values())
        parts = params.get(PARTS)
        if isinstance(parts, list) and all(isinstance(part, Mapping) for part in parts):
            params[PARTS] = [
                {key: evaluate(value, inner, f"{place}.{PARTS}[{i}].{key}") for key, value in part.items()}
                for i, (part, inner) in enumerate(zip(parts, _of_parts(quantities, params, len(parts)), strict=True))
            ]
            values += [value for part in parts for value in part.values()]
        follows = any(is_expression(value) and "lr" not in str(value) for value in values)
        return replace(self, scheduler_params=params, follows_length=follows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configuration) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _short(table: Mapping[str, Any]) -> str:
    """Return the class of ``module:Class``."""
    return str(table.get("name")).rpartition(":")[2]


def _of_parts(whole: Quantities, params: Mapping[str, Any], count: int) -> list[Quantities]:
    """Return the quantities of each of ``count`` schedulers: with milestones, ``epochs`` is the length of its part."""
    milestones = params.get("milestones")
    if not isinstance(milestones, list) or len(milestones) != count - 1:
        return [whole] * count
    bounds = [0, *milestones, whole.epochs]
    return [replace(whole, epochs=max(1, end - start)) for start, end in pairwise(bounds)]
