"""Data sets of ten classes, written in the formats in which they are distributed."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.io import savemat

from tests.trainables.small_sources import png
from trainables.data.image_arrays import LabelledImages

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def ten_classes(train_per_class: int = 10, classes: int = 10) -> LabelledImages:
    """Random pixels; each part is sorted by class, as class folders are."""
    rng = np.random.default_rng(3)
    train, test = (np.repeat(np.arange(classes), count) for count in (train_per_class, 2))
    names = NAMES if classes == 10 else tuple(f"n{label:02d}" for label in range(classes))
    return LabelledImages(
        rng.integers(0, 256, (len(train), 32, 32, 3), dtype=np.uint8), train,
        rng.integers(0, 256, (len(test), 32, 32, 3), dtype=np.uint8), test, names,
    )  # fmt: skip


def parts_of(images: LabelledImages) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {"train": (images.train_images, images.train_labels), "test": (images.test_images, images.test_labels)}


def planes(pixels: np.ndarray) -> np.ndarray:
    """``[N, 3072]``, three planes per row."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).reshape(len(pixels), -1)


def write_columns(file: Path, columns: Mapping[str, Any], names: Mapping[str, list[str]] | None = None) -> None:
    """A Parquet file; columns of bytes are structs, and ``names`` go into the metadata as on the Hub."""
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({
        name: pa.array([{"bytes": one, "path": None} for one in values], kind)
        if values and isinstance(values[0], bytes) else values
        for name, values in columns.items()
    })  # fmt: skip
    if names:
        features = {key: {"names": value, "_type": "ClassLabel"} for key, value in names.items()}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, file)


def write_hub(folder: Path, images: LabelledImages, files: Mapping[str, str], names: bool = True) -> Path:
    """``files`` has the name of the file of each part; columns ``image`` and ``label``."""
    for part, (pixels, labels) in parts_of(images).items():
        columns = {"image": [png(one) for one in pixels], "label": labels.tolist()}
        write_columns(folder / files[part], columns, {"label": list(images.class_names)} if names else None)
    return folder


def write_class_folders(folder: Path, images: LabelledImages) -> Path:
    for part, (pixels, labels) in parts_of(images).items():
        for row, (one, label) in enumerate(zip(pixels, labels, strict=True)):
            place = folder / part / images.class_names[label]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{row:03d}.png").write_bytes(png(one))
    return folder


def cifar10_pickles(images: LabelledImages, protocol: int = 2, as_bytes: bool = False) -> dict[str, bytes]:
    def packed(table: dict[str, Any]) -> bytes:
        return pickle.dumps({k.encode(): v for k, v in table.items()} if as_bytes else table, protocol=protocol)

    batches = zip(np.array_split(images.train_images, 5), np.array_split(images.train_labels, 5), strict=True)
    content = {
        f"data_batch_{i}": packed({"data": planes(pixels), "labels": labels.tolist()})
        for i, (pixels, labels) in enumerate(batches, start=1)
    }
    content["test_batch"] = packed({"data": planes(images.test_images), "labels": images.test_labels.tolist()})
    content["batches.meta"] = packed({"label_names": list(images.class_names)})
    return content


def cifar10_binary(images: LabelledImages) -> dict[str, bytes]:
    def records(pixels: np.ndarray, labels: np.ndarray) -> bytes:
        return np.hstack([labels[:, None].astype(np.uint8), planes(pixels)]).tobytes()

    batches = zip(np.array_split(images.train_images, 5), np.array_split(images.train_labels, 5), strict=True)
    content = {f"data_batch_{i}.bin": records(*batch) for i, batch in enumerate(batches, start=1)}
    content["test_batch.bin"] = records(images.test_images, images.test_labels)
    content["batches.meta.txt"] = ("\n".join(images.class_names) + "\n\n").encode()
    return content


def cifar100_binary(images: LabelledImages, coarse: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    content = {
        f"{part}.bin": np.hstack([coarse[part][:, None], labels[:, None], planes(pixels)]).astype(np.uint8).tobytes()
        for part, (pixels, labels) in parts_of(images).items()
    }
    content["fine_label_names.txt"] = "\n".join(images.class_names).encode()
    content["coarse_label_names.txt"] = "\n".join(f"group {i}" for i in range(20)).encode()
    return content


def write_files(folder: Path, content: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, bytes_ in content.items():
        (folder / name).write_bytes(bytes_)
    return folder


def write_tar(file: Path, folder: str, content: Mapping[str, bytes]) -> Path:
    """A ``tar.gz`` with ``content`` in ``folder``; returns the folder of the archive."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz") as tar:
        for name, bytes_ in content.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(bytes_)
            tar.addfile(member, io.BytesIO(bytes_))
    return file.parent


def idx(array: np.ndarray) -> bytes:
    """The IDX format of unsigned bytes: http://yann.lecun.com/exdb/mnist."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_fashion(folder: Path, pixels: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> Path:
    """``FashionMNIST/raw`` as torchvision leaves it: the archives and what they hold."""
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        for name, array in (("images-idx3-ubyte", pixels[part]), ("labels-idx1-ubyte", labels[part])):
            (raw / f"{part}-{name}").write_bytes(idx(array))
            (raw / f"{part}-{name}.gz").write_bytes(gzip.compress(idx(array)))
    return folder


def write_svhn(folder: Path, images: LabelledImages) -> Path:
    """A zero has the label 10."""
    folder.mkdir(parents=True)
    for part, (pixels, labels) in parts_of(images).items():
        y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        savemat(folder / f"{part}_32x32.mat", {"X": pixels.transpose(1, 2, 3, 0), "y": y})
    return folder
