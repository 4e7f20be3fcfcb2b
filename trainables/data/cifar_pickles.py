"""The official Python archives of CIFAR-100 and CIFAR-10: pickles, downloaded or in a given folder.

Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009; https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from search_spaces.errors import DataError
from trainables.data.cifar_layouts import CIFAR10, CIFAR100, Cifar, CifarLabels, Files, pixels_of_planes
from trainables.data.files import first_line
from trainables.data.image_arrays import (
    SIDE,
    Images,
    LabelledImages,
    Labels,
    check_class_names,
    check_count,
    check_images,
    check_labels,
)
from trainables.data.source import ReadOptions

PICKLED = {
    CIFAR100: (("train",), "test", "meta"),
    CIFAR10: (tuple(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"),
}
"""Data set → its training files, its test file, and the file with the names of its classes."""


def _dtype(name: str, align: int = 0, copy: int = 1) -> np.dtype[Any]:
    """Return a dtype from the arguments in old pickles: numpy 2.4.0 to 2.4.4 warn about 0 and 1 as booleans."""
    return np.dtype(name, align=bool(align), copy=bool(copy))


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """Return bytes as Python 3 writes them in protocols 0 to 2: ``_codecs.encode(text, "latin1")``."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are encoded as {encoding!r:.40}")
    return text.encode("latin1")


def _scalar(dtype: np.dtype[Any], content: bytes) -> Any:
    """Return a number of numpy, as in a list of labels."""
    return np.frombuffer(content, dtype, 1)[0]


# Everything that a pickled array needs in protocols 0 to 5, under the names of numpy 1 (the official archive) and of
# numpy 2.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _latin1,
} | {
    (f"numpy.{core}.{module}", name): value
    for core in ("core", "_core")
    for module, name, value in (
        ("multiarray", "_reconstruct", np.empty(0).__reduce__()[0]),
        ("multiarray", "scalar", _scalar),
        ("numeric", "_frombuffer", np.empty(0).__reduce_ex__(5)[0]),
    )
}


def read_pickles(files: Files, cifar: Cifar, options: ReadOptions) -> LabelledImages:
    """Read the pickles of ``cifar`` (about 1 s); no code in them is executed.

    Raises:
        DataError: a file is missing, damaged, of another shape, or holds other objects than arrays.
    """
    train, test, meta = PICKLED[cifar]
    labels = cifar.chosen(options.labels, files.where)
    content = _unpickle(files, meta, (labels.names_key,))
    names = [_text(name) for name in content[labels.names_key]] if _is_list(content[labels.names_key]) else None
    class_names = check_class_names(names, f"{files.path(meta)}, {labels.names_key!r}", labels.classes)
    parts = [_read_part(files, name, labels, options) for name in train]
    train_images, train_labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return LabelledImages(train_images, train_labels, *_read_part(files, test, labels, options), class_names)


def _read_part(files: Files, name: str, labels: CifarLabels, options: ReadOptions) -> tuple[Images, Labels]:
    batch, where = _unpickle(files, name, ("data", labels.key)), files.path(name)
    planes = batch["data"]
    if not isinstance(planes, np.ndarray) or planes.ndim != 2 or planes.shape[1] != 3 * SIDE * SIDE:
        found = list(planes.shape) if isinstance(planes, np.ndarray) else type(planes).__name__
        raise DataError(f"{where}: 'data' is {found}; expected [N, {3 * SIDE * SIDE}] (32×32 RGB); extract it again")
    check_count(len(planes), options.max_images, str(where))  # a pickle can name a size without having the pixels
    images = check_images(pixels_of_planes(planes), f"{where}, 'data'")
    return images, check_labels(batch[labels.key], len(images), f"{where}, {labels.key!r}", labels.classes)


class _ArraysOnly(pickle.Unpickler):
    """Builds lists, dicts, strings, numbers and numpy arrays; any other class is refused without an import."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {module_name}.{global_name}") from None


def _unpickle(files: Files, name: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the dict in the file ``name``, which has ``keys``; latin1, because Python 2 wrote the official files."""
    where = files.path(name)
    try:
        with files.open(name) as stream:
            content = _ArraysOnly(stream, encoding="latin1").load()
    except DataError:
        raise
    except Exception as error:  # the unpickler may raise any exception on damaged bytes
        raise DataError(
            f"{where}: not a pickle of the official archive ({first_line(error)}); extract the archive again"
        ) from error
    if isinstance(content, dict):  # the keys are bytes where the file was read as bytes and written again
        content = {_text(key): value for key, value in content.items()}
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            raise DataError(f"{where}: it has no {key!r}; extract the archive again")
    return content


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _text(value: Any) -> Any:
    return value.decode("latin1") if isinstance(value, bytes) else value
