"""Defaults of PyTorch's optimizers and schedulers: a label shows what differs from them.

Labels are made without PyTorch, so the defaults are written down here; a test compares them with PyTorch's signatures.
Lengths and learning rates of schedules are left out, because they depend on the sweep.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ADAM = {"betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0}

OPTIMIZER_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "ASGD": {"lambd": 0.0001, "alpha": 0.75, "t0": 1e6, "weight_decay": 0},
    "Adadelta": {"rho": 0.9, "eps": 1e-6, "weight_decay": 0},
    "Adafactor": {"beta2_decay": -0.8, "eps": [None, 0.001], "d": 1, "weight_decay": 0},
    "Adagrad": {"lr_decay": 0, "weight_decay": 0, "initial_accumulator_value": 0, "eps": 1e-10},
    "Adam": {**_ADAM, "amsgrad": False, "decoupled_weight_decay": False},
    "AdamW": {**_ADAM, "weight_decay": 0.01, "amsgrad": False},
    "Adamax": _ADAM,
    "NAdam": {**_ADAM, "momentum_decay": 0.004, "decoupled_weight_decay": False},
    "RAdam": {**_ADAM, "decoupled_weight_decay": False},
    "RMSprop": {"alpha": 0.99, "eps": 1e-8, "weight_decay": 0, "momentum": 0, "centered": False},
    "Rprop": {"etas": [0.5, 1.2], "step_sizes": [1e-6, 50]},
    "SGD": {"momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False},
}
"""An optimizer → its parameters besides the learning rate, with their defaults."""

SCHEDULER_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "StepLR": {"gamma": 0.1},
    "MultiStepLR": {"gamma": 0.1},
    "ExponentialLR": {},
    "LambdaLR": {},
    "ConstantLR": {"factor": 1 / 3},
    "LinearLR": {"start_factor": 1 / 3, "end_factor": 1},
    "PolynomialLR": {"power": 1},
    "CosineAnnealingLR": {},
    "CosineAnnealingWarmRestarts": {},
    "CyclicLR": {"mode": "triangular", "gamma": 1, "base_momentum": 0.8, "max_momentum": 0.9},
    "OneCycleLR": {
        "pct_start": 0.3, "anneal_strategy": "cos", "base_momentum": 0.85, "max_momentum": 0.95,
        "div_factor": 25, "final_div_factor": 10_000, "three_phase": False,
    },
    "ReduceLROnPlateau": {
        "mode": "min", "factor": 0.1, "threshold": 0.0001, "threshold_mode": "rel", "eps": 1e-8,
    },
    "MultiplicativeLR": {},
    "SequentialLR": {},
    "ChainedScheduler": {},
}  # fmt: skip
"""The same for schedulers. ``cycle_momentum`` is off here by default, and not in PyTorch."""


def class_defaults(group: str, name: str) -> Mapping[str, Any] | None:
    """Return the known defaults of the class ``name``; None for a class that is not PyTorch's.

    Args:
        group: ``optimizer`` or ``scheduler``.
        name: a plain name, or ``module:Class``.
    """
    module, _, short = name.rpartition(":")
    if module and module.partition(".")[0] != "torch":
        return None
    if group == "optimizer":
        return OPTIMIZER_DEFAULTS.get(short)
    defaults = SCHEDULER_DEFAULTS.get(short)
    return {**defaults, "cycle_momentum": False} if short in ("CyclicLR", "OneCycleLR") and defaults else defaults
