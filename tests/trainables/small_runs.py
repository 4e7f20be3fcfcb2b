"""A tiny data set and runs for tests of training, and the plain loop that they are compared with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from search_spaces import Configuration, Protocol, Run
from trainables.data import augmentation
from trainables.data.dataset import DataSet, load_data
from trainables.data.image_arrays import LabelledImages
from trainables.models.lenet import LeNet5, initial_parameters
from trainables.optim.optimizers import build_optimizer, complete_optimizer
from trainables.optim.schedule import Schedule
from trainables.optim.schedulers import complete_scheduler
from trainables.training.batches import Batches
from trainables.training.loop import TrainOptions
from trainables.training.messages import AttemptInfo

CPU = torch.device("cpu")
FLOAT64 = Protocol(batch_size=32, dtype="float64")
FLOAT32 = Protocol(batch_size=32)


def tiny_data() -> DataSet:
    return load_data("synthetic:n_train=400,n_test=100,seed=0", val_fraction=0.25)


def data_of(images: LabelledImages) -> DataSet:
    """``images`` as a data set whose validation part is every second training image."""
    train, val = images.train_images, images.train_labels
    return DataSet(
        "mine", False, train[::2], val[::2], train[1::2], val[1::2], images.test_images, images.test_labels, "f",
        images.class_names, "mine",
    )  # fmt: skip


def make_run(
    optimizer: str = "SGD", scheduler: str = "none", *, seed: int = 0, epochs: int = 3, steps_per_epoch: int = 10,
    protocol: Protocol = FLOAT32, scheduler_params: dict[str, Any] | None = None, warmup: float = 0, **params: Any,
) -> Run:  # fmt: skip
    configuration = Configuration(
        optimizer,
        complete_optimizer(optimizer, params, "optimizer"),
        scheduler,
        complete_scheduler(scheduler, scheduler_params or {}, "scheduler"),
        warmup,
    ).resolved(epochs, steps_per_epoch, "test")
    return Run(configuration, seed, protocol, "tiny")


def options(attempt_id: str = "a", **chosen: Any) -> TrainOptions:
    """Return options of training, with an attempt id that two trainings can have in common."""
    return TrainOptions(AttemptInfo(attempt_id, "pack", "here", 1, "cpu", "", 1, (), {}, 0.0), **chosen)


def plain_losses(run: Run, data: DataSet, steps: int) -> list[float]:
    """Train an ordinary ``nn.Module`` with an ordinary optimizer and scheduler; return the loss of every step."""
    batches = Batches(data, [run.seed], run.protocol, CPU)
    model = LeNet5(data.classes).to(getattr(torch, run.protocol.dtype))
    model.load_state_dict(initial_parameters(run.seed, getattr(torch, run.protocol.dtype), data.classes))
    choice = run.configuration
    optimizer = build_optimizer(choice.optimizer, choice.optimizer_params, model.parameters(), "optimizer")
    schedule = Schedule(choice.scheduler, choice.scheduler_params, optimizer, round(choice.warmup * batches.steps))
    losses = []
    for index in range(steps):
        epoch, step = divmod(index, batches.steps)
        batch = batches.batch(epoch + 1, step)
        masks = None if batch.masks is None else (batch.masks[0][0], batch.masks[1][0])
        logits = model(augmentation.normalise(batch.images[0], getattr(torch, run.protocol.dtype)), masks)
        loss = F.cross_entropy(logits, batch.labels[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.after_batch()
        losses.append(loss.item())
    return losses


def without_dropout(protocol: Protocol) -> Protocol:
    return replace(protocol, dropout=0.0)
