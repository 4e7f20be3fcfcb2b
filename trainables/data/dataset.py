"""The data set from any source: training, validation and test images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search_spaces.errors import DataError
from trainables.data.cache import DataCache, default_cache_dir
from trainables.data.cifar_archive import download_archive, find_archive, read_archive
from trainables.data.cifar_parquet import has_parquet, parquet_key, read_parquet
from trainables.data.image_arrays import Images, LabelledImages, Labels
from trainables.data.synthetic import is_synthetic, make_synthetic, parse_synthetic

# Part of the protocol, not of a run: every seed is validated on the same images.
SPLIT_SEED = 20090408

# torchvision checks the download against this MD5 sum, so it identifies the content before the download.
OFFICIAL_KEY = "official-eb9058c3a382ffc7106e4002c42a8d85"


@dataclass(frozen=True)
class DataSet:
    """Images uint8 ``[N, 32, 32, 3]`` and labels int64 ``[N]`` in 0..99, each array contiguous.

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


def load_data(source: str, *, val_fraction: float = 0.1, cache_dir: Path | None = None) -> DataSet:
    """Load a data set and split its training part for validation, stratified by fine class.

    Args:
        source: ``cifar100`` (downloaded once); a folder with Parquet shards or the extracted official archive; or
            ``synthetic``, with options as in ``synthetic:n_train=4000,n_test=1000,seed=0``.
        val_fraction: share of the training images of each class that is used for validation, in (0, 1).
        cache_dir: where decoded images are stored; default ``$LENET_SWEEP_CACHE``, else the user's cache folder.

    Raises:
        DataError: the source is unknown, missing, damaged or of another shape, or a part of the split is empty.
        EnvironmentMismatchError: a download needs torchvision, which does not match torch.
    """
    if not 0 < val_fraction < 1:
        raise DataError(f"val_fraction: {val_fraction} is not between 0 and 1; the default is 0.1")
    name, images = _load_images(source, DataCache(cache_dir or default_cache_dir()))

    val_rows = validation_rows(images.train_labels, val_fraction)
    train_rows = np.setdiff1d(np.arange(len(images.train_labels)), val_rows, assume_unique=True)
    if not len(val_rows) or not len(train_rows):
        raise DataError(
            f"{source}: val_fraction {val_fraction} of {len(images.train_labels)} training images leaves "
            f"{len(train_rows)} for training and {len(val_rows)} for validation; change the size or val_fraction"
        )
    split = val_rows.astype("<i8").tobytes()
    return DataSet(
        name=name,
        synthetic=is_synthetic(source),
        train_images=images.train_images[train_rows],
        train_labels=images.train_labels[train_rows],
        val_images=images.train_images[val_rows],
        val_labels=images.train_labels[val_rows],
        test_images=np.array(images.test_images),  # a copy: a cache entry may be memory-mapped
        test_labels=np.array(images.test_labels),
        fingerprint=hashlib.sha256(images.numbers_digest.encode() + split).hexdigest(),
        class_names=images.class_names,
    )


def validation_rows(labels: Labels, val_fraction: float) -> npt.NDArray[np.int64]:
    """Return the validation rows, ascending: ``round(val_fraction · count)`` per class, drawn with ``SPLIT_SEED``."""
    generator = np.random.Generator(np.random.PCG64(SPLIT_SEED))
    chosen = [np.empty(0, np.int64)]
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        chosen.append(rows[: round(val_fraction * len(rows))])
    return np.sort(np.concatenate(chosen))


def _load_images(source: str, cache: DataCache) -> tuple[str, LabelledImages]:
    """Return the name of the source and all its images."""
    if is_synthetic(source):
        return "synthetic", make_synthetic(parse_synthetic(source))
    if source == "cifar100":
        return source, cache.load_or_build(OFFICIAL_KEY, lambda: _download(cache))
    folder = Path(source).expanduser().resolve()
    if not source or not folder.is_dir():
        raise DataError(
            f"data source {source!r}: neither a known name nor an existing folder; use 'cifar100', 'synthetic', or a "
            f"folder with the Parquet files or the extracted official archive of CIFAR-100"
        )
    if has_parquet(folder):
        return str(folder), cache.load_or_build(f"parquet-{parquet_key(folder)}", lambda: read_parquet(folder))
    if archive := find_archive(folder):
        return str(folder), read_archive(archive)  # nearly as fast as a cache entry, so it is not cached
    raise DataError(
        f"{folder}: holds neither train-*.parquet and test-*.parquet nor cifar-100-python/; use another folder"
    )


def _download(cache: DataCache) -> LabelledImages:
    with cache.workspace() as folder:
        return read_archive(download_archive(Path(folder)))
