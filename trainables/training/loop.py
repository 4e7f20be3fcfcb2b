"""How a pack learns: the training loop, an epoch at a time, from wherever its last checkpoint stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from search_spaces import Run
from trainables.data.dataset import DataSet
from trainables.runtime.fault_injection import fault_point
from trainables.training.batches import Batches, Split
from trainables.training.checkpoints import Checkpoints
from trainables.training.cuda_graphs import Graphs
from trainables.training.pack import Pack
from trainables.training.weight_snapshots import SavedWeights

CHECKPOINT_SECONDS = 30.0

BeforeStep = Callable[[Pack, Batches], None]
"""Called before every optimizer step, when the step's gradients are complete; may end the training."""


class EndTraining(Exception):  # noqa: N818  a request, not an error
    """Raised by a :data:`BeforeStep` callback: the step under way is not taken, and no other one."""


@dataclass(frozen=True)
class Assignment:
    """What one process is asked to train."""

    pack_id: str
    runs: Sequence[Run]
    epochs: int
    test_epochs: frozenset[int]  # epochs after which the test split is looked at

    @property
    def seeds(self) -> list[int]:
        """The runs' seeds, in the runs' order."""
        return [run.seed for run in self.runs]


@dataclass(frozen=True)
class Report:
    """What an epoch brought: rows for the ledger, and the runs that diverged with their epochs."""

    rows: list[dict[str, Any]]
    attempts: list[dict[str, Any]]  # those that trained the rows, the present one last
    diverged: dict[str, int]
    fresh: bool  # false where the rows come out of a checkpoint
    done: bool
    stopped: bool = False  # it was asked to end; what it has not reported lies in its checkpoint


def train(
    assignment: Assignment, data: DataSet, device: torch.device, attempt: Mapping[str, Any],
    checkpoints: Checkpoints | None = None, clock: Callable[[], float] = time.perf_counter,
    before_step: BeforeStep | None = None, weights: SavedWeights | None = None,
    start: Sequence[Mapping[str, Tensor]] | None = None, asked_to_stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS, graphs: Graphs | None = None,
) -> Iterator[Report]:  # fmt: skip
    """Train a pack and yield a report after every epoch; the first one carries all rows that a checkpoint held.

    ``attempt`` says who trains (its ``attempt_id`` stands in every row) and is handed on with the rows.
    ``weights`` keeps the weights along the way; ``before_step`` may look at every step's gradients.
    ``checkpoints`` are written after every epoch, between two steps where the last is ``checkpoint_seconds`` old, and
    at once when ``asked_to_stop``, which is asked after every step, says so: the last report is then ``stopped``.
    ``start`` holds weights for every run, which are copied; without it each starts from its seed's own.
    ``graphs`` says how a step is recorded; None: as fits ``device``.
    The test split is touched after the epochs in ``assignment.test_epochs`` and at no other time.

    Raises:
        SpecError: an optimizer or scheduler that refuses its parameters.
        OSError: a checkpoint that cannot be written.
    """
    batches = Batches(data, assignment.seeds, assignment.runs[0].protocol, device)
    pack = Pack(assignment.runs, batches.steps, device, graphs)
    for k, parameters in enumerate(start or ()):
        pack.stack.load_member(k, parameters)
    state = checkpoints.take_up() if checkpoints else None
    if state is not None:
        pack.load_state_dict(state)
    pack.attempts.append(dict(attempt))
    if state is not None:
        yield _report(pack, assignment, since=0, fresh=False)
    val = Split.of(data.val_images, data.val_labels, device)
    test = Split.of(data.test_images, data.test_labels, device)
    before = None if before_step is None else lambda pack: before_step(pack, batches)
    if weights and pack.epoch == pack.step_in_epoch == 0:
        weights.save(pack, assignment.epochs)

    while pack.epoch < assignment.epochs and pack.alive:
        epoch, saved_at = pack.epoch + 1, clock()
        while pack.step_in_epoch < batches.steps and pack.alive:
            began = clock()
            try:
                pack.train_step(batches.batch(epoch, pack.step_in_epoch), before)
            except EndTraining:
                return
            if device.type == "cuda" and pack.step_in_epoch == batches.steps:
                torch.cuda.synchronize(device)  # once an epoch: what was queued belongs to its training time
            pack.epoch_seconds += clock() - began
            stop = asked_to_stop()
            if checkpoints and (stop or clock() - saved_at > checkpoint_seconds):
                checkpoints.save(pack.state_dict())
                saved_at = clock()
            if stop:
                yield Report([], pack.attempts[-1:], {}, fresh=True, done=False, stopped=True)
                return
        _close_epoch(pack, batches.examples, val, test if epoch in assignment.test_epochs else None, clock)
        if weights:
            weights.save(pack, assignment.epochs)
        if checkpoints:
            checkpoints.save(pack.state_dict())
        fault_point("checkpoint written")
        yield _report(pack, assignment, since=pack.epoch - 1, fresh=True)


def _close_epoch(pack: Pack, examples: int, val: Split, test: Split | None, clock: Callable[[], float]) -> None:
    """Evaluate, write each live member's row, move the schedules on, and begin the next epoch."""
    began = clock()
    pack.freeze_non_finite(pack.loss_sum)
    val_loss, val_acc = (values.tolist() for values in pack.evaluate(val))
    test_loss, test_acc = ([None] * len(pack.members),) * 2
    if test is not None:
        test_loss, test_acc = (values.tolist() for values in pack.evaluate(test))
    train_loss, correct = (pack.loss_sum / examples).tolist(), pack.correct_sum.tolist()
    pack.freeze_non_finite(torch.tensor(val_loss))
    eval_seconds = clock() - began
    for k, member in enumerate(pack.members):
        if member.diverged_epoch is None:
            member.rows.append(
                {
                    "run_id": member.run.run_id,
                    "epoch": pack.epoch + 1,
                    "train_loss": train_loss[k],
                    "train_acc": 100.0 * correct[k] / examples,
                    "val_loss": val_loss[k],
                    "val_acc": val_acc[k],
                    "test_loss": test_loss[k],
                    "test_acc": test_acc[k],
                    "lr": sum(member.rates) / len(member.rates),
                    "lr_first": member.rates[0],
                    "lr_last": member.rates[-1],
                    "epoch_seconds": pack.epoch_seconds,
                    "eval_seconds": eval_seconds,
                    "pack_size": len(pack.members),
                    "attempt_id": pack.attempts[-1]["attempt_id"],
                }
            )
            member.schedule.after_epoch(val_loss[k])
        member.rates = []
    pack.epoch, pack.step_in_epoch, pack.epoch_seconds = pack.epoch + 1, 0, 0.0
    pack.loss_sum.zero_()
    pack.correct_sum.zero_()


def _report(pack: Pack, assignment: Assignment, since: int, fresh: bool) -> Report:
    """Return the rows of all epochs after ``since``."""
    return Report(
        rows=[row for member in pack.members for row in member.rows if row["epoch"] > since],
        attempts=pack.attempts if since == 0 else pack.attempts[-1:],
        fresh=fresh,
        diverged={m.run.run_id: m.diverged_epoch for m in pack.members if m.diverged_epoch is not None},
        done=pack.epoch >= assignment.epochs or not pack.alive,
    )
