from __future__ import annotations

import functools
import hashlib
import http.server
import os
import pickle
import random
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainables.small_sources import (
    assert_refused,
    small_images,
    write_archive,
    write_parquet,
)
from trainables.data.dataset import DataSet, load_data, validation_rows
from trainables.data.image_arrays import LabelledImages
from trainables.data.vision import import_torchvision

UNREACHABLE = "http://127.0.0.1:9/cifar-100-python.tar.gz"


def assert_holds(data: DataSet, images: LabelledImages) -> None:
    """``data`` is ``images``, split."""
    rows = validation_rows(images.train_labels, 0.1)
    np.testing.assert_array_equal(data.val_images, images.train_images[rows])
    np.testing.assert_array_equal(data.val_labels, images.train_labels[rows])
    np.testing.assert_array_equal(data.train_images, np.delete(images.train_images, rows, axis=0))
    np.testing.assert_array_equal(data.train_labels, np.delete(images.train_labels, rows))
    np.testing.assert_array_equal(data.test_images, images.test_images)
    np.testing.assert_array_equal(data.test_labels, images.test_labels)
    assert data.class_names == images.class_names


# --- the real data set


def test_real_data_has_the_published_counts_and_is_stratified(cifar100_dir: Path) -> None:
    """45,000 / 5,000 / 10,000 images; 450 / 50 / 100 a class."""
    data = load_data(str(cifar100_dir))
    for labels, per_class in ((data.train_labels, 450), (data.val_labels, 50), (data.test_labels, 100)):
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(np.bincount(labels), np.full(100, per_class))
    for array, count in ((data.train_images, 45_000), (data.val_images, 5_000), (data.test_images, 10_000)):
        assert array.shape == (count, 32, 32, 3)
        assert array.dtype == np.uint8
        assert array.flags.c_contiguous
    assert data.class_names[0] == "apple"
    assert data.class_names[99] == "worm"
    assert not data.synthetic


def test_real_data_has_the_published_mean_and_sd(cifar100_dir: Path) -> None:
    """Each pixel of the 50,000 is decoded correctly, in the order R, G, B."""
    data = load_data(str(cifar100_dir))
    pixels = np.concatenate([data.train_images, data.val_images]).reshape(-1, 3)
    counts = np.stack([np.bincount(pixels[:, channel], minlength=256) for channel in range(3)])
    grey = np.arange(256) / 255
    mean = counts @ grey / len(pixels)
    sd = np.sqrt(counts @ grey**2 / len(pixels) - mean**2)
    np.testing.assert_allclose(mean, (0.50708, 0.48655, 0.44092), atol=1e-5)
    np.testing.assert_allclose(sd, (0.26733, 0.25644, 0.27615), atol=1e-5)


def test_real_data_from_the_cache_is_the_data_that_was_decoded(cifar100_dir: Path) -> None:
    """The second load has the fingerprint and the pixels of the first."""
    first, second = load_data(str(cifar100_dir)), load_data(str(cifar100_dir))
    assert first.fingerprint == second.fingerprint
    np.testing.assert_array_equal(first.train_images, second.train_images)


# --- the sources


def test_a_parquet_folder_is_read_in_its_order(parquet: Path, images: LabelledImages) -> None:
    """Shards follow one another, pixels and labels stay together; cached or not."""
    for _ in range(2):
        data = load_data(str(parquet))
        assert_holds(data, images)
        assert data.name == str(parquet)


def test_a_parquet_folder_without_names_gets_numbered_classes(parquet: Path) -> None:
    """``labels.json`` is no part of the hub's layout."""
    (parquet / "labels.json").unlink()
    assert load_data(str(parquet)).class_names[7] == "class 07"


def test_an_official_archive_is_read_from_its_folder_or_the_one_above(archive: Path, images: LabelledImages) -> None:
    """Planes become pixels; no cache is needed."""
    inside, above = load_data(str(archive)), load_data(str(archive.parent))
    assert_holds(inside, images)
    assert inside.fingerprint == above.fingerprint


def test_an_archive_pickled_again_by_todays_python_and_numpy_is_read(archive: Path, images: LabelledImages) -> None:
    """numpy 2 pickles its arrays under another module's name."""
    rows = images.train_images.transpose(0, 3, 1, 2).reshape(-1, 3072)
    batch = {"data": np.ascontiguousarray(rows), "fine_labels": images.train_labels.tolist()}
    (archive / "train").write_bytes(pickle.dumps(batch, protocol=4))
    assert_holds(load_data(str(archive)), images)


def test_the_same_pixels_have_one_fingerprint_and_others_another(tmp_path: Path, images: LabelledImages) -> None:
    """The layout does not matter; one pixel, one label or the split does."""
    plain = load_data(str(write_archive(tmp_path / "a", images))).fingerprint
    assert load_data(str(write_parquet(tmp_path / "b", images))).fingerprint == plain
    assert load_data(str(tmp_path / "a"), val_fraction=0.2).fingerprint != plain
    pixels, labels = images.test_images.copy(), images.test_labels.copy()
    pixels[99, 31, 31, 2] ^= 1
    labels[0] = (labels[0] + 1) % 100
    pixel = load_data(str(write_archive(tmp_path / "c", replace(images, test_images=pixels)))).fingerprint
    label = load_data(str(write_archive(tmp_path / "d", replace(images, test_labels=labels)))).fingerprint
    assert len({plain, pixel, label}) == 3


def test_the_names_of_the_classes_are_no_part_of_the_fingerprint(parquet: Path, images: LabelledImages) -> None:
    """Runs on the hub's layout compare with those on a folder that has ``labels.json`` beside it, cached or not."""
    named = load_data(str(parquet))
    (parquet / "labels.json").unlink()
    unnamed = load_data(str(parquet))
    assert (named.class_names[7], unnamed.class_names[7]) == ("name 7", "class 07")
    assert named.fingerprint == unnamed.fingerprint == load_data(str(parquet)).fingerprint


# --- the split


@given(
    counts=st.lists(st.integers(0, 60), min_size=1, max_size=12),
    val_fraction=st.floats(0.01, 0.99),
    order=st.randoms(use_true_random=False),
)
def test_each_class_gives_its_rounded_share(counts: list[int], val_fraction: float, order: random.Random) -> None:
    """Whatever the counts, the fraction and the order of the rows."""
    listed = [label for label, count in enumerate(counts) for _ in range(count)]
    order.shuffle(listed)
    labels = np.array(listed, dtype=np.int64)
    rows = validation_rows(labels, val_fraction)
    assert len(set(rows.tolist())) == len(rows)
    assert (np.diff(rows) > 0).all()
    for label, count in enumerate(counts):
        assert (labels[rows] == label).sum() == round(val_fraction * count)


def test_the_split_is_the_same_in_every_call() -> None:
    """It depends on labels and fraction only, and is no mere head of each class."""
    labels = small_images().train_labels
    first = validation_rows(labels, 0.1)
    np.testing.assert_array_equal(first, validation_rows(labels, 0.1))
    heads = [np.flatnonzero(labels == label)[0] for label in range(100)]
    assert set(heads) != set(first.tolist())


# --- downloads, against a real server on this machine


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: LabelledImages) -> Iterator[Any]:
    """torchvision's CIFAR100, its address and sums replaced by those of a small archive that is really served."""
    site = tmp_path / "site"
    folder = write_archive(site, images)
    tarball = site / "cifar-100-python.tar.gz"
    with tarfile.open(tarball, "w:gz") as tar:
        tar.add(folder, folder.name)

    def md5(file: Path) -> str:
        return hashlib.md5(file.read_bytes()).hexdigest()

    cifar100 = import_torchvision("datasets").CIFAR100
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(QuietHandler, directory=os.fspath(site))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(cifar100, "url", f"http://127.0.0.1:{server.server_port}/{tarball.name}")
    monkeypatch.setattr(cifar100, "tgz_md5", md5(tarball))
    monkeypatch.setattr(cifar100, "train_list", [["train", md5(folder / "train")]])
    monkeypatch.setattr(cifar100, "test_list", [["test", md5(folder / "test")]])
    monkeypatch.setattr(cifar100, "meta", {"filename": "meta", "key": "fine_label_names", "md5": md5(folder / "meta")})
    try:
        yield cifar100
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_a_download_happens_once(
    official: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: LabelledImages
) -> None:
    """Afterwards no internet is needed, and nothing but the entry is left."""
    first = load_data("cifar100", cache_dir=tmp_path / "cache")
    monkeypatch.setattr(official, "url", UNREACHABLE)
    second = load_data("cifar100", cache_dir=tmp_path / "cache")
    assert_holds(second, images)
    assert second.name == "cifar100"
    assert first.fingerprint == second.fingerprint
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_download_with_another_sum_is_refused(official: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And nothing of it is kept."""
    monkeypatch.setattr(official, "tgz_md5", "0" * 32)
    assert_refused("cifar100", official.url, "corrupted", cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_no_internet_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the address, and what to give in its place."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(import_torchvision("datasets").CIFAR100, "url", UNREACHABLE)
    assert_refused("cifar100", UNREACHABLE, "folder with cifar-100-python/", cache_dir=tmp_path / "cache")
