"""The official archive of CIFAR-100: three pickles in ``cifar-100-python/``, downloaded or in a given folder.

Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009; https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.errors import DataError
from trainables.data.image_arrays import (
    SIDE,
    Images,
    LabelledImages,
    Labels,
    check_class_names,
    check_images,
    check_labels,
)
from trainables.data.vision import import_torchvision

FOLDER = "cifar-100-python"
FILES = ("train", "test", "meta")


def _dtype(name: str, align: int = 0, copy: int = 1) -> np.dtype[Any]:
    """Return a dtype from the arguments in old pickles: numpy 2.4.0 to 2.4.4 warn about 0 and 1 as booleans."""
    return np.dtype(name, align=bool(align), copy=bool(copy))


# Everything that a pickled array needs, under the names of numpy 1 (the official archive) and of numpy 2.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
}


def find_archive(folder: Path) -> Path | None:
    """Return the folder of the pickles: ``folder`` itself, its ``cifar-100-python``, or None."""
    for candidate in (folder, folder / FOLDER):
        named = candidate.name == FOLDER and candidate.is_dir()  # may be incomplete: read_archive checks it
        if named or all((candidate / name).is_file() for name in FILES):
            return candidate
    return None


def download_archive(into: Path) -> Path:
    """Download the archive (161 MB) into the folder ``into``, check its MD5 sums and extract it; return its folder.

    Raises:
        DataError: the address cannot be reached, the folder cannot be written, or an MD5 sum is wrong.
        EnvironmentMismatchError: torchvision does not match torch.
    """
    cifar100 = import_torchvision("datasets").CIFAR100
    try:
        cifar100(str(into), train=False, download=True)
    except (OSError, RuntimeError) as error:  # no route, no space; a wrong MD5 sum
        reason = " ".join(str(error).split())
        raise DataError(
            f"cifar100: cannot download {cifar100.url} ({reason}); connect to the internet, or set the data source "
            f"to a folder with {FOLDER}/ or with the train and test Parquet files"
        ) from error
    return into / FOLDER


def read_archive(folder: Path) -> LabelledImages:
    """Read the pickles in ``folder`` (about 1 s); no code in them is executed.

    Raises:
        DataError: a file is missing, damaged, of another shape, or holds other objects than arrays.
    """
    meta = _unpickle(folder / "meta", ("fine_label_names",))
    class_names = check_class_names(meta["fine_label_names"], f"{folder / 'meta'}, 'fine_label_names'")
    train_images, train_labels = _read_part(folder / "train")
    test_images, test_labels = _read_part(folder / "test")
    return LabelledImages(train_images, train_labels, test_images, test_labels, class_names)


def _read_part(file: Path) -> tuple[Images, Labels]:
    batch = _unpickle(file, ("data", "fine_labels"))
    planes = batch["data"]
    if not isinstance(planes, np.ndarray) or planes.ndim != 2 or planes.shape[1] != 3 * SIDE * SIDE:
        found = list(planes.shape) if isinstance(planes, np.ndarray) else type(planes).__name__
        raise DataError(f"{file}: 'data' is {found}; expected [N, {3 * SIDE * SIDE}] (32×32 RGB); extract it again")
    # A row is three planes, red, green, blue: [N, 3·32·32] → [N, 32, 32, 3].
    pixels = planes.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    images = check_images(np.ascontiguousarray(pixels), f"{file}, 'data'")
    return images, check_labels(batch["fine_labels"], len(images), f"{file}, 'fine_labels'")


class _ArraysOnly(pickle.Unpickler):
    """Builds lists, dicts, strings, numbers and numpy arrays; any other class is refused without an import."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {module_name}.{global_name}") from None


def _unpickle(file: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the dict in ``file``, which has ``keys``; latin1, because Python 2 wrote the official files."""
    try:
        with file.open("rb") as stream:
            content = _ArraysOnly(stream, encoding="latin1").load()
    except FileNotFoundError as error:
        raise DataError(f"{file}: missing; extract the complete official archive") from error
    except Exception as error:  # the unpickler may raise any exception on damaged bytes
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{file}: not a pickle of the official archive ({reason}); extract cifar-100-python.tar.gz again"
        ) from error
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            raise DataError(f"{file}: it has no '{key}'; extract cifar-100-python.tar.gz again")
    return content
