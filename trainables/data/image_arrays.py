"""Images and labels of a source: a training part and a test part, without a validation split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from search_spaces.errors import DataError

CLASSES = 100
"""Classes of CIFAR-100 and of synthetic data."""

SIDE = 32

MAX_CLASSES = 1000
MAX_NAME = 200
MAX_IMAGES = 1_000_000
"""Largest number of images of a source by default (3 GB); see ``max_images`` of a spec."""


Images = npt.NDArray[np.uint8]  # [N, 32, 32, 3]
Labels = npt.NDArray[np.int64]  # [N]


@dataclass(frozen=True)
class LabelledImages:
    """All images and labels of a source, in its order.

    Images are uint8 ``[N, 32, 32, 3]`` (height, width, RGB), labels int64 ``[N]`` in 0..C-1, where C is the number of
    ``class_names``. ``notes`` say how images were changed; they are not part of a digest.
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the class names and the content of :attr:`numbers_digest`."""
        return hashlib.sha256((repr(self.class_names) + self.numbers_digest).encode()).hexdigest()

    @cached_property
    def numbers_digest(self) -> str:
        """SHA-256 (hex) of the types, shapes and bytes of the four arrays (0.1 s for 60,000 images)."""
        sha = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            sha.update(f"{array.dtype.str} {array.shape}".encode())
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()


def check_images(images: npt.NDArray[np.generic], where: str) -> Images:
    """Return ``images`` if they are uint8 ``[N, 32, 32, 3]``, N > 0.

    Raises:
        DataError: with ``where`` and the shape of ``images``.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (SIDE, SIDE, 3) or not len(images):
        raise DataError(
            f"{where}: images are {images.dtype} {list(images.shape)}; expected uint8 [N, {SIDE}, {SIDE}, 3] with N > 0"
        )
    return images.view(np.uint8)


def check_count(count: int, max_images: int, where: str) -> None:
    """Refuse more than ``max_images`` images before they are read or made.

    Raises:
        DataError: with ``where`` and both numbers.
    """
    if count > max_images:
        shown = f"{count:,}" if count < 10**18 else "more than 10^18"
        raise DataError(f"{where}: {shown} images, more than max_images = {max_images:,}; use fewer, or set max_images")


def check_labels(labels: npt.ArrayLike, count: int, where: str, classes: int = CLASSES) -> Labels:
    """Return ``labels`` as int64 ``[count]`` if each is in 0..classes-1.

    Raises:
        DataError: with ``where`` and the first label that is out of range.
    """
    try:
        array = np.asarray(labels)
    except (ValueError, TypeError):  # a ragged list
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "iu" or array.shape != (count,):
        raise DataError(
            f"{where}: labels are {array.dtype} {list(array.shape)}; expected one integer for each of {count} images"
        )
    bad = np.flatnonzero((array < 0) | (array >= classes))
    if len(bad):
        raise DataError(f"{where}: label {array[bad[0]]} in row {bad[0]} is out of range; expected 0 to {classes - 1}")
    return array.astype(np.int64)


def check_class_names(names: object, where: str, classes: int | None = CLASSES) -> tuple[str, ...]:
    """Return ``names`` if they are strings, one per class; None allows any number of classes from 2 on.

    Raises:
        DataError: with ``where``.
    """
    found = tuple(names) if isinstance(names, list | tuple) else ()
    if not found or not all(isinstance(name, str) for name in found) or (classes and len(found) != classes):
        raise DataError(f"{where}: expected a list of {f'{classes} ' if classes else ''}class names, index = label")
    if too_long := next((name for name in found if len(name) > MAX_NAME), None):
        raise DataError(f"{where}: the class name {too_long[:40]!r}… has {len(too_long):,} letters; at most {MAX_NAME}")
    if not 2 <= len(found) <= MAX_CLASSES:
        raise DataError(f"{where}: {len(found)} class names; expected 2 to {MAX_CLASSES} classes")
    return found


def numbered_classes(train_labels: npt.ArrayLike, where: str) -> tuple[str, ...]:
    """Return the names ``class 0`` … of a source that has none, from the labels of its training part.

    Raises:
        DataError: the labels are not whole numbers from 0 on, each with an image, or there is only one class.
    """
    labels = np.asarray(train_labels)
    if labels.dtype.kind not in "iu" or not len(labels):
        raise DataError(f"{where}: labels are {labels.dtype} {list(labels.shape)}; expected one integer per image")
    present = np.unique(labels)
    if present[0] < 0 or present[-1] >= MAX_CLASSES:
        bad = present[0] if present[0] < 0 else present[-1]
        raise DataError(f"{where}: label {bad} is out of range; expected 0 to C-1 for C classes, at most {MAX_CLASSES}")
    if len(present) <= present[-1]:
        missing = int(np.setdiff1d(np.arange(present[-1]), present)[0])
        raise DataError(
            f"{where}: no training image has label {missing}, but some have {present[-1]}; expected labels 0 to C-1"
        )
    if len(present) < 2:
        raise DataError(f"{where}: all training images have one class; expected at least 2 classes")
    digits = len(str(len(present) - 1))
    return tuple(f"class {label:0{digits}d}" for label in range(len(present)))


def count_repeats(train: Images, test: Images) -> int:
    """Return how many images ``[N, 32, 32, 3]`` of ``test`` are, pixel by pixel, also in ``train``."""
    weights = np.random.default_rng(0).integers(1, 2**63, SIDE * SIDE * 3 // 8, dtype=np.uint64)

    def keys(images: Images) -> npt.NDArray[np.uint64]:
        """Return a 64-bit hash per image."""
        words = np.ascontiguousarray(images).reshape(len(images), -1).view(np.uint64)
        parts = [(words[at : at + 4096] * weights).sum(axis=1, dtype=np.uint64) for at in range(0, len(words), 4096)]
        return np.concatenate(parts)

    train_keys = keys(train)
    candidates = np.flatnonzero(np.isin(keys(test), train_keys))
    if not len(candidates):
        return 0
    suspects = np.flatnonzero(np.isin(train_keys, keys(test[candidates])))
    seen = {train[row].tobytes() for row in suspects}
    return sum(test[row].tobytes() in seen for row in candidates)
