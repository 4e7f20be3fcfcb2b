"""A folder of class folders: ``train/CLASS/*.png`` and ``test/CLASS/*.png``, as for torchvision's ``ImageFolder``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from search_spaces.errors import DataError
from trainables.data.files import is_folder, names_in, regular_file
from trainables.data.image_arrays import SIDE, Images, LabelledImages, Labels, check_class_names, check_count
from trainables.data.image_files import SUFFIXES, Decoder
from trainables.data.source import ReadOptions, Source

PARTS = ("train", "test")
MAX_FILE_BYTES = 2**20
"""Largest size of a file; a PNG of 32×32 pixels has 2 kB."""


def find_class_folders(folder: Path, options: ReadOptions) -> Source | None:
    """Find folders of images, one per class; see :class:`trainables.data.source.Source`.

    Raises:
        DataError: a part or class is missing, a class has no images, or ``labels`` is set.
    """
    names = names_in(folder)
    if not all(part in names and is_folder(folder / part) for part in PARTS):
        return None
    classes = {part: _folders(folder / part) for part in PARTS}
    if not classes["train"]:
        return None
    if options.labels:
        raise DataError(f"{folder}: labels = {options.labels!r}; class folders have one kind of labels; remove the key")
    class_names = check_class_names(classes["train"], f"{folder / 'train'}, the names of its folders", None)
    if unknown := sorted(set(classes["test"]) - set(class_names)):
        raise DataError(f"{folder / 'test' / unknown[0]}: train/ has no such class; expected the same class folders")
    files = {part: _files(folder / part, classes[part]) for part in PARTS}
    for part in PARTS:
        if not any(files[part].values()):
            raise DataError(f"{folder / part}: its class folders hold no images ({', '.join(SUFFIXES)})")
    check_count(sum(len(found) for of_class in files.values() for found in of_class.values()), options.max_images,
                str(folder))  # fmt: skip
    return Source(
        title=folder.name,
        taken="class folders in train/ and test/",
        read=lambda: _read(files, class_names),
        key=lambda: f"folders-{_key(folder, files)}",
    )


def _folders(folder: Path) -> list[str]:
    return [name for name in names_in(folder) if not name.startswith(".") and is_folder(folder / name)]


def _files(folder: Path, classes: Sequence[str]) -> dict[str, list[Path]]:
    """Return class → its images, in the order of their names."""
    files = {
        name: [folder / name / one for one in names_in(folder / name) if one.lower().endswith(SUFFIXES)]
        for name in classes
    }
    for name, found in files.items():
        if not found:
            raise DataError(f"{folder / name}: holds no images ({', '.join(SUFFIXES)})")
    return files


def _key(folder: Path, files: dict[str, dict[str, list[Path]]]) -> str:
    """Return the SHA-256 (hex) of the names and bytes of all images."""
    sha = hashlib.sha256()
    for of_class in files.values():
        for file in (file for found in of_class.values() for file in found):
            content = _content(file)
            sha.update(f"{len(content)} {file.relative_to(folder).as_posix()}\n".encode("utf-8", "surrogateescape"))
            sha.update(content)
    return sha.hexdigest()


def _read(files: dict[str, dict[str, list[Path]]], class_names: tuple[str, ...]) -> LabelledImages:
    decoder = Decoder()
    train, test = (_read_part(files[part], class_names, decoder) for part in PARTS)
    return LabelledImages(*train, *test, class_names, decoder.notes())


def _read_part(files: dict[str, list[Path]], class_names: tuple[str, ...], decoder: Decoder) -> tuple[Images, Labels]:
    labelled = [(file, class_names.index(name)) for name, found in files.items() for file in found]
    images = np.empty((len(labelled), SIDE, SIDE, 3), np.uint8)
    for row, (file, _) in enumerate(labelled):
        images[row] = decoder.decode(_content(file), str(file))
    return images, np.array([label for _, label in labelled], np.int64)


def _content(file: Path) -> bytes:
    """Return the bytes of one image file.

    Raises:
        DataError: not a regular file, too large for an image of 32×32 pixels, or not readable.
    """
    if regular_file(file) > MAX_FILE_BYTES:
        raise DataError(f"{file}: larger than {MAX_FILE_BYTES >> 20} MB; expected an image of {SIDE}×{SIDE} pixels")
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}; make it readable") from error
