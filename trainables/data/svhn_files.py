"""SVHN, the cropped digits, as torchvision downloads it: ``train_32x32.mat`` and ``test_32x32.mat``.

Netzer et al., *Reading Digits in Natural Images with Unsupervised Feature Learning*, 2011.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from search_spaces.errors import DataError
from trainables.data.files import first_line, names_in, regular_file
from trainables.data.image_arrays import SIDE, Images, LabelledImages, Labels, check_count, check_images, check_labels
from trainables.data.source import ReadOptions, Source

FILES = ("train_32x32.mat", "test_32x32.mat")
DIGITS = tuple(str(digit) for digit in range(10))


def find_svhn(folder: Path, options: ReadOptions) -> Source | None:
    """Find the files of SVHN; see :class:`trainables.data.source.Source`.

    Raises:
        DataError: ``labels`` is set.
    """
    if not set(FILES) <= set(names_in(folder)):
        return None
    if options.labels:
        raise DataError(f"{folder}: labels = {options.labels!r}; SVHN has one kind of labels; remove the key")
    return Source(title="SVHN", taken=" and ".join(FILES), read=lambda: _read(folder, options))


def _read(folder: Path, options: ReadOptions) -> LabelledImages:
    train, test = (_read_part(folder / name, options.max_images) for name in FILES)
    return LabelledImages(*train, *test, DIGITS)


def _read_part(file: Path, max_images: int) -> tuple[Images, Labels]:
    """Return the images and labels of one file; the sizes are read before the arrays."""
    from scipy import io

    regular_file(file)
    try:
        found = {name: (shape, kind) for name, shape, kind in io.whosmat(file)}
        shape, kind = found.get("X", ((), ""))
        labels_shape, labels_kind = found.get("y", ((), ""))
        if len(shape) != 4 or shape[:3] != (SIDE, SIDE, 3) or math.prod(labels_shape) != shape[3] or kind != "uint8":
            raise DataError(f"{file}: holds {found!s:.80}; expected X of uint8 [32, 32, 3, N] and y of N numbers")
        if "int" not in labels_kind and labels_kind != "double":
            raise DataError(f"{file}: 'y' is {labels_kind}; expected integers")
        check_count(int(shape[3]), max_images, str(file))
        content = io.loadmat(file, variable_names=["X", "y"])
    except DataError:
        raise
    except Exception as error:  # scipy raises any exception on damaged bytes
        raise DataError(f"{file}: not a readable MATLAB file ({first_line(error)}); download it again") from error
    images = check_images(np.ascontiguousarray(np.transpose(content["X"], (3, 0, 1, 2))), f"{file}, 'X'")
    labels = np.asarray(content["y"]).reshape(-1)
    if (labels == labels.round()).all() and (abs(labels.astype(np.float64)) < 2**31).all():
        labels = np.where(labels == 10, 0, labels).astype(np.int64)  # a zero is stored as 10
    return images, check_labels(labels, len(images), f"{file}, 'y'", len(DIGITS))
