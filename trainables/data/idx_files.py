"""Fashion-MNIST, MNIST and others in the IDX format, as torchvision downloads them: ``FashionMNIST/raw/…``.

http://yann.lecun.com/exdb/mnist describes the format: a magic number, the sizes (big-endian int32), the bytes.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search_spaces.errors import DataError
from trainables.data.files import first_line, is_folder, names_in, regular_file
from trainables.data.image_arrays import SIDE, LabelledImages, check_count, check_labels, numbered_classes
from trainables.data.image_files import SMALL_SIDE, change_notes, planes_to_rgb
from trainables.data.source import ReadOptions, Source

TITLES = {"FashionMNIST": "Fashion-MNIST", "MNIST": "MNIST", "KMNIST": "KMNIST", "QMNIST": "QMNIST"}
"""Name of torchvision's folder → name of the data set."""

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DIGITS = tuple(str(digit) for digit in range(10))
CLASS_NAMES = {"Fashion-MNIST": FASHION, "MNIST": DIGITS}

IMAGES, LABELS = 0x803, 0x801  # unsigned bytes in 3 dimensions, and in 1
FILES = tuple(f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))


def find_idx(folder: Path, options: ReadOptions) -> Source | None:
    """Find IDX files; see :class:`trainables.data.source.Source`.

    Raises:
        DataError: the folder holds several data sets, or ``labels`` is set.
    """
    places = [path for path in _candidates(folder) if is_folder(path) and _files(path)]
    if not places:
        return None
    if len(places) > 1:
        found = " and ".join(str(path.relative_to(folder)) for path in places)
        raise DataError(f"{folder}: holds several data sets ({found}); name the folder of one of them")
    if options.labels:
        raise DataError(f"{folder}: labels = {options.labels!r}; IDX files have one kind of labels; remove the key")
    (place,) = places
    names = [place.name, place.parent.name]
    title = next((TITLES[name] for name in names if name in TITLES), folder.name)
    files = _files(place)
    return Source(title=title, taken=f"IDX files in {place.name}/", read=lambda: _read(files, title, options))


def _candidates(folder: Path) -> list[Path]:
    return [folder, folder / "raw", *(folder / name / "raw" for name in TITLES)]


def _files(folder: Path) -> list[Path]:
    """Return the four files, each with or without ``.gz``; empty if one is missing."""
    names = names_in(folder)
    found = [next((folder / one for one in (name, f"{name}.gz") if one in names), None) for name in FILES]
    return [file for file in found if file] if all(found) else []


def _read(files: list[Path], title: str, options: ReadOptions) -> LabelledImages:
    train, train_labels, test, test_labels = (
        _array(file, magic, options.max_images) for file, magic in zip(files, (IMAGES, LABELS) * 2, strict=True)
    )
    for file, images in ((files[0], train), (files[2], test)):
        if images.shape[1] != images.shape[2] or images.shape[1] not in (SMALL_SIDE, SIDE):
            raise DataError(f"{file}: images are {list(images.shape[1:])}; expected {SMALL_SIDE}×{SMALL_SIDE} or 32×32")
    names = CLASS_NAMES.get(title) or numbered_classes(train_labels, str(files[1]))
    count, small = len(train) + len(test), sum(len(part) for part in (train, test) if part.shape[1] == SMALL_SIDE)
    return LabelledImages(
        planes_to_rgb(train), check_labels(train_labels, len(train), str(files[1]), len(names)),
        planes_to_rgb(test), check_labels(test_labels, len(test), str(files[3]), len(names)),
        names, change_notes(count, count, small),
    )  # fmt: skip


def _array(file: Path, magic: int, max_images: int) -> npt.NDArray[np.uint8]:
    """Return the bytes of an IDX file, in its shape; the sizes are checked before the bytes are read."""
    size = regular_file(file)
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            header = np.frombuffer(stream.read(4), ">u4")
            if len(header) != 1 or header[0] != magic:
                raise DataError(f"{file}: not an IDX file with magic number {magic}; download it again")
            shape = [int(one) for one in np.frombuffer(stream.read(4 * (magic & 0xFF)), ">u4")]
            check_count(shape[0] if shape else 0, max_images, str(file))
            if magic == IMAGES and max(shape[1:], default=0) > SIDE:
                raise DataError(f"{file}: images are {shape[1:]}; expected {SMALL_SIDE}×{SMALL_SIDE} or 32×32")
            content = stream.read(math.prod(shape) + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{file}: not a readable IDX file ({first_line(error)}); download it again") from error
    if not shape or len(content) != math.prod(shape):
        raise DataError(f"{file}: truncated ({size:,} bytes for the sizes {shape}); download it again")
    return np.frombuffer(content, np.uint8).reshape(shape)
