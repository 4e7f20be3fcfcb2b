"""A trial of an optimizer and a schedule at planning time: does training continue exactly from a checkpoint?

A class or function of a user may keep state that a checkpoint does not hold, for example in attributes. The trial
trains a tiny model, saves and loads the state as a checkpoint does, continues, and compares every bit with an
uninterrupted training.
"""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from search_spaces import Configuration
from search_spaces.errors import SpecError
from trainables.optim.learner import Learner
from trainables.optim.plugins import names_own_code
from trainables.optim.tiny_model import Layout, TinyModel
from trainables.runtime.user_code import error_text, one_line_errors

STEPS = 2
"""Steps of an epoch."""
EPOCHS = 6
BREAK = STEPS
"""Steps before the state is saved: one epoch."""


def why_not_resumed(configuration: Configuration, dtype: torch.dtype, where: str, layout: Layout = ()) -> str:
    """Return why a training of ``configuration`` cannot continue exactly from a checkpoint; empty where it can.

    Args:
        configuration: a completed one.
        dtype: of the parameters.
        where: what an error begins with.
        layout: of the parameters of the model; empty: a few of LeNet-5's.

    Raises:
        SpecError: its code fails, or cannot train in a pack.
    """
    if not any(names_own_code(configuration)):
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are repeated in the training
        name = configuration.optimizer if names_own_code(configuration)[0] else configuration.scheduler
        with one_line_errors(where, name):
            try:
                return _compare(lambda: _TinyRun(configuration, dtype, where, layout))
            except _DivergedError:
                return ""


def _compare(start: Callable[[], _TinyRun]) -> str:
    whole = start()
    expected = [whole.step() for _ in range(EPOCHS * STEPS)]
    first = start()
    if [first.step() for _ in range(BREAK)] != expected[:BREAK]:
        return "two trainings with the same seed differ"
    buffer = io.BytesIO()
    try:
        torch.save(first.state_dict(), buffer)
    except Exception as error:
        return f"its state cannot be saved ({error_text(error)})"
    buffer.seek(0)
    try:
        state = torch.load(buffer, weights_only=True)
    except Exception:
        return f"its state has a value that a checkpoint cannot hold ({_not_plain(first.state_dict())})"
    again = start()
    try:
        again.load_state_dict(state)
    except Exception as error:
        return f"its state cannot be loaded ({error_text(error)})"
    lost = _differing(first, again)
    try:
        differ = [again.step() != expected[BREAK]]
        first.step()
        still = _differing(first, again)  # the others are made in each step, such as views of the parameters
        differ += [again.step() != bits for bits in expected[BREAK + 1 :]]
    except _DivergedError:
        raise
    except Exception as error:
        return f"a step after a checkpoint fails ({error_text(error)})"
    if lost := [name for name in lost if name in still]:
        return f"the attribute {lost[0]!r} is not in its state_dict()"
    return f"{sum(differ)} of {len(differ)} steps after a checkpoint differ" if any(differ) else ""


def _differing(one: _TinyRun, other: _TinyRun) -> list[str]:
    """Return the names of the attributes that have other bits."""
    attributes = other.attributes()
    return [name for name, bits in one.attributes().items() if attributes.get(name) != bits]


class _DivergedError(ArithmeticError):
    """The code fails for weights that are not finite. A sweep ends such a run earlier."""


class _TinyRun:
    """A training of the tiny model."""

    def __init__(self, configuration: Configuration, dtype: torch.dtype, where: str, layout: Layout) -> None:
        self._model = TinyModel(dtype, layout)
        self._parameters = list(self._model.parameters.values())
        self._places = [parameter.data_ptr() for parameter in self._parameters]
        self._where, self._name = where, configuration.optimizer
        warmup_steps = round(configuration.warmup * STEPS)
        self._learner = Learner(
            configuration, self._model.parameters, 0, warmup_steps, (f"{where}: optimizer", f"{where}: scheduler")
        )
        self._steps = 0

    def step(self) -> Any:
        """Take a step and advance the schedule; return the bits of the weights and the learning rate."""
        epoch, step = divmod(self._steps, STEPS)
        self._model.begin(epoch + 1, step)
        try:
            if epoch and step == 0:
                self._learner.training_mode()
            self._learner.update(epoch + 1, step, self._model)
        except Exception as error:
            if all(bool(torch.isfinite(parameter).all()) for parameter in self._parameters):
                raise
            raise _DivergedError from error
        for parameter, place in zip(self._parameters, self._places, strict=True):
            if parameter.data_ptr() != place:
                raise SpecError(
                    f"{self._where}: optimizer", f"{self._name} gives its parameters new storage in step()",
                    "update them in place, for example parameter.add_(update, alpha=-lr)",
                )  # fmt: skip
        self._learner.after_batch(epoch + 1, step)
        if step == STEPS - 1:
            self._learner.evaluation_mode()
            self._learner.after_epoch(epoch + 1, 1.0)
        self._steps += 1
        return bits_of([self._parameters, self._learner.schedule.lr])

    def state_dict(self) -> dict[str, Any]:
        return {**self._learner.state_dict(), "parameters": self._model.values()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._learner.load_state_dict(state)
        with torch.no_grad():
            for parameter, saved in zip(self._parameters, state["parameters"], strict=True):
                parameter.copy_(saved)
        self._steps = BREAK

    def attributes(self) -> dict[str, Any]:
        """The attributes of optimizer and scheduler that are not PyTorch's, as bits."""
        found: dict[str, Any] = {}
        addresses = {place: i for i, place in enumerate(self._places)}
        for value, known in ((self._learner.optimizer, _OPTIMIZERS), (self._learner.schedule.inner, _SCHEDULERS)):
            for name, attribute in vars(value).items() if value is not None else ():
                if name not in known and not name.startswith("_optimizer_"):  # hooks
                    found.setdefault(name, bits_of(attribute, addresses))
        return found


_OPTIMIZERS = frozenset({"defaults", "state", "param_groups", "step", "_step_count", "_opt_called"})
_SCHEDULERS = frozenset({"optimizer", "_get_lr_called_within_step", "_is_initial"})
"""Attributes of PyTorch's base classes that are part of the state, or that do not matter."""


NO_ADDRESSES: Mapping[int, int] = {}


def bits_of(value: Any, addresses: Mapping[int, int] = NO_ADDRESSES, depth: int = 0) -> Any:
    """Return ``value`` in a form whose equality is equality of bits; an unknown object is only its type.

    ``addresses`` has the numbers of parameters by their addresses, which differ between two trainings.
    """
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        return str(value.dtype), tuple(value.shape), flat.view(torch.uint8).numpy().tobytes()
    if isinstance(value, np.generic):
        return bits_of(value.item(), addresses)
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, torch.Generator):
        return bits_of(value.get_state())
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, float):
        return value.hex()
    if type(value) is int and value in addresses:
        return "address of a parameter", addresses[value]
    if value is None or isinstance(value, bool | int | str | bytes):
        return value
    if depth < 4:
        if isinstance(value, Mapping):
            return [tuple(bits_of(one, addresses, depth + 1) for one in pair) for pair in value.items()]
        if isinstance(value, list | tuple | set | frozenset) or type(value).__name__ == "deque":
            return [bits_of(item, addresses, depth + 1) for item in value]
    return type(value).__qualname__


def _not_plain(state: Any) -> str:
    """Name the type of the first value in ``state`` that is neither a tensor nor plain."""
    for value in _leaves(state):
        if not (isinstance(value, Tensor | torch.dtype) or type(value) in (type(None), bool, int, float, str)):
            return type(value).__name__
    return "an unknown one"


def _leaves(value: Any) -> Iterable[Any]:
    if type(value) is dict:
        for key, item in value.items():
            yield from _leaves(key)
            yield from _leaves(item)
    elif type(value) in (list, tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
