"""Each format of a data folder, written by this test, gives the images that were written."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainables.own_sources import (
    cifar10_binary,
    cifar10_pickles,
    cifar100_binary,
    parts_of,
    planes,
    ten_classes,
    write_class_folders,
    write_columns,
    write_fashion,
    write_files,
    write_hub,
    write_svhn,
    write_tar,
)
from tests.trainables.small_sources import assert_refused, png, small_images
from trainables.data.dataset import DataSet, load_data, validation_rows
from trainables.data.image_arrays import LabelledImages, count_repeats
from trainables.data.vision import import_torchvision


@pytest.fixture(scope="module")
def images() -> LabelledImages:
    return ten_classes()


def assert_holds(data: DataSet, images: LabelledImages, title: str) -> None:
    rows = validation_rows(images.train_labels, 0.1)
    np.testing.assert_array_equal(data.val_images, images.train_images[rows])
    np.testing.assert_array_equal(data.train_images, np.delete(images.train_images, rows, axis=0))
    np.testing.assert_array_equal(data.train_labels, np.delete(images.train_labels, rows))
    np.testing.assert_array_equal(data.test_images, images.test_images)
    np.testing.assert_array_equal(data.test_labels, images.test_labels)
    assert data.class_names == images.class_names
    assert data.classes == len(images.class_names)
    assert data.title == title
    assert data.notes[0].startswith(f"{title}: ")
    assert data.notes[0].endswith(f"{data.classes} classes")


HASH = "a1b2c3d4e5f6a7b8"
LAYOUTS = {
    "a hash": {part: f"{part}-00000-of-00001-{HASH}.parquet" for part in ("train", "test")},
    "one file": {part: f"{part}.parquet" for part in ("train", "test")},
    "converted": {part: f"{part}/0000.parquet" for part in ("train", "test")},
    "a sub-folder": {part: f"plain_text/{part}-00000-of-00001.parquet" for part in ("train", "test")},
    "converted, in a sub-folder": {part: f"default/{part}/0000.parquet" for part in ("train", "test")},
}


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_parquet_is_read_in_the_layouts_of_the_hub(
    tmp_path: Path, images: LabelledImages, files: dict[str, str]
) -> None:
    """Names of files, ``image`` and ``label`` columns, and the names of the classes in the metadata; also cached."""
    folder = write_hub(tmp_path / "mine", images, files)
    for _ in range(2):
        data = load_data(str(folder))
        assert_holds(data, images, "mine")
        assert "columns 'image' and 'label'" in data.notes[0]


def test_other_parts_of_a_hubs_folder_are_named_and_not_read(tmp_path: Path, images: LabelledImages) -> None:
    """A validation part is not a test part."""
    folder = write_hub(tmp_path / "mine", images, LAYOUTS["a hash"])
    write_columns(folder / "extra-00000-of-00001.parquet", {"image": [b"no image"], "label": [0]})
    data = load_data(str(folder))
    assert data.notes[1:] == ("not read: extra-00000-of-00001.parquet",)
    (folder / LAYOUTS["a hash"]["test"]).rename(folder / "validation-00000-of-00001.parquet")
    assert_refused(str(folder), "no test-*-of-*.parquet", "validation-00000-of-00001.parquet")


def test_classes_without_names_are_numbered(tmp_path: Path, images: LabelledImages) -> None:
    folder = write_hub(tmp_path / "mine", images, LAYOUTS["one file"], names=False)
    assert load_data(str(folder)).class_names == tuple(f"class {label}" for label in range(10))


def test_the_labels_of_a_parquet_folder_can_be_chosen(tmp_path: Path) -> None:
    """Fine is the default; another choice is another data set, with its own number of classes and cache entry."""
    images = small_images(2)
    for part, (pixels, labels) in parts_of(images).items():
        columns = {
            "img": [png(one) for one in pixels],
            "fine_label": labels.tolist(),
            "coarse_label": (labels // 5).tolist(),
        }
        write_columns(tmp_path / f"{part}.parquet", columns)
    fine, coarse = (load_data(str(tmp_path), labels=labels, val_fraction=0.5) for labels in ("", "coarse"))
    assert (fine.title, fine.classes) == ("CIFAR-100", 100)
    assert (coarse.title, coarse.classes) == ("CIFAR-100 (coarse labels)", 20)
    np.testing.assert_array_equal(np.sort(coarse.test_labels), np.repeat(np.arange(20), 5))
    assert fine.fingerprint != coarse.fingerprint
    assert load_data(str(tmp_path), labels="fine", val_fraction=0.5).fingerprint == fine.fingerprint
    assert load_data(str(tmp_path), labels="coarse_label", val_fraction=0.5).fingerprint == coarse.fingerprint
    assert_refused(str(tmp_path), "labels = 'colour'", "fine_label, coarse_label", labels="colour")


def test_a_column_of_cifar100_alone_makes_no_cifar100(tmp_path: Path) -> None:
    """Own images with ``fine_label``: the title is the name of the folder, and the classes are counted."""
    images = ten_classes(classes=4)
    for part, (pixels, labels) in parts_of(images).items():
        write_columns(tmp_path / "mine" / f"{part}.parquet", {"img": [*map(png, pixels)], "fine_label": [*labels]})
    numbered = replace(images, class_names=tuple(f"class {label}" for label in range(4)))
    assert_holds(load_data(str(tmp_path / "mine")), numbered, "mine")


def test_class_folders_are_read_in_the_order_of_their_names(tmp_path: Path, images: LabelledImages) -> None:
    folder = write_class_folders(tmp_path / "birds", images)
    for _ in range(2):
        assert_holds(load_data(str(folder)), images, "birds")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("as_bytes", [False, True])
def test_pickles_of_every_protocol_are_read(
    tmp_path: Path, images: LabelledImages, protocol: int, as_bytes: bool
) -> None:
    """Also where the keys are bytes: the file was read with ``encoding="bytes"`` and written again."""
    write_files(tmp_path / "cifar-10-batches-py", cifar10_pickles(images, protocol, as_bytes))
    assert_holds(load_data(str(tmp_path)), images, "CIFAR-10")


def test_the_binary_version_is_read(tmp_path: Path, images: LabelledImages) -> None:
    write_files(tmp_path / "cifar-10-batches-bin", cifar10_binary(images))
    assert_holds(load_data(str(tmp_path)), images, "CIFAR-10")


@pytest.mark.parametrize("labels", ["fine", "coarse"])
def test_the_binary_version_of_cifar_100_has_both_labels(tmp_path: Path, labels: str) -> None:
    images = small_images(2)
    coarse = {part: found // 5 for part, (_, found) in parts_of(images).items()}
    write_files(tmp_path / "cifar-100-binary", cifar100_binary(images, coarse))
    data = load_data(str(tmp_path), labels=labels, val_fraction=0.5)
    expected = images.test_labels if labels == "fine" else coarse["test"]
    np.testing.assert_array_equal(data.test_labels, expected)
    np.testing.assert_array_equal(data.test_images, images.test_images)
    assert data.classes == (100 if labels == "fine" else 20)


@pytest.mark.parametrize(
    ("file", "folder", "content"),
    [
        ("cifar-10-python.tar.gz", "cifar-10-batches-py", cifar10_pickles),
        ("cifar-10-binary.tar.gz", "cifar-10-batches-bin", cifar10_binary),
    ],
)
def test_an_archive_is_read_without_being_extracted(
    tmp_path: Path, images: LabelledImages, file: str, folder: str, content: object
) -> None:
    write_tar(tmp_path / file, folder, content(images))  # type: ignore[operator]
    assert_holds(load_data(str(tmp_path)), images, "CIFAR-10")
    assert [path.name for path in tmp_path.iterdir()] == [file]


def test_fashion_mnist_gets_a_margin_and_three_channels(tmp_path: Path) -> None:
    """28×28 grey in the middle of 32×32, equal in the three channels; both are noted."""
    rng = np.random.default_rng(1)
    labels = {"train": np.repeat(np.arange(10), 10), "t10k": np.arange(10)}
    pixels = {part: rng.integers(0, 256, (len(one), 28, 28), dtype=np.uint8) for part, one in labels.items()}
    folder = write_fashion(tmp_path / "data", pixels, labels)
    data = load_data(str(folder))
    assert (data.title, data.classes, data.class_names[9]) == ("Fashion-MNIST", 10, "Ankle boot")
    for channel in range(3):
        np.testing.assert_array_equal(data.test_images[:, 2:30, 2:30, channel], pixels["t10k"])
    assert data.test_images[:, :2].max() == data.test_images[:, :, 30:].max() == 0
    assert data.notes[1:] == (
        "all images grey, repeated to three channels", "all images 28×28, with a black margin to 32×32",
    )  # fmt: skip
    theirs = import_torchvision("datasets").FashionMNIST(str(folder), train=False)
    np.testing.assert_array_equal(theirs.data.numpy(), pixels["t10k"])
    assert data.class_names == tuple(theirs.classes)


def test_svhn_is_read_as_torchvision_reads_it(tmp_path: Path, images: LabelledImages) -> None:
    """A zero is stored as 10."""
    digits = replace(images, class_names=tuple("0123456789"))
    assert_holds(load_data(str(write_svhn(tmp_path / "svhn", digits))), digits, "SVHN")


def test_grey_images_are_repeated_with_a_note(tmp_path: Path, images: LabelledImages) -> None:
    folder = write_class_folders(tmp_path / "mine", images)
    grey = images.train_images[0, :, :, 0]
    (folder / "train" / images.class_names[0] / "000.png").write_bytes(png(grey))
    data = load_data(str(folder))
    assert "1 of 120 images grey, repeated to three channels" in data.notes
    assert any((one == np.repeat(grey[:, :, None], 3, axis=2)).all() for one in [*data.train_images, *data.val_images])


def test_test_images_that_are_trained_on_are_reported(tmp_path: Path, images: LabelledImages) -> None:
    """Pixel by pixel; one different pixel is another image."""
    test = images.test_images.copy()
    test[:3] = images.train_images[5:8]
    test[2, 31, 31, 2] ^= 1
    assert count_repeats(images.train_images, test) == 2
    write_files(tmp_path / "cifar-10-batches-py", cifar10_pickles(replace(images, test_images=test)))
    assert "2 of 20 test images are also training images" in load_data(str(tmp_path)).notes


def test_a_folder_with_two_data_sets_is_refused(tmp_path: Path, images: LabelledImages) -> None:
    """The folder does not determine which one to read."""
    write_files(tmp_path / "cifar-10-batches-py", cifar10_pickles(images))
    (tmp_path / "cifar-100-python").mkdir()
    assert_refused(str(tmp_path), "CIFAR-10 and CIFAR-100", "name the folder")
    for name in ("cropped_digits", "full_numbers"):
        write_columns(tmp_path / "hub" / name / "train.parquet", {"label": [1]})
    assert_refused(str(tmp_path / "hub"), "cropped_digits, full_numbers", "name one")


def test_data_in_another_layout_are_named_and_not_read(tmp_path: Path, images: LabelledImages) -> None:
    """Parquet files have priority over an archive."""
    folder = write_hub(tmp_path / "mine", images, LAYOUTS["one file"])
    write_files(folder / "cifar-10-batches-py", cifar10_pickles(ten_classes(5)))
    data = load_data(str(folder))
    assert_holds(data, images, "mine")
    assert "not read: CIFAR-10 (Python version in cifar-10-batches-py/)" in data.notes


def test_planes_are_red_green_blue(images: LabelledImages) -> None:
    """The first 1,024 bytes of a row are the red channel."""
    np.testing.assert_array_equal(planes(images.test_images)[0, :1024], images.test_images[0, :, :, 0].reshape(-1))
