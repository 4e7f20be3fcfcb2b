"""Images and labels of a source: a training part and a test part, without a validation split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from search_spaces.errors import DataError

CLASSES = 100
SIDE = 32

Images = npt.NDArray[np.uint8]  # [N, 32, 32, 3]
Labels = npt.NDArray[np.int64]  # [N]


@dataclass(frozen=True)
class LabelledImages:
    """All images and labels of a source, in its order.

    Images are uint8 ``[N, 32, 32, 3]`` (height, width, RGB), labels int64 ``[N]`` in 0..99.
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]

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


def check_labels(labels: npt.ArrayLike, count: int, where: str) -> Labels:
    """Return ``labels`` as int64 ``[count]`` if each is a class of CIFAR-100.

    Raises:
        DataError: with ``where`` and the first label that is out of range.
    """
    try:
        array = np.asarray(labels)
    except ValueError:  # a ragged list
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "iu" or array.shape != (count,):
        raise DataError(
            f"{where}: labels are {array.dtype} {list(array.shape)}; expected one integer for each of {count} images"
        )
    bad = np.flatnonzero((array < 0) | (array >= CLASSES))
    if len(bad):
        raise DataError(f"{where}: label {array[bad[0]]} in row {bad[0]} is out of range; expected 0 to {CLASSES - 1}")
    return array.astype(np.int64)


def check_class_names(names: object, where: str) -> tuple[str, ...]:
    """Return ``names`` if they are 100 strings, one per fine class.

    Raises:
        DataError: with ``where``.
    """
    if not isinstance(names, list) or len(names) != CLASSES or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where}: expected a list of {CLASSES} class names, index = label")
    return tuple(names)
