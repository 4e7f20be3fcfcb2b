"""The feature maps of one LeNet-5 for given images: after its convolutions, ReLUs and pools."""

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
from trainables.models.lenet import LeNet5

LAYERS = ("conv1", "relu1", "pool1", "conv2", "relu2", "pool2")
"""The layers that have feature maps, in the order of the forward pass."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class FeatureMaps:
    """The feature maps and probabilities of one model for N images, in evaluation mode, in the type of its weights.

    ``maps`` holds ``[N, C, H, W]`` for each of :data:`LAYERS`: 6×28×28 after conv1 and relu1, 6×14×14 after pool1,
    16×10×10 after conv2 and relu2, 16×5×5 after pool2. ``probabilities`` are ``[N, C]``, the softmax of the logits.
    """

    maps: dict[str, Array]
    probabilities: Array


@torch.no_grad()
def feature_maps(parameters: Mapping[str, Tensor], images: Array) -> FeatureMaps:
    """Return the maps of every layer and the class probabilities of ``images``, normalised as in training.

    ``relu1`` and ``relu2`` are the ReLU of a convolution before pooling, as in the study. The forward pass pools
    first, which gives the same values after both.

    Args:
        parameters: those of one model, as ``lenet.SHAPES``.
        images: uint8 ``[N, 32, 32, 3]``.

    Raises:
        DataError: images of another type or shape.
    """
    pixels = torch.from_numpy(np.array(check_images(np.asarray(images), "activations")))  # torch needs a writable copy
    weights = {name: parameter.detach() for name, parameter in parameters.items()}
    values = augmentation.normalise(pixels.to(weights["conv1.weight"].device), weights["conv1.weight"].dtype)
    with torch.device("meta"):  # no weights are drawn, and PyTorch's global generator keeps its state
        model = LeNet5(len(weights["fc3.bias"]))
    model.load_state_dict(weights, assign=True)
    maps = dict(model.stages(values))
    maps |= {f"relu{number}": F.relu(maps[f"conv{number}"]) for number in "12"}
    return FeatureMaps(
        # PyTorch's layout in memory is channels last; the arrays are in C order.
        {layer: np.ascontiguousarray(maps[layer].cpu().numpy()) for layer in LAYERS},
        maps["fc3"].softmax(1).cpu().numpy(),
    )


def member_parameters(state: Mapping[str, Any], run_id: str) -> dict[str, Tensor]:
    """Return the weights of one run, as ``lenet.SHAPES``, from the state in a checkpoint (see ``Pack.state_dict``).

    Raises:
        UnknownNameError: the checkpoint does not hold the run; the message lists its runs.
    """
    for member in state["members"]:
        if member["run_id"] == run_id:
            return dict(member["parameters"])
    raise UnknownNameError("run", run_id, [member["run_id"] for member in state["members"]], "checkpoint")
