"""The data set from any source: training, validation and test images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search_spaces.errors import DataError
from trainables.data.cache import DataCache
from trainables.data.cifar_archives import find_archive
from trainables.data.class_folders import find_class_folders
from trainables.data.downloads import DOWNLOADS, Download
from trainables.data.files import is_folder, names_in
from trainables.data.idx_files import find_idx
from trainables.data.image_arrays import (
    MAX_IMAGES,
    Images,
    LabelledImages,
    Labels,
    check_count,
    check_images,
    count_repeats,
)
from trainables.data.parquet_files import find_parquet
from trainables.data.source import ReadOptions, Source
from trainables.data.svhn_files import find_svhn
from trainables.data.synthetic import NAME, check_size, is_synthetic, make_synthetic
from trainables.runtime.cache_folder import default_cache_dir

# Part of the protocol, not of a run: every seed is validated on the same images.
SPLIT_SEED = 20090408

OFFICIAL_KEY = DOWNLOADS["cifar100"].key


FORMATS = (find_parquet, find_archive, find_svhn, find_idx, find_class_folders)
"""The formats of a folder. The first one that finds something is read."""

LAYOUTS = (
    "train-*.parquet and test-*.parquet, cifar-100-python/ or cifar-10-batches-py/ (also binary, or as tar.gz), "
    "class folders in train/ and test/, or the files of SVHN or Fashion-MNIST"
)


@dataclass(frozen=True)
class DataSet:
    """Images uint8 ``[N, 32, 32, 3]`` and labels int64 ``[N]`` in 0..C-1, each array contiguous.

    ``fingerprint`` is the SHA-256 (hex) of pixels, labels and split: only runs with the same fingerprint are
    comparable.
    """

    name: str  # "cifar100", "synthetic" or the path of the folder
    synthetic: bool
    train_images: Images
    train_labels: Labels
    val_images: Images
    val_labels: Labels
    test_images: Images
    test_labels: Labels
    fingerprint: str
    class_names: tuple[str, ...]
    title: str = "CIFAR-100"  # the name of the data set in a text: "CIFAR-10", or the name of the folder
    notes: tuple[str, ...] = ()  # which files were read, the number of classes, and what is unusual

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)


def load_data(
    source: str,
    *,
    val_fraction: float = 0.1,
    labels: str = "",
    max_images: int = MAX_IMAGES,
    cache_dir: Path | None = None,
) -> DataSet:
    """Load a data set and split its training part for validation, stratified by class.

    Args:
        source: one of :data:`DOWNLOADS`, such as ``cifar100`` (downloaded once); a folder in one of the
            :data:`FORMATS`; or ``synthetic``, with options as in ``synthetic:n_train=4000,n_test=1000,seed=0``.
        val_fraction: share of the training images of each class that is used for validation, in (0, 1).
        labels: which labels of a source that has several: ``fine``, ``coarse``, or a column of Parquet files.
        max_images: largest number of training and test images; a larger source is refused before it is read.
        cache_dir: where decoded images are stored; default ``$LENET_SWEEP_CACHE``, else the user's cache folder.

    Raises:
        DataError: the source is unknown, missing, damaged or of another shape, or a part of the split is empty.
        EnvironmentMismatchError: a download needs torchvision, which does not match torch.
    """
    if not 0 < val_fraction < 1:
        raise DataError(f"val_fraction: {val_fraction} is not between 0 and 1; the default is 0.1")
    options = ReadOptions(labels, max_images)
    try:
        loaded = _load(source, options, DataCache(cache_dir or default_cache_dir()))
    except OSError as error:  # a folder or file that changed or was removed while it was read
        raise DataError(f"{source}: {error.filename or ''} {error.strerror or error}; make it readable") from error
    except MemoryError as error:
        raise DataError(f"{source}: does not fit into memory; use fewer images") from error
    images = loaded.images
    check_images(images.train_images, f"{source}, training part")
    check_images(images.test_images, f"{source}, test part")
    check_count(len(images.train_labels) + len(images.test_labels), max_images, source)

    val_rows = validation_rows(images.train_labels, val_fraction)
    train_rows = np.setdiff1d(np.arange(len(images.train_labels)), val_rows, assume_unique=True)
    if not len(val_rows) or not len(train_rows):
        raise DataError(
            f"{source}: val_fraction {val_fraction} of {len(images.train_labels)} training images leaves "
            f"{len(train_rows)} for training and {len(val_rows)} for validation; change the size or val_fraction"
        )
    split = val_rows.astype("<i8").tobytes()
    return DataSet(
        name=loaded.name,
        synthetic=is_synthetic(source),
        train_images=images.train_images[train_rows],
        train_labels=images.train_labels[train_rows],
        val_images=images.train_images[val_rows],
        val_labels=images.train_labels[val_rows],
        test_images=np.array(images.test_images),  # a copy: a cache entry may be memory-mapped
        test_labels=np.array(images.test_labels),
        fingerprint=hashlib.sha256(images.numbers_digest.encode() + split).hexdigest(),
        class_names=images.class_names,
        title=loaded.title,
        notes=loaded.notes,
    )


def validation_rows(labels: Labels, val_fraction: float) -> npt.NDArray[np.int64]:
    """Return the validation rows, ascending: ``round(val_fraction · count)`` per class, drawn with ``SPLIT_SEED``."""
    generator = np.random.Generator(np.random.PCG64(SPLIT_SEED))
    chosen = [np.empty(0, np.int64)]
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        chosen.append(rows[: round(val_fraction * len(rows))])
    return np.sort(np.concatenate(chosen))


@dataclass(frozen=True)
class _Loaded:
    """A source with all its images."""

    name: str
    title: str
    images: LabelledImages
    notes: tuple[str, ...] = ()


def _load(source: str, options: ReadOptions, cache: DataCache) -> _Loaded:
    if is_synthetic(source):
        if options.labels:
            raise DataError(
                f"{source}: labels = {options.labels!r}; synthetic data has one kind of labels; remove the key"
            )
        spec = check_size(source, options.max_images)
        return _Loaded("synthetic", "synthetic data", make_synthetic(spec))
    if download := DOWNLOADS.get(source):
        coarse = download.coarse(options.labels)
        images = cache.load_or_build(
            download.key + ("-coarse" if coarse else ""), lambda: _download(cache, download, options)
        )
        title = f"{download.title}{' (coarse labels)' if coarse else ''}"
        classes = [f"{title}: {len(images.class_names)} classes"] if title != "CIFAR-100" else []
        notes = [*classes, *images.notes, *_unusual(images)]
        return _Loaded(source, title, images, tuple(notes))
    try:
        folder = Path(source).expanduser()
    except RuntimeError as error:  # no such user
        raise DataError(f"data source {source!r}: {error}; give the path of a folder") from error
    if not source or not is_folder(folder):
        known = ", ".join(map(repr, (*DOWNLOADS, NAME)))
        raise DataError(
            f"data source {source!r}: neither a known name nor an existing folder; use one of {known}, or a folder "
            "with images (Parquet files, an official archive, or class folders)"
        )
    folder = folder.resolve()
    found, others = _find(folder, options)
    images = cache.load_or_build(found.key(), found.read) if found.key else found.read()
    return _Loaded(str(folder), found.title, images, tuple(_notes(found, others, images)))


def _find(folder: Path, options: ReadOptions) -> tuple[Source, list[Source]]:
    """Return what is read from ``folder``, and what is also there."""
    for i, find in enumerate(FORMATS):
        if source := find(folder, options):
            others = []
            for find_other in FORMATS[i + 1 :]:
                with suppress(DataError):  # it is not read, so it may be incomplete
                    if other := find_other(folder, options):
                        others.append(other)
            return source, others
    names = ", ".join(names_in(folder)[:5])
    raise DataError(f"{folder}: holds no images in a known layout ({names:.80}); expected {LAYOUTS}")


def _notes(source: Source, others: Sequence[Source], images: LabelledImages) -> Iterator[str]:
    """Yield what was read, for the start of a sweep."""
    yield f"{source.title}: {source.taken}, {len(images.class_names)} classes"
    if source.unread:
        yield f"not read: {source.unread}"
    yield from (f"not read: {other.title} ({other.taken})" for other in others)
    yield from images.notes
    yield from _unusual(images)


def _unusual(images: LabelledImages) -> Iterator[str]:
    """Yield notes on classes without a training image, and on test images that are also training images."""
    missing = set(range(len(images.class_names))) - set(np.unique(images.train_labels).tolist())
    if missing:
        yield f"{len(missing)} of {len(images.class_names)} classes have no training image"
    if repeats := count_repeats(images.train_images, images.test_images):
        yield f"{repeats:,} of {len(images.test_images):,} test images are also training images"


def _download(cache: DataCache, download: Download, options: ReadOptions) -> LabelledImages:
    with cache.workspace() as folder:
        found = download.find(download.fetch(Path(folder)), options)
        if found is None:
            raise DataError(f"{download.title}: torchvision downloaded other files than {download.files}")
        return found.read()
