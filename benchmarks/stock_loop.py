"""The standard loop in ``benchmarks.throughput``: LeNet-5 as usually written for Ray Tune.

A function trainable that reports every epoch, torchvision's transforms on PIL images, a ``DataLoader``, torch's own
seeding, one configuration per trial, no checkpoint. The model, the split and the evaluation are those of ``sweep``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainables.data.augmentation import MEAN, PADDING, SIDE, STD
from trainables.data.dataset import DataSet
from trainables.models.lenet import HIDDEN, LeNet5

BATCH = 128
DROPOUT = 0.3
PROBE_STEPS, PROBE_WARM_UP = 120, 20

Job = dict[str, Any]
"""``optimizer`` (a class of ``torch.optim``), its ``params``, ``seed``, ``num_workers`` and ``epochs``."""


class Images(Dataset[Any]):
    """A part of the data as ``torchvision.datasets.CIFAR100`` hands it out: a PIL image, transformed, and its label."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: Callable[[Any], Tensor]) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def make_loaders(data: DataSet, num_workers: int) -> list[DataLoader[Any]]:
    """Return the loaders of the training, validation and test images."""
    from torchvision import transforms

    plain = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    varied = [transforms.RandomCrop(SIDE, padding=PADDING), transforms.RandomHorizontalFlip(), *plain]
    train, still = transforms.Compose(varied), transforms.Compose(plain)
    return [
        DataLoader(Images(data.train_images, data.train_labels, train), BATCH, shuffle=True, num_workers=num_workers),
        DataLoader(Images(data.val_images, data.val_labels, still), BATCH, num_workers=num_workers),
        DataLoader(Images(data.test_images, data.test_labels, still), BATCH, num_workers=num_workers),
    ]


def begin_stock(job: Mapping[str, Any], data: DataSet) -> tuple[LeNet5, torch.optim.Optimizer, list[DataLoader[Any]]]:
    """Return the model and optimizer of a new trial."""
    torch.set_num_threads(1)
    torch.manual_seed(job["seed"])
    model = LeNet5()
    optimizer = getattr(torch.optim, job["optimizer"])(model.parameters(), **job["params"])
    return model, optimizer, make_loaders(data, job["num_workers"])


def stock_step(model: LeNet5, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> tuple[float, int]:
    """Take one step; return the batch's mean loss and how many it got right."""
    masks = tuple(F.dropout(torch.ones(len(labels), units), DROPOUT) for units in HIDDEN)
    logits = model(images, masks)
    loss = F.cross_entropy(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item(), int((logits.argmax(1) == labels).sum())


@torch.no_grad()
def stock_accuracy(model: LeNet5, loader: DataLoader[Any]) -> float:
    """Return the accuracy in percent."""
    correct = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in loader)
    return 100 * correct / len(loader.dataset)  # type: ignore[arg-type]  # a Dataset may have no length, this one has


def train_stock(config: Mapping[str, Job], data: DataSet) -> None:
    """Train one configuration; a function trainable of Ray Tune."""
    from ray import tune

    job = config["job"]
    model, optimizer, (train, val, test) = begin_stock(job, data)
    began = time.time()
    for epoch in range(1, job["epochs"] + 1):
        loss_sum, correct = 0.0, 0
        for images, labels in train:
            loss, right = stock_step(model, optimizer, images, labels)
            loss_sum, correct = loss_sum + loss * len(labels), correct + right
        result = {"train_loss": loss_sum / len(data.train_labels), "train_acc": 100 * correct / len(data.train_labels)}
        result["val_acc"] = stock_accuracy(model, val)
        if epoch == job["epochs"]:
            result["test_acc"] = stock_accuracy(model, test)
        tune.report({**result, "began": began})


def probe_stock(config: Mapping[str, Job], data: DataSet) -> None:
    """Report the milliseconds of a step of the stock loop."""
    from ray import tune

    model, optimizer, (train, _, _) = begin_stock(config["job"], data)
    began, steps = 0.0, 0
    while steps < PROBE_STEPS:  # several epochs, where the data is small
        for images, labels in train:
            began = time.perf_counter() if steps == PROBE_WARM_UP else began
            stock_step(model, optimizer, images, labels)
            steps += 1
            if steps == PROBE_STEPS:
                break
    tune.report({"ms": 1000 * (time.perf_counter() - began) / (PROBE_STEPS - PROBE_WARM_UP)})
