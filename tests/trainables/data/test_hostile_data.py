"""Data folders that are hostile or odd: one line, at once, before anything is read."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from tests.trainables.own_sources import (
    cifar10_pickles,
    ten_classes,
    write_class_folders,
    write_columns,
    write_files,
    write_tar,
)
from tests.trainables.small_sources import assert_refused, png, write_parquet
from trainables.data.image_arrays import LabelledImages

GOOD = png(np.zeros((32, 32, 3), np.uint8))
ROOT = Path(__file__).parents[3]


def huge_png(side: int = 46341) -> bytes:
    """A PNG of a few bytes whose header has 2^31 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [46341, 10_000, 40])
def test_an_image_that_is_too_large_is_not_decoded(tmp_path: Path, side: int) -> None:
    """2^31 pixels (Pillow's error), 10^8 (Pillow's warning), and a few."""
    for part, content in (("train", GOOD), ("test", huge_png(side))):
        write_columns(tmp_path / f"{part}.parquet", {"img": [content], "fine_label": [0], "coarse_label": [0]})
    assert_refused(str(tmp_path), "test.parquet, row 0", "expected 32×32 RGB")


@pytest.mark.parametrize("content", [pa.array(["a", "b"]), pa.array([1, 2])])
def test_bytes_that_are_no_bytes_are_refused(parquet: Path, content: pa.Array) -> None:
    column = pa.StructArray.from_arrays([content], names=["bytes"])
    file = parquet / "test-00000-of-00001.parquet"
    pq.write_table(pa.table({"img": column, "fine_label": [1, 2]}), file)
    assert_refused(str(parquet), str(file), "'img' is struct<bytes", "binary")


@pytest.mark.parametrize("kind", ["strings", "floats", "a column twice", "nulls"])
def test_odd_columns_are_refused(parquet: Path, kind: str) -> None:
    file = parquet / "test-00000-of-00001.parquet"
    table = pq.read_table(file)
    if kind == "a column twice":
        table = pa.table([*table.columns, table.column("img")], names=[*table.column_names, "img"])
    else:
        labels = {"strings": pa.array(["cat"]), "floats": pa.array([0.5]), "nulls": pa.nulls(1)}[kind]
        table = table.slice(0, 1).set_column(1, "fine_label", labels)
    pq.write_table(table, file)
    assert_refused(str(parquet), str(file), "more than one column" if kind == "a column twice" else "expected integers")


def test_many_rows_in_a_small_file_are_counted_and_not_read(parquet: Path) -> None:
    """2·10^8 empty rows have a few kilobytes in Parquet; here 2·10^6."""
    file = parquet / "test-00000-of-00001.parquet"
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = 2_000_000
    pq.write_table(pa.table({"img": pa.nulls(rows, kind), "fine_label": pa.nulls(rows, pa.int64())}), file)
    assert file.stat().st_size < 100_000
    assert_refused(str(parquet), "2,001,000 images, more than max_images = 1,000,000")


@pytest.mark.parametrize("count", ["9999999999", "9" * 18])
def test_a_huge_number_of_shards_is_not_counted_through(parquet: Path, count: str) -> None:
    for name in ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"):
        (parquet / name).rename(parquet / name.replace("00002", count))
    assert_refused(str(parquet), "train shard 2 is missing")


def test_deep_or_large_json_is_refused(parquet: Path) -> None:
    file = parquet / "labels.json"
    file.write_text('{"fine_label": ' + "[" * 100_000)
    assert_refused(str(parquet), str(file), "not a readable JSON file")
    with file.open("wb") as stream:
        stream.truncate(10**10)  # sparse: no blocks on the disk
    assert_refused(str(parquet), str(file), "larger than 16 MB")


def test_deep_json_in_the_metadata_is_no_error(tmp_path: Path) -> None:
    """The classes are then numbered."""
    for part in ("train", "test"):
        write_columns(tmp_path / f"{part}.parquet", {"image": [GOOD] * 4, "label": [0, 0, 1, 1]})
        table = pq.read_table(tmp_path / f"{part}.parquet")
        deep = table.replace_schema_metadata({"huggingface": "[" * 100_000})
        pq.write_table(deep, tmp_path / f"{part}.parquet")
    from trainables.data.dataset import load_data

    assert load_data(str(tmp_path), val_fraction=0.5).class_names == ("class 0", "class 1")


def folder_of(kind: str, tmp_path: Path, images: LabelledImages) -> Path:
    if kind == "parquet":
        return write_parquet(tmp_path / "data", images)
    if kind == "pickles":
        return write_files(tmp_path / "cifar-10-batches-py", cifar10_pickles(ten_classes()))
    return write_class_folders(tmp_path / "data", ten_classes())


FILES = (
    ("parquet", "train-00000-of-00002.parquet"), ("parquet", "test-00000-of-00001.parquet"), ("parquet", "labels.json"),
    ("pickles", "data_batch_3"), ("pickles", "test_batch"), ("pickles", "batches.meta"),
    ("folders", "train/cat/030.png"),
)  # fmt: skip


def as_fifo(file: Path) -> None:
    os.mkfifo(file)


def as_folder(file: Path) -> None:
    file.mkdir()


def as_dangling_link(file: Path) -> None:
    file.symlink_to(file.parent / "nowhere")


@pytest.mark.parametrize("make", [as_fifo, as_folder, as_dangling_link])
@pytest.mark.parametrize(("kind", "name"), FILES)
def test_only_regular_files_are_opened(
    tmp_path: Path, images: LabelledImages, kind: str, name: str, make: Callable[[Path], None]
) -> None:
    """Opening a FIFO waits for a writer."""
    folder = folder_of(kind, tmp_path, images)
    (folder / name).unlink()
    make(folder / name)
    assert_refused(str(folder), str(folder / name))


def test_a_tar_that_is_damaged_or_a_fifo_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cifar-10-python.tar.gz"
    file.write_bytes(b"\x1f\x8b\x08" + bytes(100))
    assert_refused(str(tmp_path), str(file), "download it again")
    file.unlink()
    os.mkfifo(file)
    assert_refused(str(tmp_path), str(file), "is a FIFO")


def test_an_archive_that_holds_very_much_is_not_extracted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros are compressed a thousandfold, in a member that is not read."""
    monkeypatch.setattr("trainables.data.cifar_layouts.MAX_BYTES", 10**6)
    write_tar(tmp_path / "cifar-10-python.tar.gz", "cifar-10-batches-py", {"zeros": bytes(2 * 10**6)})
    assert_refused(str(tmp_path), "cifar-10-python.tar.gz", "when it is extracted")


class Unfilled:
    """An array whose pickle has a shape and no pixels: 3 GB for ten bytes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return np.ndarray, ((2_000_000, 3072), np.dtype(np.uint8))


def test_a_pickle_that_names_a_size_is_counted(tmp_path: Path) -> None:
    content = cifar10_pickles(ten_classes())
    content["test_batch"] = pickle.dumps({"data": Unfilled(), "labels": [0]})
    folder = write_files(tmp_path / "cifar-10-batches-py", content)
    assert_refused(str(folder), "test_batch", "2,000,000 images, more than max_images")


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"X": np.zeros((32, 32, 3, 2), np.float64), "y": [[1], [2]]}, "expected X of uint8"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.zeros((10, 1))}, "y of N numbers"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": ["a", "b"]}, "expected integers"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[1], [11]]}, "label 11 in row 1 is out of range"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[1.5], [1.0]]}, "labels are float64"),
        ({"Z": [1]}, "expected X"),
    ],
)
def test_odd_files_of_svhn_are_refused(tmp_path: Path, arrays: dict[str, Any], told: str) -> None:
    for name in ("train_32x32.mat", "test_32x32.mat"):
        savemat(tmp_path / name, arrays)
    assert_refused(str(tmp_path), "train_32x32.mat", told)


def test_a_folder_of_an_unknown_user_is_one_line() -> None:
    assert_refused("~no-such-user-here/data", "no-such-user-here")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("synthetic:n_train=1000000000", "1,000,001,000 images, more than max_images = 1,000,000"),
        ("synthetic:n_test=1000000", "1,004,000 images"),
        ("synthetic:n_train=" + "9" * 5000, "5000 digits"),
    ],
)
def test_synthetic_data_that_is_too_large_is_not_made(source: str, told: str) -> None:
    assert_refused(source, told)


def test_the_limit_can_be_set() -> None:
    assert_refused("synthetic:n_train=400,n_test=100", "500 images, more than max_images = 499", max_images=499)


def one_class(folder: Path) -> None:
    write_columns(folder / "train.parquet", {"image": [GOOD] * 3, "label": [0, 0, 0]})


def a_gap(folder: Path) -> None:
    write_columns(folder / "train.parquet", {"image": [GOOD] * 3, "label": [0, 1, 3]})


def a_billion_classes(folder: Path) -> None:
    write_columns(folder / "train.parquet", {"image": [GOOD] * 3, "label": [0, 1, 10**9]})


def two_label_columns(folder: Path) -> None:
    write_columns(folder / "train.parquet", {"image": [GOOD], "label": [0], "target": [0]})


def two_image_columns(folder: Path) -> None:
    write_columns(folder / "train.parquet", {"image": [GOOD], "img": [GOOD], "label": [0]})


def one_name(folder: Path) -> None:
    write_columns(folder / "train.parquet", {"image": [GOOD], "label": [0]}, {"label": ["cat"]})


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (one_class, "one class; expected at least 2 classes"),
        (a_gap, "no training image has label 2"),
        (a_billion_classes, "label 1000000000 is out of range"),
        (two_label_columns, "several columns of labels (label, target)"),
        (two_image_columns, "several columns of images (img, image)"),
        (one_name, "1 class names; expected 2 to 1000"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path: Path, make: Callable[[Path], None], told: str) -> None:
    write_columns(tmp_path / "test.parquet", {"image": [GOOD], "label": [0]})
    make(tmp_path)
    assert_refused(str(tmp_path), str(tmp_path / "train.parquet"), told)


def test_class_folders_that_do_not_match_are_refused(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "data", ten_classes(2))
    (folder / "test" / "cat").rename(folder / "test" / "tiger")
    assert_refused(str(folder), str(folder / "test" / "tiger"), "train/ has no such class")
    (folder / "test" / "tiger").rename(folder / "test" / "cat")
    (folder / "train" / "lynx").mkdir()
    assert_refused(str(folder), str(folder / "train" / "lynx"), "holds no images")


@pytest.mark.skipif(os.getuid() != 0, reason="another user can be taken by root only")
def test_a_folder_without_permission_is_one_line(parquet: Path) -> None:
    """As another user, because permissions do not bind root; the folder can be entered but not read."""
    code = (
        "import os, sys\n"
        "from trainables.data.dataset import load_data\n"
        "from search_spaces.errors import DataError\n"
        "os.setuid(65534)\n"
        "try:\n    load_data(sys.argv[1])\n"
        "except DataError as error:\n    print(error)\n"
    )
    for folder in (parquet, *parquet.parents):
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o711)
    parquet.chmod(0o700)
    found = subprocess.run([sys.executable, "-c", code, parquet], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.count("\n") == 1
    assert str(parquet) in found.stdout
    assert "Permission denied" in found.stdout


def test_metadata_of_class_names_is_checked(tmp_path: Path) -> None:
    """Names in ``labels.json`` win over those in the metadata."""
    for part in ("train", "test"):
        write_columns(tmp_path / f"{part}.parquet", {"image": [GOOD] * 4, "label": [0, 0, 1, 1]}, {"label": ["a", "b"]})
    (tmp_path / "labels.json").write_text(json.dumps({"label": ["cat", 3]}))
    assert_refused(str(tmp_path), "labels.json", "class names")
