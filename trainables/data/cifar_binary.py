"""The binary version of CIFAR-100 and CIFAR-10: records of one or two label bytes and 3,072 pixel bytes."""

from __future__ import annotations

import numpy as np

from search_spaces.errors import DataError
from trainables.data.cifar_layouts import CIFAR10, CIFAR100, Cifar, CifarLabels, Files, pixels_of_planes
from trainables.data.image_arrays import SIDE, Images, LabelledImages, Labels, check_class_names, check_labels
from trainables.data.source import ReadOptions

BINARY = {
    CIFAR100: (("train.bin",), "test.bin"),
    CIFAR10: (tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
}
"""Data set → its training files and its test file."""

PIXELS = 3 * SIDE * SIDE


def read_binary(files: Files, cifar: Cifar, options: ReadOptions) -> LabelledImages:
    """Read the records of ``cifar``.

    Raises:
        DataError: a file is missing or truncated, or a label is out of range.
    """
    train, test = BINARY[cifar]
    labels = cifar.chosen(options.labels, files.where)
    lines = files.read(labels.names_file).decode("utf-8", "replace").split("\n")
    names = [line.strip() for line in lines if line.strip()]
    class_names = check_class_names(names, str(files.path(labels.names_file)), labels.classes)
    label_bytes = len(cifar.labels)
    parts = [_read_part(files, name, label_bytes, labels) for name in train]
    train_images, train_labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return LabelledImages(train_images, train_labels, *_read_part(files, test, label_bytes, labels), class_names)


def _read_part(files: Files, name: str, label_bytes: int, labels: CifarLabels) -> tuple[Images, Labels]:
    content, where = files.read(name), str(files.path(name))
    if not content or len(content) % (label_bytes + PIXELS):
        raise DataError(
            f"{where}: {len(content):,} bytes; expected records of {label_bytes + PIXELS:,} bytes; extract it again"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, label_bytes + PIXELS)
    found = check_labels(records[:, labels.byte], len(records), f"{where}, {labels.key!r}", labels.classes)
    return pixels_of_planes(records[:, label_bytes:]), found
