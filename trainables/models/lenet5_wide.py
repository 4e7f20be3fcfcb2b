"""LeNet-5 with twice the channels and units, as a plain module: 260,172 parameters for 100 classes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.models.lenet import FEATURES, HIDDEN

WIDTH = 2


class WideLeNet5(nn.Module):
    """The layers of LeNet-5 (``lenet.py``), each ``WIDTH`` times as wide."""

    def __init__(self, classes: int, dropout: float = 0.3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6 * WIDTH, 5)
        self.conv2 = nn.Conv2d(6 * WIDTH, 16 * WIDTH, 5)
        self.fc1 = nn.Linear(FEATURES * WIDTH, HIDDEN[0] * WIDTH)
        self.fc2 = nn.Linear(HIDDEN[0] * WIDTH, HIDDEN[1] * WIDTH)
        self.fc3 = nn.Linear(HIDDEN[1] * WIDTH, classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``[B, C]`` of ``images`` ``[B, 3, 32, 32]``."""
        x = F.relu(F.max_pool2d(self.conv1(images), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2)).flatten(1)
        x = self.dropout(F.relu(self.fc1(x)))
        x = self.dropout(F.relu(self.fc2(x)))
        logits: Tensor = self.fc3(x)
        return logits
