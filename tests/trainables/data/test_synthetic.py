from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces.errors import DataError
from trainables.data import augmentation
from trainables.data.dataset import load_data
from trainables.data.synthetic import SyntheticSpec, make_synthetic, parse_synthetic

SMALL = SyntheticSpec(n_train=250, n_test=120, seed=3)


def test_the_same_spec_gives_the_same_bits() -> None:
    """Twice in one process; sizes and seed are all that it depends on."""
    assert make_synthetic(SMALL).digest == make_synthetic(SMALL).digest


def test_another_seed_gives_other_images() -> None:
    """Other pictures, not only other draws from them."""
    first, second = make_synthetic(SMALL), make_synthetic(SyntheticSpec(250, 120, seed=4))
    assert first.digest != second.digest
    mean = [data.train_images[data.train_labels < 5].mean(axis=(0, 1, 2)) for data in (first, second)]
    assert np.abs(mean[0] - mean[1]).max() > 10


def test_the_test_part_does_not_depend_on_the_training_part() -> None:
    """More training images have the same test images."""
    more = make_synthetic(SyntheticSpec(n_train=1500, n_test=120, seed=3))
    np.testing.assert_array_equal(more.test_images, make_synthetic(SMALL).test_images)


@pytest.mark.parametrize("n_train", [1, 100, 250, 2001])
def test_every_class_gets_the_same_count_or_one_more(n_train: int) -> None:
    """And the order is shuffled: ``n_train`` beyond one chunk too."""
    data = make_synthetic(SyntheticSpec(n_train=n_train, n_test=1))
    counts = np.bincount(data.train_labels, minlength=100)
    assert counts.sum() == n_train == len(data.train_images)
    assert counts.max() - counts.min() <= 1
    assert n_train == 1 or (np.diff(data.train_labels) < 0).any()


def test_it_has_the_shape_of_cifar100() -> None:
    """uint8 32×32×3, 100 names, both ends of the grey scale in use, no image twice."""
    data = load_data("synthetic:n_train=1000,n_test=100")
    assert data.synthetic
    assert data.name == "synthetic"
    assert data.train_images.shape == (900, 32, 32, 3)
    assert data.val_images.shape == (100, 32, 32, 3)
    assert data.train_images.dtype == np.uint8
    assert len(set(data.class_names)) == 100
    assert data.train_images.min() == 0
    assert data.train_images.max() == 255
    assert len({image.tobytes() for image in data.train_images}) == 900


def test_lenet_learns_it_and_not_at_once() -> None:
    """After five epochs of Adam: well above chance (1 %), far from solved."""
    data = load_data("synthetic")
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 100)),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    images = augmentation.normalise(torch.from_numpy(data.train_images))
    labels = torch.from_numpy(data.train_labels)
    for _ in range(5):
        for batch in torch.randperm(len(labels)).split(128):
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        guesses = model(augmentation.normalise(torch.from_numpy(data.test_images))).argmax(1)
    accuracy = (guesses == torch.from_numpy(data.test_labels)).float().mean().item()
    assert 0.04 < accuracy < 0.5


def test_options_in_any_order_replace_defaults() -> None:
    """An option that is not given has its default."""
    assert parse_synthetic("synthetic") == SyntheticSpec(n_train=4000, n_test=1000, seed=0)
    assert parse_synthetic("synthetic:seed=7, n_test=50") == SyntheticSpec(n_train=4000, n_test=50, seed=7)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("n_trian=5", "option 'n_trian'; valid: n_train (default 4000), n_test (default 1000), seed (default 0)"),
        ("", "unknown option ''; valid: n_train"),
        ("n_train", "option 'n_train' has no value"),
        ("n_train=0", "n_train = '0'; expected a whole number of at least 1"),
        ("n_test=many", "n_test = 'many'; expected a whole number"),
        ("n_test=²", "n_test = '²'; expected a whole number"),
        ("seed=-1", "seed = '-1'; expected a whole number of at least 0"),
        ("seed=1,seed=2", "option 'seed' is given twice"),
    ],
)
def test_an_invalid_option_is_refused_in_one_line(options: str, said: str) -> None:
    """With the source as it was given, and what would be right."""
    with pytest.raises(DataError) as caught:
        load_data(f"synthetic:{options}")
    message = str(caught.value)
    assert message.startswith(f"data source 'synthetic:{options}': ")
    assert said in message
    assert "\n" not in message
