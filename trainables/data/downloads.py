"""Data sets that torchvision downloads: CIFAR-100, CIFAR-10, SVHN and Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.errors import DataError
from trainables.data.cifar_archives import find_archive
from trainables.data.cifar_layouts import CIFAR10, CIFAR100, Cifar
from trainables.data.idx_files import find_idx
from trainables.data.source import ReadOptions, Source
from trainables.data.svhn_files import find_svhn
from trainables.data.vision import import_torchvision


@dataclass(frozen=True)
class Download:
    """A data set of torchvision, and the format that finds its files."""

    dataset: str  # the name of torchvision's class
    title: str
    find: Callable[[Path, ReadOptions], Source | None]
    files: str  # what a folder with the data holds, for a message
    key: str  # of the cache; torchvision checks the files against MD5 sums, so the name identifies the content
    cifar: Cifar | None = None  # the data set, if it has several kinds of labels or can have
    parts: tuple[Mapping[str, Any], ...] = ({"train": False},)  # arguments of the class that download everything

    def coarse(self, labels: str) -> bool:
        """Return whether the spec's ``labels`` name the coarse labels.

        Raises:
            DataError: the data set has no such labels.
        """
        if self.cifar is not None:
            return self.cifar.chosen(labels, self.title) is self.cifar.labels.get("coarse")
        if labels:
            raise DataError(f"{self.title}: labels = {labels!r}; it has one kind of labels; remove the key")
        return False

    def fetch(self, into: Path) -> Path:
        """Download the files into the folder ``into`` and check their MD5 sums; return the folder.

        Raises:
            DataError: the address cannot be reached, the folder cannot be written, or an MD5 sum is wrong.
            EnvironmentMismatchError: torchvision does not match torch.
        """
        dataset = getattr(import_torchvision("datasets"), self.dataset)
        try:
            for arguments in self.parts:
                dataset(str(into), download=True, **arguments)
        except (OSError, RuntimeError) as error:  # no route, no space; a wrong MD5 sum
            reason = " ".join(str(error).split())
            address = getattr(dataset, "url", "") or self.title
            raise DataError(
                f"{self.title}: cannot download {address} ({reason}); connect to the internet, or set the data source "
                f"to a folder with {self.files}"
            ) from error
        return into


# The MD5 sum of the archive of CIFAR-100 is in its key because entries of earlier versions have it.
DOWNLOADS = {
    "cifar100": Download(
        "CIFAR100",
        "CIFAR-100",
        find_archive,
        f"{CIFAR100.pickles}/ or with the train and test Parquet files",
        "official-eb9058c3a382ffc7106e4002c42a8d85",
        CIFAR100,
    ),
    "cifar10": Download("CIFAR10", "CIFAR-10", find_archive, f"{CIFAR10.pickles}/", "official-cifar10", CIFAR10),
    "svhn": Download(
        "SVHN",
        "SVHN",
        find_svhn,
        "train_32x32.mat and test_32x32.mat",
        "official-svhn",
        parts=({"split": "train"}, {"split": "test"}),
    ),
    "fashion-mnist": Download(
        "FashionMNIST",
        "Fashion-MNIST",
        find_idx,
        "FashionMNIST/raw/",
        "official-fashion-mnist",
    ),
}
"""Name of a data source → how it is downloaded."""
