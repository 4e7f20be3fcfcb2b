"""A pack's training step on a GPU: two recordings a step, and nothing that lets the host wait for the device.

The first one computes the gradients, the second updates the runs whose update can be recorded; between them a caller
may look at the gradients. All tensors that they read stay where they are: a batch is copied to its place before the
step, and so are the learning rates, which the schedules keep as Python's numbers, where one of them has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from search_spaces import Run
from trainables.training.batches import Batch
from trainables.training.cuda_graphs import Graphs, Recorded
from trainables.training.member import Member
from trainables.training.multi_tensor import GroupedOptimizers, can_be_recorded


class SteppedPack(Protocol):
    """What a GPU step needs of the pack that it steps."""

    runs: list[Run]
    device: torch.device
    members: list[Member]
    step_in_epoch: int

    @property
    def alive(self) -> list[Member]:
        """The members that have not diverged."""

    def measure(self, batch: Batch) -> Tensor:
        """Leave the gradients in the stack, add the losses to the epoch's, and return the summed losses ``[K]``."""


class DeviceStep:
    """How a pack on a GPU takes its steps."""

    def __init__(self, pack: SteppedPack, graphs: Graphs, steps_per_epoch: int) -> None:
        self._pack = pack
        self._graphs = graphs
        K = len(pack.runs)
        self._rates = torch.zeros(K, dtype=torch.float32, device=pack.device)
        # A row a step: a copy that does not wait may be on its way still when the next step writes its own. The end of
        # an epoch waits for the device, and the rows are free again.
        self._rows = torch.zeros(steps_per_epoch, K, dtype=torch.float32, pin_memory=pack.device.type == "cuda")
        self._row: list[float] = []
        self._gradients: dict[int, tuple[Batch, Recorded]] = {}  # by examples in the batch: an epoch's last is smaller
        self._alive: list[Member] = []
        self._outside: list[Member] = []
        self._grouped: GroupedOptimizers | None = None
        self._update: Recorded | None = None

    def compute_gradients(self, batch: Batch) -> None:
        """Leave the gradients of the mean loss over ``batch`` in the stack, and its losses in the pack."""
        B = batch.labels.shape[1]
        if B not in self._gradients:
            place = batch.copy()
            self._gradients[B] = (place, Recorded(self._measuring(place), self._graphs))
        place, recorded = self._gradients[B]
        place.take(batch)
        recorded()

    def _measuring(self, place: Batch) -> Callable[[], None]:
        def work() -> None:
            self._pack.measure(place)

        return work

    def update(self) -> None:
        """Take the optimizer steps of all members that have not diverged, and move their schedules on."""
        pack = self._pack
        if self._alive != pack.alive:
            self._regroup()
        self._send_rates()
        if self._update is not None and self._grouped is not None:
            self._update()
            self._grouped.share_state()
        for member in self._outside:
            member.optimizer.step()
        for member in self._alive:
            member.schedule.note_step()
            member.schedule.after_batch()

    def regroup(self) -> None:
        """Forget the recorded update: the members' state is another one than it was recorded with."""
        self._alive = []

    def _regroup(self) -> None:
        self._alive = self._pack.alive
        members = [(k, member) for k, member in enumerate(self._pack.members) if member.diverged_epoch is None]
        inside = [(k, member) for k, member in members if can_be_recorded(member)]
        self._outside = [member for _, member in members if not can_be_recorded(member)]
        self._grouped = GroupedOptimizers(inside, self._rates) if inside else None
        self._update = None if self._grouped is None else Recorded(self._grouped.step, self._graphs)

    def _send_rates(self) -> None:
        """Copy the rates to the device where one has changed."""
        rates = [member.schedule.lr for member in self._pack.members]
        for member in self._alive:
            member.lrs.append(member.schedule.lr)
        if rates == self._row:
            return
        assert self._grouped is None or all(len({rates[k] for k in group}) == 1 for group in self._grouped.alike), (
            "runs of one configuration have different rates"
        )
        self._row = rates
        row = self._rows[self._pack.step_in_epoch]
        row.copy_(torch.tensor(rates))
        self._rates.copy_(row, non_blocking=True)
