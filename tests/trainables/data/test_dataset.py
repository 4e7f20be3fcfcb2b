from __future__ import annotations

import functools
import hashlib
import http.server
import os
import pickle
import random
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.errors import DataError
from tests.trainables.small_sources import NAMES, png, small_images, write_archive, write_parquet, write_shard
from trainables.data.dataset import DataSet, load_data, validation_rows
from trainables.data.image_arrays import LabelledImages
from trainables.data.vision import import_torchvision

UNREACHABLE = "http://127.0.0.1:9/cifar-100-python.tar.gz"

TRAIN_1 = "train-00001-of-00002.parquet"
TEST_FILE = "test-00000-of-00001.parquet"
TEST_ROW = f"{TEST_FILE}, row 2"
GOOD = png(np.zeros((32, 32, 3), np.uint8))
ONE_IMAGE = np.zeros((1, 3072), np.uint8)


@pytest.fixture(scope="module")
def images() -> LabelledImages:
    return small_images()


@pytest.fixture
def parquet(tmp_path: Path, images: LabelledImages) -> Path:
    return write_parquet(tmp_path / "parquet", images)


@pytest.fixture
def archive(tmp_path: Path, images: LabelledImages) -> Path:
    return write_archive(tmp_path, images)


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
    """Each pixel of the 50,000 is decoded rightly, in the order R, G, B."""
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


def test_a_parquet_folder_is_read_in_its_own_order(parquet: Path, images: LabelledImages) -> None:
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


def test_no_internet_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the address, and what to give in its place."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(import_torchvision("datasets").CIFAR100, "url", UNREACHABLE)
    assert_refused("cifar100", UNREACHABLE, "folder with cifar-100-python/", cache_dir=tmp_path / "cache")


# --- what a user can get wrong


def assert_refused(source: str, *said: str, **options: Any) -> None:
    """One line that holds all that is to be ``said``."""
    with pytest.raises(DataError) as caught:
        load_data(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    for text in said:
        assert text in message


@pytest.mark.parametrize("source", ["cifar10", "/no/such/folder", ""])
def test_an_unknown_source_is_answered_with_the_known_ones(source: str) -> None:
    """A name with a typo, a folder that is not there, nothing at all."""
    assert_refused(source, repr(source), "'cifar100'", "'synthetic'", "Parquet")


def test_a_folder_without_data_is_answered_with_what_it_should_hold(tmp_path: Path) -> None:
    """An existing folder, but another one."""
    assert_refused(str(tmp_path), str(tmp_path), "train-*.parquet", "cifar-100-python/")


@pytest.mark.parametrize("val_fraction", [0.0, 1.0, -0.1, 10.0, float("nan")])
def test_a_val_fraction_outside_0_and_1_is_refused(val_fraction: float) -> None:
    """Ten per cent is 0.1, not 10."""
    assert_refused("synthetic", "val_fraction", "0.1", val_fraction=val_fraction)


@pytest.mark.parametrize("val_fraction", [0.1, 0.9])
def test_a_split_that_leaves_a_part_empty_is_refused(val_fraction: float) -> None:
    """One image a class goes to one side only."""
    assert_refused("synthetic:n_train=100", "n_train=100", "fraction", val_fraction=val_fraction)


def drop_column(folder: Path) -> None:
    file = folder / TRAIN_1
    pq.write_table(pq.read_table(file).drop_columns(["fine_label"]), file)


def flatten_column(folder: Path) -> None:
    file = folder / TRAIN_1
    table = pq.read_table(file)
    pq.write_table(table.set_column(0, "img", table.column("img").combine_chunks().field("bytes")), file)


def truncate_shard(folder: Path) -> None:
    file = folder / TRAIN_1
    file.write_bytes(file.read_bytes()[:-100])


def damage_pages(folder: Path) -> None:
    file = folder / TRAIN_1
    content = bytearray(file.read_bytes())
    content[4:2000] = bytes(1996)
    file.write_bytes(content)


def remove_shard(folder: Path) -> None:
    (folder / TRAIN_1).unlink()


def remove_test_part(folder: Path) -> None:
    (folder / TEST_FILE).unlink()


def empty_test_part(folder: Path) -> None:
    write_shard(folder / TEST_FILE, [], [])


def replace_test_row(content: bytes | None, label: int | None) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        write_shard(folder / TEST_FILE, [GOOD, GOOD, content], [0, 0, label])

    return damage


def shorten_names(folder: Path) -> None:
    (folder / "labels.json").write_text('{"fine_label": ["apple"]}')


def tear_names(folder: Path) -> None:
    (folder / "labels.json").write_text('{"fine_label": [\n"apple"')


@pytest.mark.parametrize(
    ("damage", "where", "hint"),
    [
        (drop_column, TRAIN_1, "no column 'fine_label' (it has img, coarse_label)"),
        (flatten_column, TRAIN_1, "expected a struct with a field 'bytes'"),
        (truncate_shard, TRAIN_1, "copy it again"),
        (damage_pages, TRAIN_1, "copy it again"),
        (remove_shard, "parquet", "train shard 1 is missing"),
        (remove_test_part, "parquet", "no test-*-of-*.parquet"),
        (empty_test_part, "parquet", "hold no rows"),
        (replace_test_row(png(np.zeros((28, 32, 3), np.uint8)), 0), TEST_ROW, "is 32×28 RGB; expected 32×32 RGB"),
        (replace_test_row(png(np.zeros((32, 32), np.uint8)), 0), TEST_ROW, "is 32×32 L; expected 32×32 RGB"),
        (replace_test_row(GOOD[:60], 0), TEST_ROW, "not a readable PNG"),
        (replace_test_row(b"GIF89a", 0), TEST_ROW, "not a readable PNG"),
        (replace_test_row(None, 0), TEST_ROW, "the image is empty"),
        (replace_test_row(GOOD, 100), TEST_FILE, "label 100 in row 2 is out of range; expected 0 to"),
        (replace_test_row(GOOD, -1), TEST_FILE, "label -1 in row 2 is out of range; expected 0 to"),
        (replace_test_row(GOOD, None), TEST_FILE, "empty rows; expected 0 to 99"),
        (shorten_names, "labels.json", "expected a list of 100 class names"),
        (tear_names, "labels.json", "copy it again"),
    ],
)
def test_a_torn_parquet_folder_is_refused(parquet: Path, damage: Callable[[Path], None], where: str, hint: str) -> None:
    """With the file, what is wrong with it, and what would be right."""
    damage(parquet)
    assert_refused(str(parquet), str(parquet), where, hint)


class Bomb:
    """Creates a file when it is unpickled carelessly."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (os.fspath(self.target),)


def test_a_malicious_pickle_does_not_run(archive: Path, tmp_path: Path) -> None:
    """A data folder may come from anywhere."""
    target = tmp_path / "was-here"
    (archive / "train").write_bytes(pickle.dumps({"data": Bomb(target), "fine_labels": []}))
    assert_refused(str(archive), str(archive / "train"), "refers to posix.mkdir", "again")
    assert not target.exists()


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("train", b"", "again"),
        ("test", b"\x80\x02}S'data'\n", "again"),
        ("test", pickle.dumps([1, 2]), "no 'data'"),
        ("test", pickle.dumps({"data": [1], "fine_labels": [1]}), "expected [N, 3072]"),
        ("test", pickle.dumps({"data": ONE_IMAGE}), "no 'fine_labels'"),
        ("test", pickle.dumps({"data": np.zeros((1, 3072)), "fine_labels": [1]}), "expected uint8"),
        ("test", pickle.dumps({"data": ONE_IMAGE, "fine_labels": [1, 2]}), "expected one integer"),
        ("test", pickle.dumps({"data": ONE_IMAGE, "fine_labels": [[1], []]}), "expected one integer"),
        ("test", pickle.dumps({"data": ONE_IMAGE, "fine_labels": [100]}), "expected 0 to 99"),
        ("meta", pickle.dumps({"fine_label_names": NAMES[:20]}), "100 class names"),
    ],
)
def test_a_torn_archive_is_refused(archive: Path, name: str, content: bytes, hint: str) -> None:
    """With the file, what is wrong with it, and what would be right."""
    (archive / name).write_bytes(content)
    assert_refused(str(archive), str(archive / name), hint)


def test_an_incomplete_archive_is_refused(archive: Path) -> None:
    """With the file that is missing."""
    (archive / "test").unlink()
    assert_refused(str(archive), str(archive / "test"), "missing")
