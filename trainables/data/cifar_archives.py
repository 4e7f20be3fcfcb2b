"""Finds the official archives of CIFAR-10 and CIFAR-100 in a folder, in each of their versions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from search_spaces.errors import DataError
from trainables.data.cifar_binary import BINARY, read_binary
from trainables.data.cifar_layouts import CIFAR10, CIFAR100, Cifar, Files, files_in, files_in_tar
from trainables.data.cifar_pickles import PICKLED, read_pickles
from trainables.data.files import names_in, regular_file
from trainables.data.image_arrays import SIDE, LabelledImages, check_count
from trainables.data.source import ReadOptions, Source


@dataclass(frozen=True)
class Version:
    """One data set in one version: the name of its folder and of its ``tar.gz``, its files, and its reader."""

    cifar: Cifar
    name: str  # for the line that is printed
    folder: str
    tar: str
    files: Collection[str]
    read: Callable[[Files, Cifar, ReadOptions], LabelledImages]


VERSIONS = tuple(
    version
    for cifar, base in ((CIFAR100, "cifar-100"), (CIFAR10, "cifar-10"))
    for version in (
        Version(cifar, "Python version", cifar.pickles, f"{base}-python.tar.gz",
                {*PICKLED[cifar][0], *PICKLED[cifar][1:]}, read_pickles),
        Version(cifar, "binary version", cifar.binary, f"{base}-binary.tar.gz",
                {*BINARY[cifar][0], BINARY[cifar][1], *(one.names_file for one in cifar.labels.values())}, read_binary),
    )
)  # fmt: skip


def find_archive(folder: Path, options: ReadOptions) -> Source | None:
    """Find an official archive; see :class:`trainables.data.source.Source`.

    Raises:
        DataError: the folder holds more than one data set.
    """
    found = [source for version in VERSIONS if (source := _found(version, folder, options))]
    titles = {source.title for source in found}
    if len(titles) > 1:
        raise DataError(f"{folder}: holds {' and '.join(sorted(titles))}; name the folder of one of them")
    return found[0] if found else None


def _found(version: Version, folder: Path, options: ReadOptions) -> Source | None:
    files = files_in(folder, version.folder, version.files)
    tar = folder / version.tar
    if files is not None:
        taken = f"{version.name} in {files.folder.name}/"
        size = sum(regular_file(files.path(name)) for name in version.files if name in names_in(files.folder))
    elif version.tar in names_in(folder):
        taken, size = version.tar, regular_file(tar)
    else:
        return None
    labels = version.cifar.chosen(options.labels, str(folder))
    kind = "coarse" if labels is version.cifar.labels.get("coarse") else ""
    check_count(size // (4 * SIDE * SIDE), options.max_images, str(folder))  # an image has 3,072 bytes and a label

    def read() -> LabelledImages:
        opened = files or files_in_tar(tar, version.folder, version.files)
        return version.read(opened, version.cifar, options)

    return Source(
        title=f"{version.cifar.title}{f' ({kind} labels)' if kind else ''}",
        taken=f"{taken}{f', {kind} labels' if kind else ''}",
        read=read,
    )
