"""Data that cannot be used: each mistake or damage is one line that names the place."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.trainables.small_sources import (
    NAMES,
    assert_refused,
    png,
    write_shard,
)

TRAIN_1 = "train-00001-of-00002.parquet"
TEST_FILE = "test-00000-of-00001.parquet"
TEST_ROW = f"{TEST_FILE}, row 2"
GOOD = png(np.zeros((32, 32, 3), np.uint8))
ONE_IMAGE = np.zeros((1, 3072), np.uint8)


@pytest.mark.parametrize("source", ["cifar11", "/no/such/folder", ""])
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
    ("damage", "where", "remedy"),
    [
        (drop_column, TRAIN_1, "no column 'fine_label' (it has img, coarse_label)"),
        (flatten_column, TRAIN_1, "expected a struct with a field 'bytes'"),
        (truncate_shard, TRAIN_1, "copy it again"),
        (damage_pages, TRAIN_1, "copy it again"),
        (remove_shard, "parquet", "train shard 1 is missing"),
        (remove_test_part, "parquet", "no test-*-of-*.parquet"),
        (empty_test_part, "parquet", "hold no rows"),
        (replace_test_row(png(np.zeros((28, 32, 3), np.uint8)), 0), TEST_ROW, "is 32×28 RGB; expected 32×32 RGB"),
        (replace_test_row(png(np.zeros((32, 32, 4), np.uint8)), 0), TEST_ROW, "is 32×32 RGBA; expected 32×32 RGB"),
        (replace_test_row(png(np.zeros((32, 32), np.uint16)), 0), TEST_ROW, "is 32×32 I;16; expected 32×32 RGB"),
        (replace_test_row(GOOD[:60], 0), TEST_ROW, "not a readable PNG"),
        (replace_test_row(b"GIF89a", 0), TEST_ROW, "not a readable PNG"),
        (replace_test_row(None, 0), TEST_ROW, "the image is empty"),
        (replace_test_row(GOOD, 100), TEST_FILE, "label 100 in row 2 is out of range; expected 0 to"),
        (replace_test_row(GOOD, -1), TEST_FILE, "label -1 in row 2 is out of range; expected 0 to"),
        (replace_test_row(GOOD, None), TEST_FILE, "empty rows; expected a class"),
        (shorten_names, "labels.json", "expected a list of 100 class names"),
        (tear_names, "labels.json", "copy it again"),
    ],
)
def test_a_damaged_parquet_folder_is_refused(
    parquet: Path, damage: Callable[[Path], None], where: str, remedy: str
) -> None:
    """With the file, what is wrong with it, and what would be right."""
    damage(parquet)
    assert_refused(str(parquet), str(parquet), where, remedy)


class Bomb:
    """Creates a file when it is unpickled without checks."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (os.fspath(self.target),)


def test_a_malicious_pickle_does_not_run(archive: Path, tmp_path: Path) -> None:
    """A data folder may come from another person."""
    target = tmp_path / "was-here"
    (archive / "train").write_bytes(pickle.dumps({"data": Bomb(target), "fine_labels": []}))
    assert_refused(str(archive), str(archive / "train"), "refers to posix.mkdir", "again")
    assert not target.exists()


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
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
def test_a_damaged_archive_is_refused(archive: Path, name: str, content: bytes, remedy: str) -> None:
    """With the file, what is wrong with it, and what would be right."""
    (archive / name).write_bytes(content)
    assert_refused(str(archive), str(archive / name), remedy)


def test_an_incomplete_archive_is_refused(archive: Path) -> None:
    """With the file that is missing."""
    (archive / "test").unlink()
    assert_refused(str(archive), str(archive / "test"), "missing")
