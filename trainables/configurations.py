"""A configuration made complete and tried out, before anything is trained."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch

from search_spaces import Configuration
from search_spaces.errors import SpecError
from trainables.optimizers import build_optimizer, complete_optimizer
from trainables.schedulers import Schedule, complete_scheduler


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PyTorch warns of here, it warns of again where it matters
        optimizer = build_optimizer(full.optimizer, full.optimizer_params, [tiny], f"{where}: optimizer")
        warmup_steps = round(full.warmup * steps_per_epoch)
        Schedule(full.scheduler, full.scheduler_params, optimizer, warmup_steps, f"{where}: scheduler")
    return full
