"""Checks of a configuration before training: defaults added, optimizer and schedule tried out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection
from dataclasses import replace

import torch
from torch.optim import lr_scheduler

from search_spaces import Configuration, Protocol
from search_spaces.errors import SpecError
from trainables.optim.composed import scheduled
from trainables.optim.learner import has_modes
from trainables.optim.optimizers import build_optimizer, complete_optimizer
from trainables.optim.plugins import check_allowed
from trainables.optim.schedule import Schedule, has_lr
from trainables.optim.schedulers import complete_scheduler
from trainables.optim.tiny_model import Layout, TinyModel
from trainables.runtime.user_code import one_line_errors

LARGEST_RATE = torch.finfo(torch.float32).max
DEFAULT_PROTOCOL = Protocol()
MOST_TRIED = 500
"""Maximum of epochs (or batches) for which a schedule is tried out before the sweep starts."""


def complete_configuration(
    configuration: Configuration, epochs: int, steps_per_epoch: int, where: str, packages: Collection[str] = (),
    protocol: Protocol = DEFAULT_PROTOCOL, layout: Layout = (),
) -> Configuration:  # fmt: skip
    """Add the defaults, resolve the schedule for ``epochs``, and create both once for a tiny parameter.

    ``packages`` are the installed packages that the spec may name, besides PyTorch. ``layout`` is that of the
    parameters of the model; empty: a few of LeNet-5's.

    Raises:
        SpecError, UnknownNameError: an invalid name or value; the message begins with ``where`` and the key.
    """
    check_allowed(configuration, packages, where)
    full = replace(
        configuration,
        optimizer_params=complete_optimizer(
            configuration.optimizer, configuration.optimizer_params, f"{where}: optimizer"
        ),
        scheduler_params=complete_scheduler(
            configuration.scheduler, configuration.scheduler_params, f"{where}: scheduler"
        ),
    ).resolved(epochs, steps_per_epoch, where)
    complete_scheduler(full.scheduler, full.scheduler_params, f"{where}: scheduler")  # again, with the resolved numbers
    if full.scheduler_params.get("cycle_momentum") and full.optimizer_params.get("momentum") == 0:
        raise SpecError(  # PyTorch would set a momentum that differs from the configuration
            f"{where}: scheduler.cycle_momentum", "true, but optimizer.momentum is 0", "set cycle_momentum = false"
        )
    tiny = TinyModel(torch.float32, layout).parameters
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch repeats its warnings in the training
        optimizer = build_optimizer(
            full.optimizer, full.optimizer_params, tiny, f"{where}: optimizer", protocol.weight_decay_on
        )
        if protocol.ema_decay and has_modes(optimizer):
            raise SpecError(
                "protocol.ema_decay", f"{protocol.ema_decay}, but {full.optimizer} evaluates its own average",
                "0, or another optimizer",
            )  # fmt: skip
        warmup_steps = round(full.warmup * steps_per_epoch)
        schedule = Schedule(
            full.scheduler, full.scheduler_params, scheduled(optimizer), warmup_steps, f"{where}: scheduler"
        )
        _try_out(schedule, full, epochs, epochs * steps_per_epoch - warmup_steps, f"{where}: scheduler")
    return full


def _try_out(schedule: Schedule, full: Configuration, epochs: int, steps: int, where: str) -> None:
    """Step the schedule as the sweep does, up to MOST_TRIED times; refuse one that raises or uses a rate below 0."""
    params = full.scheduler_params
    if schedule.interval == "batch":
        if isinstance(schedule.inner, lr_scheduler.OneCycleLR) and params["total_steps"] < steps:
            raise SpecError(f"{where}.total_steps", f"{params['total_steps']}, the sweep takes {steps}", 'use "steps"')
        lowest = f"base_lr {params['base_lr']}" if "base_lr" in params else "0"
        cyclic = isinstance(schedule.inner, lr_scheduler.OneCycleLR | lr_scheduler.CyclicLR)
        if cyclic and params["max_lr"] <= params.get("base_lr", 0):
            raise SpecError(f"{where}.max_lr", f"{params['max_lr']}", f"a learning rate above {lowest}")
    length = steps if schedule.interval == "batch" else epochs - math.floor(full.warmup)
    schedule.end_warm_up()  # our own code needs no check
    for _ in range(min(length, MOST_TRIED) if has_lr(schedule.optimizer) else 0):
        if not 0 <= schedule.lr <= LARGEST_RATE:  # before each use: the rate after the last step is never used
            raise SpecError(f"{where} {full.scheduler}", f"reaches a learning rate of {schedule.lr:g}", "0 or more")
        with one_line_errors(where, full.scheduler):
            schedule.after_batch()
            schedule.after_epoch(1.0)
