"""Many runs' optimizers in a few launches, by ``torch.optim``'s own multi-tensor kernels, ready to be captured.

A run keeps its own ``torch.optim`` optimizer: it holds the hyperparameters, the state and the learning rate that the
schedule writes. Its update is made by another optimizer of the same class, which has the parameters of all runs of that
class, the parameter groups of each configuration, whose learning rate is a tensor on the device, and which shares the
runs' state.
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
    "SGD": {"fused": True},  # its only kernel that reads a learning rate on the device without waiting for its value
    "Adam": {"fused": True, "capturable": True},
    "AdamW": {"fused": True, "capturable": True},
    "ASGD": _MULTI_TENSOR,
    "Adadelta": _MULTI_TENSOR,
    "Adamax": _MULTI_TENSOR,
    "RMSprop": _MULTI_TENSOR,
    "Rprop": _MULTI_TENSOR,
}
"""Classes whose step can be captured with its learning rate on the device, and the kernels for it.

The others step outside the graph. Adagrad and Adafactor read values in the middle of a step (Adagrad keeps them on the
host; only Adafactor makes the host wait). NAdam and RAdam would compute powers of β in float32, which is not precise
enough. A third-party class may do anything."""


def can_be_captured(member: Member) -> bool:
    """Return whether a captured update of the run stays valid: only its learning rate changes from outside.

    All parameter groups must have one learning rate. CyclicLR and OneCycleLR also cycle momentum or β, which are Python
    numbers and would be frozen.
    """
    one_rate = len(set(member.schedule.base_lrs)) == 1
    return member.run.configuration.optimizer in KERNELS and member.schedule.moves_only_the_rate and one_rate


class GroupedOptimizers:
    """The optimizers of several runs, one a class of ``torch.optim``."""

    def __init__(self, members: Sequence[tuple[int, Member]], lrs: Tensor) -> None:
        """``members`` are runs with their places in the pack; ``lrs``, float32 ``[K]``, holds a rate for each place.

        Runs of one configuration whose schedule does not look at their losses have one rate, and one group.
        """
        self._members = [member for _, member in members]
        by_class: dict[str, dict[str, list[tuple[int, Member]]]] = {}
        for k, member in members:
            choice = member.run.configuration
            key = f"run {k}" if member.schedule.interval == "val_loss" else choice.configuration_id
            by_class.setdefault(choice.optimizer, {}).setdefault(key, []).append((k, member))
        self.alike = [[k for k, _ in group] for groups in by_class.values() for group in groups.values()]
        self._optimizers = [_grouped(name, list(groups.values()), lrs) for name, groups in by_class.items()]
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
            for parameter in (parameter for group in member.optimizer.param_groups for parameter in group["params"]):
                if state.get(parameter):
                    member.optimizer.state[parameter] = state[parameter]


def _grouped(name: str, groups: Sequence[Sequence[tuple[int, Member]]], lrs: Tensor) -> Optimizer:
    """Return one optimizer of class ``name`` with a parameter group for each of ``groups``."""
    tables: list[dict[str, Any]] = []
    places: list[int] = []
    for group in groups:
        own = group[0][1].optimizer
        for i, given in enumerate(own.param_groups):
            table = {key: given[key] for key in own.defaults if key not in IMPLEMENTATION}
            table["params"] = [p for _, member in group for p in member.optimizer.param_groups[i]["params"]]
            tables.append(table)
            places.append(group[0][0])
    optimizer = OPTIMIZERS[name](tables, **KERNELS[name])  # type: ignore[arg-type]  # each class has its own
    for table, place in zip(optimizer.param_groups, places, strict=True):
        table["lr"] = lrs[place]
    for group in groups:
        for _, member in group:
            for parameter, state in member.optimizer.state.items():
                for key, value in state.items():
                    if isinstance(value, Tensor):
                        state[key] = value.to(lrs.device)  # a checkpoint loads the step number to the CPU
                optimizer.state[parameter] = state
    # PyTorch would warn about a capturable optimizer that is not captured: the warm-up is not, and nothing is on a CPU.
    optimizer._warned_capturable_if_run_uncaptured = True
    return optimizer
