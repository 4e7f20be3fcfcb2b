"""A configuration made complete and tried out, before anything is trained."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import torch

from search_spaces import Configuration
from search_spaces.errors import SpecError
from trainables.optim.optimizers import build_optimizer, complete_optimizer
from trainables.optim.schedulers import Schedule, complete_scheduler

LARGEST_RATE = torch.finfo(torch.float32).max
MOST_TRIED = 500
"""Epochs (or batches) for which a schedule is tried out before the sweep starts."""


def complete_configuration(
    configuration: Configuration, epochs: int, steps_per_epoch: int, where: str
) -> Configuration:
    """Fill in the defaults, resolve the schedule for ``epochs``, and build both once on a tiny parameter.

    Raises:
        SpecError, UnknownNameError: what cannot be; the line begins with ``where`` and the key.
    """
    full = replace(
        configuration,
        optimizer_params=complete_optimizer(
            configuration.optimizer, configuration.optimizer_params, f"{where}: optimizer"
        ),
        scheduler_params=complete_scheduler(
            configuration.scheduler, configuration.scheduler_params, f"{where}: scheduler"
        ),
    ).resolved(epochs, steps_per_epoch, where)
    complete_scheduler(full.scheduler, full.scheduler_params, f"{where}: scheduler")  # now with numbers in it
    if full.scheduler_params.get("cycle_momentum") and full.optimizer_params.get("momentum") == 0:
        raise SpecError(  # PyTorch would give the optimizer a momentum that the configuration does not have
            f"{where}: scheduler.cycle_momentum", "true, but optimizer.momentum is 0", "say cycle_momentum = false"
        )
    tiny = torch.nn.Parameter(torch.zeros(2, 2))
    tiny.grad = torch.zeros(2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PyTorch warns of here, it warns of again where it matters
        optimizer = build_optimizer(full.optimizer, full.optimizer_params, [tiny], f"{where}: optimizer")
        warmup_steps = round(full.warmup * steps_per_epoch)
        schedule = Schedule(full.scheduler, full.scheduler_params, optimizer, warmup_steps, f"{where}: scheduler")
        _try_out(schedule, full, epochs, epochs * steps_per_epoch - warmup_steps, f"{where}: scheduler")
    return full


def _try_out(schedule: Schedule, full: Configuration, epochs: int, steps: int, where: str) -> None:
    """Step the schedule as the sweep will, where that is cheap; refuse one that breaks off or uses a rate below 0."""
    params = full.scheduler_params
    if schedule.stepped == "batch":
        if params.get("total_steps", steps) < steps:
            raise SpecError(f"{where}.total_steps", f"{params['total_steps']}, the sweep takes {steps}", 'say "steps"')
        lowest = f"base_lr {params['base_lr']}" if "base_lr" in params else "0"
        if params["max_lr"] <= params.get("base_lr", 0):
            raise SpecError(f"{where}.max_lr", f"{params['max_lr']}", f"a rate above {lowest}")
    length = steps if schedule.stepped == "batch" else epochs - math.ceil(full.warmup)
    schedule.end_warm_up()  # it is ours, and needs no trying
    for _ in range(min(length, MOST_TRIED)):
        if not 0 <= schedule.lr <= LARGEST_RATE:  # looked at before it is used: the one after the last step never is
            raise SpecError(f"{where} {full.scheduler}", f"comes to a learning rate of {schedule.lr:g}", "0 or more")
        try:
            schedule.after_batch()
            schedule.after_epoch(1.0)
        except (ArithmeticError, ValueError, TypeError, RuntimeError) as error:
            raise SpecError(f"{where} {full.scheduler}", f"breaks off: {error}") from error
