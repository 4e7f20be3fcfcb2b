"""The optimizer and the schedule of one run: its steps, and the state of both for a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.optim import Optimizer

from search_spaces import Configuration
from trainables.optim.optimizers import build_optimizer
from trainables.optim.plain_state import as_plain, load_optimizer
from trainables.optim.plugins import named_in
from trainables.optim.schedule import Schedule
from trainables.runtime.seeding import seeded_globals


class Learner:
    """Updates the parameters of one run.

    Code of a user (an optimizer, a scheduler, a function of the epoch) may draw random numbers and replace gradients.
    So it is called with global generators that are seeded by run, epoch, step and purpose, and every step begins with
    the gradients that the run had at its start. PyTorch's own classes do neither, and are called directly.
    """

    def __init__(
        self, configuration: Configuration, parameters: Mapping[str, nn.Parameter], seed: int, warmup_steps: int,
        where: tuple[str, str] = ("optimizer", "scheduler"), decay_on: str = "all",
    ) -> None:  # fmt: skip
        """``parameters`` have their gradients; ``where`` is what an error of the optimizer or scheduler begins with.

        Raises:
            SpecError: an optimizer or scheduler that refuses its parameters.
        """
        self._seed = seed
        self._parameters = list(parameters.values())
        self._gradients = [parameter.grad for parameter in self._parameters]
        self.own_optimizer, self.own_schedule = names_own_code(configuration)
        with self._seeded("optimizer", own=self.own_optimizer):
            self.optimizer = build_optimizer(
                configuration.optimizer, configuration.optimizer_params, parameters, where[0], decay_on
            )
        with self._seeded("schedule", own=self.own_schedule):
            self.schedule = Schedule(
                configuration.scheduler, configuration.scheduler_params, self.optimizer, warmup_steps, where[1]
            )

        self._modes = has_modes(self.optimizer)
        self.training_mode()

    def training_mode(self) -> None:
        """Give the parameters the values that are trained, where the optimizer has two modes.

        Some optimizers (schedule-free ones) evaluate other weights than they train: an average over the steps.
        """
        if self._modes:
            with self._seeded("training mode", own=True):
                self.optimizer.train()  # type: ignore[attr-defined]

    def evaluation_mode(self) -> None:
        """Give the parameters the values that are evaluated and stored, where the optimizer has two modes."""
        if self._modes:
            with self._seeded("evaluation mode", own=True):
                self.optimizer.eval()  # type: ignore[attr-defined]

    def update(self, epoch: int, step: int) -> None:
        """Take the optimizer step ``step`` (from 0) of ``epoch`` (from 1)."""
        if not self.own_optimizer:
            self.optimizer.step()
            return
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            if parameter.grad is not gradient:
                parameter.grad = gradient
        with self._seeded("optimizer", epoch, step, own=True):
            self.optimizer.step()

    def after_batch(self, epoch: int, step: int) -> None:
        """Advance the schedule by one batch."""
        if not self.own_schedule:
            self.schedule.after_batch()
            return
        with self._seeded("schedule", epoch, step, own=self.own_schedule):
            self.schedule.after_batch()

    def after_epoch(self, epoch: int, val_loss: float) -> None:
        """Advance the schedule by one epoch, whose validation loss was ``val_loss``."""
        with self._seeded("epoch of schedule", epoch, own=self.own_schedule):
            self.schedule.after_epoch(val_loss)

    @contextmanager
    def _seeded(self, purpose: str, epoch: int = 0, step: int = 0, *, own: bool) -> Iterator[None]:
        if not own:
            yield
            return
        with seeded_globals(self._parameters[0].device, self._seed, purpose, epoch, step):
            yield

    def state_dict(self) -> dict[str, Any]:
        """Return the state of optimizer and schedule, as tensors and plain values."""
        return {"optimizer": as_plain(self.optimizer.state_dict()), "schedule": self.schedule.state_dict()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Load what :meth:`state_dict` returned."""
        self.schedule.load_state_dict(saved["schedule"])
        load_optimizer(self.optimizer, saved["optimizer"])


def has_modes(optimizer: Optimizer) -> bool:
    """Return whether ``optimizer`` evaluates other weights than it trains, as schedule-free optimizers do."""
    return all(callable(getattr(optimizer, mode, None)) for mode in ("train", "eval"))


def names_own_code(configuration: Configuration) -> tuple[bool, bool]:
    """Return whether the optimizer, and the schedule, have code that is not PyTorch's: a class or a function."""
    keys = [key for key, name in named_in(configuration) if name.partition(":")[0].partition(".")[0] != "torch"]
    return "optimizer" in keys, any(key.startswith("scheduler") for key in keys)
