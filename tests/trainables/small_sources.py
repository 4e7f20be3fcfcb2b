"""CIFAR-100's two layouts on disk, small: ten training images and one test image a class."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from search_spaces.errors import DataError
from trainables.data.dataset import load_data
from trainables.data.image_arrays import LabelledImages

NAMES = [f"name {label}" for label in range(100)]


def small_images(train_per_class: int = 10) -> LabelledImages:
    """Random pixels under shuffled labels."""
    rng = np.random.default_rng(7)
    train, test = (rng.permutation(np.repeat(np.arange(100), count)) for count in (train_per_class, 1))
    return LabelledImages(
        train_images=rng.integers(0, 256, (len(train), 32, 32, 3), dtype=np.uint8),
        train_labels=train,
        test_images=rng.integers(0, 256, (len(test), 32, 32, 3), dtype=np.uint8),
        test_labels=test,
        class_names=tuple(NAMES),
    )


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(file: Path, pngs: Sequence[bytes | None], labels: Sequence[int | None]) -> None:
    img = [{"bytes": content, "path": None} for content in pngs]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    coarse = pa.array([0] * len(img), pa.int64())
    table = pa.table({"img": pa.array(img, kind), "fine_label": pa.array(labels, pa.int64()), "coarse_label": coarse})
    pq.write_table(table, file)


def write_parquet(folder: Path, images: LabelledImages) -> Path:
    """Two training shards, one test shard, ``labels.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    halves = np.array_split(np.arange(len(images.train_labels)), 2)
    for i, rows in enumerate(halves):
        pngs = [png(image) for image in images.train_images[rows]]
        write_shard(folder / f"train-{i:05d}-of-00002.parquet", pngs, images.train_labels[rows].tolist())
    pngs = [png(image) for image in images.test_images]
    write_shard(folder / "test-00000-of-00001.parquet", pngs, images.test_labels.tolist())
    (folder / "labels.json").write_text(json.dumps({"fine_label": NAMES}))
    return folder


def write_archive(folder: Path, images: LabelledImages) -> Path:
    """``folder/cifar-100-python`` with ``train``, ``test`` and ``meta`` as Python 2 and numpy 1 wrote them."""
    archive = folder / "cifar-100-python"
    archive.mkdir(parents=True)
    (archive / "train").write_bytes(official_batch(images.train_images, images.train_labels.tolist()))
    (archive / "test").write_bytes(official_batch(images.test_images, images.test_labels.tolist()))
    (archive / "meta").write_bytes(pickle.dumps({"fine_label_names": list(images.class_names)}, protocol=2))
    return archive


def official_batch(images: np.ndarray, labels: list[int]) -> bytes:
    """A pickle of ``{"fine_labels": [...], "data": uint8 [N, 3072]}``, opcode for opcode like the official ones.

    Python 3 cannot write it: there the pixels are a Python 2 ``str`` (opcode T), read back as latin1.
    """
    rows = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)
    pixels = rows.tobytes()
    dtype = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        + b"(I1\n(I%d\nI%d\nt" % rows.shape
        + dtype
        + b"I00\nT"
        + len(pixels).to_bytes(4, "little")
        + pixels
        + b"tb"
    )
    listed = b"".join(b"I%d\na" % label for label in labels)
    return b"\x80\x02}S'fine_labels'\n]" + listed + b"sS'data'\n" + array + b"s."


def assert_refused(source: str, *said: str, **options: Any) -> None:
    """One line that holds all that is to be ``said``."""
    with pytest.raises(DataError) as caught:
        load_data(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    for text in said:
        assert text in message
