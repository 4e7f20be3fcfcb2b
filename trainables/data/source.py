"""What a folder holds: the small interface that every format has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainables.data.image_arrays import MAX_IMAGES, LabelledImages


@dataclass(frozen=True)
class ReadOptions:
    """How a folder is read: which labels, where there are several, and the largest number of images."""

    labels: str = ""  # empty: the only labels, or the fine ones; "coarse"; or the name of a column
    max_images: int = MAX_IMAGES


@dataclass(frozen=True)
class Source:
    """Data that a format found in a folder.

    A format is a function ``find(folder, options)`` that returns a source, or None if the folder holds something else.
    It reads names and metadata only; ``read`` reads the images.
    """

    title: str  # the name of the data set: "CIFAR-10", or the folder's name
    taken: str  # which files and labels are read, for the line that is printed
    read: Callable[[], LabelledImages]
    unread: str = ""  # files of the same format that are not read
    key: Callable[[], str] | None = None  # identifies the content in the cache; None: reading is as fast as the cache
