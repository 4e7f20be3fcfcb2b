"""An 8-layer residual network without normalisation: 83,559 parameters for 100 classes.

He et al., *Identity Mappings in Deep Residual Networks* (2016), for the order of ReLU and convolution. SkipInit (De and
Smith, *Batch Normalization Biases Residual Blocks Towards the Identity Function in Deep Networks*, 2020) takes the
place of batch normalisation: each residual branch is multiplied by a parameter that starts at 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = (16, 32, 64)
"""Channels of the three blocks; the second and third halve the sides of the maps."""


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, whose result is scaled and added to the input, or to its 1×1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.scale = nn.Parameter(torch.zeros(1))
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps ``[B, outputs, H, W]`` of ``x`` ``[B, inputs, H or 2H, W or 2W]``."""
        branch = self.conv2(F.relu(self.conv1(F.relu(x))))
        result: Tensor = self.shortcut(x) + self.scale * branch
        return result


class ResNet8NoNorm(nn.Module):
    """One convolution, three residual blocks, the mean over the maps, dropout, and a dense layer."""

    def __init__(self, classes: int, dropout: float = 0.3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS[0], 3, padding=1)
        self.blocks = nn.Sequential(
            *(ResidualBlock(*pair) for pair in zip((CHANNELS[0], *CHANNELS), CHANNELS, strict=False))
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(CHANNELS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # He et al., Delving Deep into Rectifiers (2015)
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``[B, C]`` of ``images`` ``[B, 3, 32, 32]``."""
        maps = F.relu(self.blocks(self.conv(images)))
        logits: Tensor = self.fc(self.dropout(maps.mean((2, 3))))
        return logits
