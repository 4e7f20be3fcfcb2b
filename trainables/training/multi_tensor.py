"""Many runs' optimizers in a few launches, by ``torch.optim``'s own multi-tensor kernels, ready to be recorded.

A run keeps its own ``torch.optim`` optimizer: it holds the hyperparameters, the state and the rate that the schedule
writes. Its update is made by another optimizer of the same class, which has the parameters of all runs of that class, a
parameter group for each configuration, whose rate is a tensor on the device, and which shares the runs' state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from trainables.optim.optimizers import IMPLEMENTATION, OPTIMIZERS
from trainables.training.member import Member

_MULTI_TENSOR = {"foreach": True, "capturable": True}

KERNELS: dict[str, dict[str, bool]] = {
    "SGD": {"fused": True},  # the only one of its kernels that reads a rate on the device without asking for its value
    "Adam": {"fused": True, "capturable": True},
    "AdamW": {"fused": True, "capturable": True},
    "ASGD": _MULTI_TENSOR,
    "Adadelta": _MULTI_TENSOR,
    "Adamax": _MULTI_TENSOR,
    "RMSprop": _MULTI_TENSOR,
    "Rprop": _MULTI_TENSOR,
}
"""Classes whose step can be recorded with its rate on the device, and the kernels that can.

The others step as they stand. Adagrad and Adafactor ask for values in the middle of a step (Adagrad keeps them on the
host; only Adafactor makes a GPU wait); what NAdam and RAdam would record raises β to the step in float32, which is too
far from what they compute otherwise; a third party's may do anything."""


def can_be_recorded(member: Member) -> bool:
    """Tell whether a recording of the run's update stays true: nothing but its rate ever changes from outside.

    CyclicLR and OneCycleLR also cycle momentum or β, which are Python's numbers and would be frozen.
    """
    return member.run.configuration.optimizer in KERNELS and member.schedule.moves_only_the_rate


class GroupedOptimizers:
    """The optimizers of several runs, one a class of ``torch.optim``."""

    def __init__(self, members: Sequence[tuple[int, Member]], rates: Tensor) -> None:
        """``members`` are runs with their places in the pack; ``rates``, float32 ``[K]``, holds a rate for each place.

        Runs of one configuration whose schedule does not look at their losses have one rate, and one group.
        """
        self._members = [member for _, member in members]
        by_class: dict[str, dict[str, list[tuple[int, Member]]]] = {}
        for k, member in members:
            choice = member.run.configuration
            key = f"run {k}" if member.schedule.interval == "val_loss" else choice.configuration_id
            by_class.setdefault(choice.optimizer, {}).setdefault(key, []).append((k, member))
        self.alike = [[k for k, _ in group] for groups in by_class.values() for group in groups.values()]
        self._optimizers = [_grouped(name, list(groups.values()), rates) for name, groups in by_class.items()]
        self._shared = False

    def step(self) -> None:
        """Take one step of every run."""
        for optimizer in self._optimizers:
            optimizer.step()

    def share_state(self) -> None:
        """Let the runs' own optimizers hold the state that the first step has made."""
        if self._shared:
            return
        self._shared = True
        state = {parameter: kept for optimizer in self._optimizers for parameter, kept in optimizer.state.items()}
        for member in self._members:
            for parameter in member.optimizer.param_groups[0]["params"]:
                if state.get(parameter):
                    member.optimizer.state[parameter] = state[parameter]


def _grouped(name: str, groups: Sequence[Sequence[tuple[int, Member]]], rates: Tensor) -> Optimizer:
    """Return one optimizer of class ``name`` with a parameter group for each of ``groups``."""
    tables: list[dict[str, Any]] = []
    for group in groups:
        own = group[0][1].optimizer
        given = own.param_groups[0]
        table = {key: given[key] for key in own.defaults if key not in IMPLEMENTATION}
        table["params"] = [p for _, member in group for p in member.optimizer.param_groups[0]["params"]]
        tables.append(table)
    optimizer = OPTIMIZERS[name](tables, **KERNELS[name])  # type: ignore[arg-type]  # each class has its own
    for table, group in zip(optimizer.param_groups, groups, strict=True):
        table["lr"] = rates[group[0][0]]
        for _, member in group:
            for parameter, state in member.optimizer.state.items():
                for key, value in state.items():
                    if isinstance(value, Tensor):
                        state[key] = value.to(rates.device)  # a step's number comes to the CPU with a checkpoint
                optimizer.state[parameter] = state
    # PyTorch would warn that what can be recorded is not; the warm-up is not, and on a CPU nothing is.
    optimizer._warned_capturable_if_run_uncaptured = True
    return optimizer
