"""Activation maps against LeNet-5 as a module, against the stacked form, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces.errors import DataError, UnknownNameError
from tests.trainables.small_runs import CPU, make_run, tiny_data
from trainables.analyses.feature_maps import LAYERS, feature_maps, member_parameters
from trainables.data.augmentation import MEAN, STD
from trainables.models.lenet import LeNet5, initial_parameters, stacked_logits
from trainables.training.pack import Pack

IMAGES = tiny_data().test_images[:5]
WEIGHTS = initial_parameters(3, torch.float64)


def normalised() -> Tensor:
    """The images as torchvision's ToTensor and Normalize would make them."""
    scaled = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (MEAN, STD))
    return (scaled - mean) / std


def test_convolutions_are_what_hooks_on_the_module_see():
    model = LeNet5().double()
    model.load_state_dict(WEIGHTS)
    seen: dict[str, Tensor] = {}
    for name in ("conv1", "conv2"):
        model.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: seen.update({name: output}))
    logits = model(normalised())
    found = feature_maps(WEIGHTS, IMAGES)
    for name, output in seen.items():
        np.testing.assert_allclose(found.maps[name], output.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(found.probabilities, F.softmax(logits, 1).detach().numpy(), atol=1e-12)


def test_relu_and_pool_are_maxima_of_what_comes_before():
    maps = feature_maps(WEIGHTS, IMAGES).maps
    for number in "12":
        conv, relu, pool = (maps[f"{kind}{number}"] for kind in ("conv", "relu", "pool"))
        np.testing.assert_array_equal(relu, np.where(conv > 0, conv, 0))
        n, channels, side, _ = relu.shape
        blocks = relu.reshape(n, channels, side // 2, 2, side // 2, 2)
        np.testing.assert_array_equal(pool, blocks.max(axis=(3, 5)))


def test_looking_at_maps_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    feature_maps(WEIGHTS, IMAGES)
    assert torch.equal(torch.get_rng_state(), before)


def test_probabilities_are_those_of_the_stacked_form_that_trained():
    stacked = {name: torch.stack([parameter, parameter * 2]) for name, parameter in WEIGHTS.items()}
    logits = stacked_logits(stacked, normalised())
    for k, factor in enumerate((1, 2)):
        own = {name: parameter * factor for name, parameter in WEIGHTS.items()}
        expected = F.softmax(logits[k], 1).numpy()
        np.testing.assert_allclose(feature_maps(own, IMAGES).probabilities, expected, atol=1e-12)


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_maps_have_the_shapes_of_lenet_and_the_type_of_the_weights(count: int, dtype: torch.dtype):
    found = feature_maps(initial_parameters(0, dtype), IMAGES[:count])
    shapes = [(6, 28, 28), (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 10, 10), (16, 5, 5)]
    assert list(found.maps) == list(LAYERS)
    assert [values.shape for values in found.maps.values()] == [(count, *shape) for shape in shapes]
    expected = str(dtype).removeprefix("torch.")
    assert {str(values.dtype) for values in (*found.maps.values(), found.probabilities)} == {expected}
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-6)


def test_read_only_images_are_accepted():
    frozen = IMAGES.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(
        feature_maps(WEIGHTS, frozen).maps["pool2"], feature_maps(WEIGHTS, IMAGES).maps["pool2"]
    )


def test_images_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"activations: images are float64 \[5, 32, 32, 3\]; expected uint8"):
        feature_maps(WEIGHTS, IMAGES / 255)


def test_a_run_is_found_in_its_pack_s_state():
    runs = [make_run(seed=seed, lr=0.1) for seed in (4, 7)]
    state = Pack(runs, 10, CPU).state_dict()
    found = member_parameters(state, runs[1].run_id)
    expected = initial_parameters(7, torch.float32)
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_error_for_a_run_of_another_pack_lists_the_members():
    runs = [make_run(seed=seed, lr=0.1) for seed in (4, 7)]
    state = Pack(runs[:1], 10, CPU).state_dict()
    with pytest.raises(UnknownNameError, match=f"checkpoint: unknown run '{runs[1].run_id}'.*{runs[0].run_id}"):
        member_parameters(state, runs[1].run_id)
