"""What each layer of one LeNet-5 makes of given images: the maps of its convolutions, ReLUs and pools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces.errors import UnknownNameError
from trainables.data import augmentation
from trainables.data.image_arrays import check_images

LAYERS = ("conv1", "relu1", "pool1", "conv2", "relu2", "pool2")
"""The layers that have maps, in the order of the forward pass."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class FeatureMaps:
    """What one model makes of N images, in evaluation mode and in the type of its weights.

    ``maps`` holds ``[N, C, H, W]`` for each of :data:`LAYERS`: 6×28×28 after conv1 and relu1, 6×14×14 after pool1,
    16×10×10 after conv2 and relu2, 16×5×5 after pool2. ``probabilities`` are ``[N, 100]``, the softmax of the logits.
    """

    maps: dict[str, Array]
    probabilities: Array


@torch.no_grad()
def feature_maps(parameters: Mapping[str, Tensor], images: Array) -> FeatureMaps:
    """Return the maps of every layer, and the class probabilities, of ``images``, normalised as in training.

    ReLU comes before pooling here, as in the study; training pools first, which gives the same values.

    Args:
        parameters: one model's, as ``lenet.SHAPES``.
        images: uint8 ``[N, 32, 32, 3]``.

    Raises:
        DataError: images of another type or shape.
    """
    pixels = torch.from_numpy(np.array(check_images(np.asarray(images), "activations")))  # a copy: torch wants to write
    weights = {name: parameter.detach() for name, parameter in parameters.items()}
    values = augmentation.normalise(pixels.to(weights["conv1.weight"].device), weights["conv1.weight"].dtype)
    maps = {}
    for number in "12":
        values = F.conv2d(values, weights[f"conv{number}.weight"], weights[f"conv{number}.bias"])
        maps[f"conv{number}"] = values
        values = F.relu(values)
        maps[f"relu{number}"] = values
        values = F.max_pool2d(values, 2)
        maps[f"pool{number}"] = values
    values = values.flatten(1)
    for layer in ("fc1", "fc2"):
        values = F.relu(F.linear(values, weights[f"{layer}.weight"], weights[f"{layer}.bias"]))
    logits = F.linear(values, weights["fc3.weight"], weights["fc3.bias"])
    return FeatureMaps(
        # The layout in memory is torch's own (channels last); whoever reads the arrays gets them in C order.
        {layer: np.ascontiguousarray(maps[layer].cpu().numpy()) for layer in LAYERS},
        logits.softmax(1).cpu().numpy(),
    )


def member_parameters(state: Mapping[str, Any], run_id: str) -> dict[str, Tensor]:
    """Return the weights of one run, as ``lenet.SHAPES``, from a checkpoint's state (see ``Pack.state_dict``).

    Raises:
        UnknownNameError: the run is not in that checkpoint; the line lists those that are.
    """
    for member in state["members"]:
        if member["run_id"] == run_id:
            return dict(member["parameters"])
    raise UnknownNameError("run", run_id, [member["run_id"] for member in state["members"]], "checkpoint")
