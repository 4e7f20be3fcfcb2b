"""Models that a user may bring, for tests of own models; named as ``tests.trainables.own_models:NAME``."""

from __future__ import annotations

import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Small(nn.Module):
    """Two layers with dropout and a constant buffer: it can be packed."""

    def __init__(self, classes: int = 100) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 5, stride=3)
        self.fc = nn.Linear(4 * 10 * 10, classes)
        self.dropout = nn.Dropout(0.2)
        self.register_buffer("shift", torch.full((3, 1, 1), 0.1))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.dropout(F.relu(self.conv(images + self.shift)).flatten(1)))


class Normed(Small):
    """Batch normalisation: its running statistics are state."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.dropout(F.relu(self.norm(self.conv(images))).flatten(1)))


class Branching(Small):
    """Its pass depends on a value, which ``vmap`` cannot do."""

    def forward(self, images: Tensor) -> Tensor:
        out = super().forward(images)
        return out if out.mean().item() > 1e9 else out * 1.5


class Counting(Small):
    """It counts its passes in an attribute, which no checkpoint holds."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.passes = 0

    def forward(self, images: Tensor) -> Tensor:
        self.passes += self.training
        return super().forward(images) * (1 + 0.1 * self.passes)


def with_keywords(**options: int) -> nn.Module:
    return Small(options["num_classes"])


def ten_outputs() -> nn.Module:
    return Small(10)


def frozen(classes: int) -> nn.Module:
    model = Small(classes)
    model.conv.weight.requires_grad_(requires_grad=False)
    return model


def unused(classes: int) -> nn.Module:
    model = Small(classes)
    model.extra = nn.Linear(2, 2)
    return model


def not_finite(classes: int) -> nn.Module:
    model = Small(classes)
    nn.init.constant_(model.fc.weight, float("nan"))
    return model


def no_module(classes: int) -> int:
    return classes


def a_class(classes: int) -> type[nn.Module]:
    return Small


def needs_more(classes: int, depth: int) -> nn.Module:
    return Small(classes * depth)


def raises(classes: int) -> nn.Module:
    raise RuntimeError("no weights\nto be found")


def leaves(classes: int) -> nn.Module:
    sys.exit(0)


class Pair(Small):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        out = super().forward(images)
        return out, out


_GENERATOR = torch.Generator()


def unseeded(classes: int) -> nn.Module:
    model = Small(classes)
    nn.init.normal_(model.fc.weight, std=0.1, generator=_GENERATOR)
    return model


def lazy(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))


def without_parameters(classes: int) -> nn.Module:
    return nn.Flatten()


class Falls(Small):
    def forward(self, images: Tensor) -> Tensor:
        raise ValueError("wrong shape")


PLAIN_VALUE = 3
