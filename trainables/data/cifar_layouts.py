"""Where the official archives of CIFAR-10 and CIFAR-100 lie: Python or binary version, extracted or as ``tar.gz``."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from search_spaces.errors import DataError
from trainables.data.files import first_line, is_folder, names_in, regular_file
from trainables.data.image_arrays import SIDE, Images

MAX_BYTES = 2**30
"""Largest size of a file, and of an extracted archive; those of CIFAR-100 have 187 MB."""


@dataclass(frozen=True)
class CifarLabels:
    """One kind of label: its number of classes, and its keys in the files."""

    classes: int
    key: str
    names_key: str
    names_file: str  # of the binary version
    byte: int  # its place in a record of the binary version


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets, and the names of its folders and archives."""

    title: str
    pickles: str
    binary: str
    labels: dict[str, CifarLabels] = field(hash=False)

    def chosen(self, labels: str, where: str) -> CifarLabels:
        """Return the labels that the spec's ``labels`` names; empty: the first kind.

        Raises:
            DataError: no such labels.
        """
        if not labels:
            return next(iter(self.labels.values()))
        if labels not in self.labels:
            raise DataError(f"{where}: labels = {labels!r}; {self.title} has {', '.join(self.labels)}")
        return self.labels[labels]


CIFAR100 = Cifar(
    "CIFAR-100", "cifar-100-python", "cifar-100-binary",
    {
        "fine": CifarLabels(100, "fine_labels", "fine_label_names", "fine_label_names.txt", 1),
        "coarse": CifarLabels(20, "coarse_labels", "coarse_label_names", "coarse_label_names.txt", 0),
    },
)  # fmt: skip
CIFAR10 = Cifar(
    "CIFAR-10", "cifar-10-batches-py", "cifar-10-batches-bin",
    {"fine": CifarLabels(10, "labels", "label_names", "batches.meta.txt", 0)},
)  # fmt: skip


@dataclass(frozen=True)
class Files:
    """The files of an archive: in a folder, or in memory after they were read from a ``tar.gz``."""

    where: str
    folder: Path
    members: dict[str, bytes] | None = None

    def path(self, name: str) -> Path:
        """Return where the file ``name`` is, for a message."""
        return self.folder / name

    def open(self, name: str) -> BinaryIO:
        """Open the file ``name``.

        Raises:
            DataError: it is missing, not readable, or not a regular file.
        """
        if self.members is not None:
            if name not in self.members:
                raise DataError(f"{self.where}: has no {self.folder.name}/{name}; download it again")
            return io.BytesIO(self.members[name])
        if name not in names_in(self.folder):
            raise DataError(f"{self.folder / name}: missing; extract the complete official archive")
        regular_file(self.folder / name)
        return (self.folder / name).open("rb")

    def read(self, name: str) -> bytes:
        """Return the content of the file ``name``."""
        with self.open(name) as stream:
            return stream.read(MAX_BYTES)


def files_in(folder: Path, name: str, wanted: Collection[str]) -> Files | None:
    """Return the files in ``folder/name``, or in ``folder`` itself; None if neither has them."""
    for candidate in (folder, folder / name):
        if not is_folder(candidate):
            continue
        named = candidate.name == name  # may be incomplete: the reader checks it
        if named or set(wanted) <= set(names_in(candidate)):
            return Files(str(candidate), candidate)
    return None


def files_in_tar(file: Path, name: str, wanted: Collection[str]) -> Files:
    """Read the members ``name/…`` that are ``wanted`` into memory; nothing is extracted, other members are ignored.

    Raises:
        DataError: the file is not a readable ``tar.gz``, or its content is too large.
    """
    regular_file(file)
    members: dict[str, bytes] = {}
    try:
        with gzip.open(file) as content, tarfile.open(fileobj=cast(Any, _Limited(content, file)), mode="r|") as tar:
            for member in tar:
                folder, _, leaf = member.name.removeprefix("./").rpartition("/")
                if folder != name or leaf not in wanted or not member.isreg():
                    continue
                stream = tar.extractfile(member)
                members[leaf] = stream.read() if stream else b""
                if members.keys() == set(wanted):
                    break
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{file}: not a readable tar.gz ({first_line(error)}); download it again") from error
    return Files(str(file), file / name, members)


class _Limited:
    """A stream that ends with an error after :data:`MAX_BYTES`: a small archive can expand to very much data."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, file: Path) -> None:
        self._stream, self._file, self._left = stream, file, MAX_BYTES

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes."""
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise DataError(
                f"{self._file}: has more than {MAX_BYTES >> 20:,} MB when it is extracted; download it again"
            )
        return content


def pixels_of_planes(planes: np.ndarray) -> Images:
    """Return ``[N, 3·32·32]``, three planes per row (red, green, blue), as ``[N, 32, 32, 3]``."""
    return np.ascontiguousarray(planes.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
