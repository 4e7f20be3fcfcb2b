"""The training step of a pack: operator by operator on a CPU, as CUDA graphs on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from search_spaces import Run
from trainables.models.interface import Model
from trainables.training.batches import Batch
from trainables.training.cuda_graphs import Captured, Graphs, graphs_of
from trainables.training.member import Member
from trainables.training.multi_tensor import GroupedOptimizers, can_be_captured
from trainables.training.reevaluation import EvaluatedPack, in_order_of_needs


class SteppedPack(EvaluatedPack, Protocol):
    """What a step needs of its pack."""

    runs: list[Run]
    model: Model
    device: torch.device
    step_in_epoch: int
    clips: bool

    @property
    def next_step(self) -> tuple[int, int]:
        """The epoch (from 1) and the step in it (from 0) that come next."""

    @property
    def alive(self) -> list[Member]:
        """The members that have not diverged."""

    def measure(self, batch: Batch) -> Tensor:
        """Leave the gradients in the stack, add the losses to the epoch's, and return the summed losses ``[K]``."""

    def freeze_non_finite(self, losses: Tensor) -> None:
        """Freeze every run whose loss (``[K]``) is not finite."""


class Step(Protocol):
    """How a pack takes its training steps. A caller may read the gradients between the two halves of a step."""

    splits_batches: bool
    """Whether a batch is passed in parts that fit into the processor's cache."""

    def compute_gradients(self, batch: Batch) -> None:
        """Leave the gradients of the mean loss over ``batch`` in the stack, and its losses in the pack."""

    def update(self) -> None:
        """Take the optimizer step of every member that has not diverged, and move its schedule on."""

    def state_loaded(self) -> None:
        """Drop what depends on the members' earlier state."""


def make_step(pack: SteppedPack, steps_per_epoch: int, graphs: Graphs | None) -> Step:
    """Return the step for the pack's device; ``graphs`` says how it is captured, None: as fits the device.

    A model whose pass cannot be captured runs operator by operator on every device.
    """
    graphs = graphs_of(pack.device) if graphs is None else graphs
    if graphs is None or not pack.model.capturable:
        return EagerStep(pack)
    return GraphedStep(pack, graphs, steps_per_epoch)


class EagerStep:
    """Runs a step operator by operator. A run that diverges is frozen before its update."""

    splits_batches = True

    def __init__(self, pack: SteppedPack) -> None:
        self._pack = pack
        self._batch: Batch | None = None

    def compute_gradients(self, batch: Batch) -> None:
        """Leave the gradients of the mean loss over ``batch`` in the stack, and its losses in the pack."""
        self._batch = batch
        self._pack.freeze_non_finite(self._pack.measure(batch))

    def update(self) -> None:
        """Take the optimizer step of every member that has not diverged, and move its schedule on."""
        assert self._batch is not None
        self._pack.clip_gradients()
        for member, evaluation in in_order_of_needs(self._pack, self._pack.alive, self._batch):
            member.lrs.append(member.schedule.lr)
            member.learner.update(*self._pack.next_step, evaluation)
            member.learner.after_batch(*self._pack.next_step)
        self._batch = None

    def state_loaded(self) -> None:
        """Do nothing: it keeps no state."""


class GraphedStep:
    """Captures a step as two CUDA graphs and replays them; the host never waits for the device.

    The first graph computes the gradients, the second updates the runs whose update can be captured. All tensors that
    they read stay in place: a batch is copied there before the step, and so are the learning rates, which the schedules
    keep as Python numbers, when one of them has changed. A run that diverges is frozen at the end of the epoch, since a
    check in every step would make the host wait.
    """

    splits_batches = False  # a GPU has no cache of that kind

    def __init__(self, pack: SteppedPack, graphs: Graphs, steps_per_epoch: int) -> None:
        self._pack = pack
        self._graphs = graphs
        K = len(pack.runs)
        self._lrs = torch.zeros(K, dtype=torch.float32, device=pack.device)
        # One row per step: an asynchronous copy may still read a row when the next step writes its own. At the end of
        # an epoch the host waits for the device, and the rows are free again.
        self._rows = torch.zeros(steps_per_epoch, K, dtype=torch.float32, pin_memory=pack.device.type == "cuda")
        self._row: list[float] = []
        self._gradients: dict[int, tuple[Batch, Captured]] = {}  # by batch size: an epoch's last batch is smaller
        self._place: Batch | None = None  # the batch of the present step
        self._alive: list[Member] = []
        self._outside: list[Member] = []
        self._grouped: GroupedOptimizers | None = None
        self._update: Captured | None = None
        self._clip = Captured(pack.clip_gradients, graphs) if pack.clips else None

    def compute_gradients(self, batch: Batch) -> None:
        """Leave the gradients of the mean loss over ``batch`` in the stack, and its losses in the pack."""
        B = batch.labels.shape[1]
        if B not in self._gradients:
            place = batch.copy()
            self._gradients[B] = (place, Captured(self._measuring(place), self._graphs))
        place, captured = self._gradients[B]
        self._place = place
        place.take(batch)
        captured()

    def _measuring(self, place: Batch) -> Callable[[], None]:
        def work() -> None:
            self._pack.measure(place)

        return work

    def update(self) -> None:
        """Take the optimizer step of every member that has not diverged, and move its schedule on."""
        pack = self._pack
        if self._alive != pack.alive:
            self._regroup()
        self._send_lrs()
        if self._clip is not None:
            self._clip()
        if self._update is not None and self._grouped is not None:
            self._update()
            self._grouped.share_state()
        assert self._place is not None
        for member, evaluation in in_order_of_needs(pack, self._outside, self._place):
            member.learner.update(*pack.next_step, evaluation)
        for member in self._alive:
            member.schedule.note_step()
            member.learner.after_batch(*pack.next_step)

    def state_loaded(self) -> None:
        """Drop the captured update, which has the addresses of the earlier state."""
        self._alive = []

    def _regroup(self) -> None:
        self._alive = self._pack.alive
        members = [(k, member) for k, member in enumerate(self._pack.members) if member.diverged_epoch is None]
        inside = [(k, member) for k, member in members if can_be_captured(member)]
        self._outside = [member for _, member in members if not can_be_captured(member)]
        self._grouped = GroupedOptimizers(inside, self._lrs) if inside else None
        self._update = None if self._grouped is None else Captured(self._grouped.step, self._graphs)

    def _send_lrs(self) -> None:
        """Copy the learning rates to the device if one has changed."""
        lrs = [member.schedule.lr for member in self._pack.members]
        for member in self._alive:
            member.lrs.append(member.schedule.lr)
        if lrs == self._row:
            return
        assert self._grouped is None or all(len({lrs[k] for k in group}) == 1 for group in self._grouped.alike), (
            "runs of one configuration have different learning rates"
        )
        self._row = lrs
        row = self._rows[self._pack.step_in_epoch]
        row.copy_(torch.tensor(lrs))
        self._lrs.copy_(row, non_blocking=True)
