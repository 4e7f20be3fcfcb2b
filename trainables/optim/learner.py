"""The optimizer and the schedule of one run: its steps, and the state of both for a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.optim import Optimizer

from search_spaces import Configuration
from trainables.optim.composed import scheduled
from trainables.optim.needs import Evaluation, need_of, take_step
from trainables.optim.optimizers import build_optimizer
from trainables.optim.plain_state import load_optimizer, optimizer_state
from trainables.optim.plugins import names_own_code
from trainables.optim.schedule import Schedule
from trainables.optim.tiny_model import layout_of
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
                configuration.scheduler, configuration.scheduler_params, scheduled(self.optimizer), warmup_steps,
                where[1],
            )  # fmt: skip

        self.need = need_of(configuration, layout_of(parameters))
        self._modes = has_modes(self.optimizer)
        self._evaluates = False
        self.training_mode()

    def training_mode(self) -> None:
        """Give the parameters the values that are trained, where the optimizer has two modes.

        Some optimizers (schedule-free ones) evaluate other weights than they train: an average over the steps.
        """
        self._evaluates = False
        if self._modes:
            with self._seeded("training mode", own=True):
                self.optimizer.train()  # type: ignore[attr-defined]

    def evaluation_mode(self) -> None:
        """Give the parameters the values that are evaluated and stored, where the optimizer has two modes."""
        self._evaluates = True
        if self._modes:
            with self._seeded("evaluation mode", own=True):
                self.optimizer.eval()  # type: ignore[attr-defined]

    def update(self, epoch: int, step: int, evaluation: Evaluation | None = None) -> None:
        """Take the optimizer step ``step`` (from 0) of ``epoch`` (from 1).

        ``evaluation`` computes loss and gradients again, for an optimizer that needs it (see :attr:`need`).
        """
        if not self.own_optimizer:
            take_step(self.optimizer, self.need, evaluation, self._restore_gradients)
            return
        with self._seeded("optimizer", epoch, step, own=True):
            take_step(self.optimizer, self.need, evaluation, self._restore_gradients)
        self._restore_gradients()

    def _restore_gradients(self) -> None:
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            if parameter.grad is not gradient:
                parameter.grad = gradient

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
        mode = {"evaluates": True} if self._evaluates and self._modes else {}
        return {"optimizer": optimizer_state(self.optimizer), "schedule": self.schedule.state_dict(), **mode}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Load what :meth:`state_dict` returned. The weights are loaded after it: a change of the mode changes them."""
        if saved.get("evaluates"):
            self.evaluation_mode()
        self.schedule.load_state_dict(saved["schedule"])
        load_optimizer(self.optimizer, saved["optimizer"])


def has_modes(optimizer: Optimizer) -> bool:
    """Return whether ``optimizer`` evaluates other weights than it trains, as schedule-free optimizers do."""
    return all(callable(getattr(optimizer, mode, None)) for mode in ("train", "eval"))
