"""The training loop of a pack: one epoch at a time, from its newest checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.data.dataset import DataSet
from trainables.models.kernels import TORCH
from trainables.runtime.fault_injection import fault_point
from trainables.training.batches import Batches, Split
from trainables.training.checkpoints import Checkpoints
from trainables.training.cuda_graphs import Graphs
from trainables.training.messages import (
    CHECKPOINT_SECONDS,
    Assignment,
    AttemptInfo,
    EpochMetrics,
    Report,
    this_attempt,
)
from trainables.training.pack import Pack
from trainables.training.weight_snapshots import SavedWeights

BeforeStep = Callable[[Pack, Batches], None]
"""Called before every optimizer step, when the step's gradients are complete; may raise :class:`EndTraining`."""


class EndTraining(Exception):  # noqa: N818  a request, not an error
    """Raised by a :data:`BeforeStep` callback: training ends before this step."""


@dataclass(frozen=True)
class TrainOptions:
    """How :func:`train` trains. Only ``start``, ``before_step`` and ``kernels`` change what is measured."""

    attempt: AttemptInfo | None = None  # who trains; None: this process
    checkpoints: Checkpoints | None = None  # written after every epoch, and as the next two fields require
    checkpoint_seconds: float = CHECKPOINT_SECONDS  # longest time between two checkpoints within an epoch
    asked_to_stop: Callable[[], bool] = lambda: False  # called after every step; True: checkpoint and end
    weights: SavedWeights | None = None  # where weight snapshots are saved
    start: Sequence[Mapping[str, Tensor]] = ()  # initial weights of every run, copied; empty: those of its seed
    before_step: BeforeStep | None = None
    kernels: str = TORCH  # of the convolutions; others change the last bits
    graphs: Graphs | None = None  # how a step is captured; None: as fits the device
    clock: Callable[[], float] = time.perf_counter


DEFAULT_OPTIONS = TrainOptions()


def train(
    assignment: Assignment, data: DataSet, device: torch.device, options: TrainOptions = DEFAULT_OPTIONS
) -> Iterator[Report]:
    """Train a pack and yield a report after every epoch; the first one has all rows of the checkpoint, if there is one.

    The test split is evaluated after the epochs in ``assignment.test_epochs`` and at no other time.

    Raises:
        SpecError: an optimizer or scheduler that refuses its parameters.
        OSError: a checkpoint that cannot be written.
    """
    checkpoints, weights, clock = options.checkpoints, options.weights, options.clock
    batches = Batches(data, assignment.seeds, assignment.runs[0].conditions, device)
    pack = Pack(assignment.runs, batches.steps, device, options.graphs, data.classes, options.kernels)
    for k, parameters in enumerate(options.start):
        pack.stack.load_member(k, parameters)
    state = checkpoints.take_up() if checkpoints else None
    if state is not None and not (assignment.resumes and state.get("resumes", True)):
        state = None  # it does not hold all state: the pack restarts, and its rows are written again
    if state is not None:
        pack.load_state_dict(state)
    pack.attempts.append(options.attempt or this_attempt(assignment, device, kernels=options.kernels))
    if state is not None:
        yield _report(pack, assignment, since=0, fresh=False)
    val = Split.of(data.val_images, data.val_labels, device)
    test = Split.of(data.test_images, data.test_labels, device)
    before_step = options.before_step
    before = None if before_step is None else lambda pack: before_step(pack, batches)
    if weights and pack.epoch == pack.step_in_epoch == 0:
        weights.save(pack, assignment.epochs)

    while pack.epoch < assignment.epochs and pack.alive:
        if pack.epoch and pack.step_in_epoch == 0:
            pack.training_mode()
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
            stop = options.asked_to_stop()
            if checkpoints and assignment.resumes and (stop or clock() - saved_at > options.checkpoint_seconds):
                checkpoints.save(pack.state_dict())
                saved_at = clock()
            if stop:
                yield Report(attempts=pack.attempts[-1:], stopped=True)
                return
        _close_epoch(pack, batches.examples, val, test if epoch in assignment.test_epochs else None, clock)
        if weights:
            weights.save(pack, assignment.epochs)
        if checkpoints:
            checkpoints.save(pack.state_dict(resumes=assignment.resumes))
        fault_point("checkpoint written")
        yield _report(pack, assignment, since=pack.epoch - 1, fresh=True)


def _close_epoch(pack: Pack, examples: int, val: Split, test: Split | None, clock: Callable[[], float]) -> None:
    """Evaluate, write each live member's row, move the schedules on, and begin the next epoch."""
    began = clock()
    pack.evaluation_mode()
    pack.check_views()
    pack.freeze_non_finite(pack.loss_sum)
    val_loss, val_acc = (values.tolist() for values in pack.evaluate(val))
    test_loss, test_acc = ([None] * len(pack.members),) * 2
    if test is not None:
        test_loss, test_acc = (values.tolist() for values in pack.evaluate(test))
    train_loss, correct = (pack.loss_sum / examples).tolist(), pack.correct_sum.tolist()
    pack.freeze_non_finite(torch.tensor(val_loss, dtype=torch.float64))  # float32 would make large losses infinite
    eval_seconds = clock() - began
    for k, member in enumerate(pack.members):
        if member.diverged_epoch is None:
            member.rows.append(
                EpochMetrics(
                    run_id=member.run.run_id,
                    epoch=pack.epoch + 1,
                    train_loss=train_loss[k],
                    train_acc=100.0 * correct[k] / examples,
                    val_loss=val_loss[k],
                    val_acc=val_acc[k],
                    test_loss=test_loss[k],
                    test_acc=test_acc[k],
                    lr=sum(member.lrs) / len(member.lrs),
                    lr_first=member.lrs[0],
                    lr_last=member.lrs[-1],
                    epoch_seconds=pack.epoch_seconds,
                    eval_seconds=eval_seconds,
                    pack_size=len(pack.members),
                    attempt_id=pack.attempts[-1].attempt_id,
                )
            )
            member.learner.after_epoch(pack.epoch + 1, val_loss[k])
        member.lrs = []
    pack.epoch, pack.step_in_epoch, pack.epoch_seconds = pack.epoch + 1, 0, 0.0
    pack.loss_sum.zero_()
    pack.correct_sum.zero_()


def _report(pack: Pack, assignment: Assignment, since: int, fresh: bool) -> Report:
    """Return the rows of all epochs after ``since``."""
    return Report(
        rows=[row for member in pack.members for row in member.rows if row.epoch > since],
        attempts=list(pack.attempts if since == 0 else pack.attempts[-1:]),
        fresh=fresh,
        diverged={m.run.run_id: m.diverged_epoch for m in pack.members if m.diverged_epoch is not None},
        done=pack.epoch >= assignment.epochs or not pack.alive,
    )
