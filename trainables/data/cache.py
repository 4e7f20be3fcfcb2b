"""Decoded data sets on disk, so that 60,000 PNGs are decoded once and not at every start.

An entry is a folder named after the content of its source: four ``.npy`` files and ``entry.json``. It is written to
a private folder and renamed, so a reader sees a complete entry or none. Two processes at once both decode the data,
and the result is the same. An entry is used only if its arrays have the digest in ``entry.json``.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.data.image_arrays import LabelledImages

# Increase it when the layout of an entry or the decoding changes: older entries are then ignored.
LAYOUT = 1
DESCRIPTION = "entry.json"

_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataCache:
    """The entries in one folder, which is created when the first entry is written."""

    folder: Path

    def entry(self, key: str) -> Path:
        """Return the folder of the entry ``key``, which may not exist."""
        return self.folder / f"{key}-v{LAYOUT}"

    def holds(self, key: str) -> bool:
        """Return whether the entry ``key`` exists; its content is not checked."""
        return (self.entry(key) / DESCRIPTION).is_file()

    def load_or_build(self, key: str, build: Callable[[], LabelledImages]) -> LabelledImages:
        """Return the entry ``key``; if it is missing or damaged, call ``build`` and store the result.

        The arrays of a stored entry are memory-mapped, read-only. A cache that cannot be written is a warning in the
        log and not an error, because it only costs time. Exceptions of ``build`` are raised.
        """
        entry = self.entry(key)
        try:
            return _read(entry)
        except (FileNotFoundError, NotADirectoryError):
            _log.info("decoding the data set once and storing it in %s", entry)
        except Exception as error:  # np.load may raise any exception on damaged bytes
            _log.warning("%s cannot be used (%s); decoding the data set again", entry, error)

        images = build()
        try:
            with self._private_folder() as private:
                new = Path(private, "new")
                _write(images, new)
                _publish(new, entry, Path(private, "old"))
        except OSError as error:
            _log.warning(
                "cannot store the decoded data set in %s (%s), so every start decodes it again; "
                "set LENET_SWEEP_CACHE to a writable folder",
                self.folder,
                error.strerror or error,
            )
        return images

    def workspace(self) -> tempfile.TemporaryDirectory[str]:
        """Return a temporary folder for a download: in this folder if it is writable, else in the system's."""
        try:
            return self._private_folder()
        except OSError:
            return tempfile.TemporaryDirectory(prefix="lenet-sweep-")

    def _private_folder(self) -> tempfile.TemporaryDirectory[str]:
        """Return a temporary folder on the file system of the entries: a rename from it is atomic."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".aside-", dir=self.folder, ignore_cleanup_errors=True)


def _read(entry: Path) -> LabelledImages:
    description = json.loads((entry / DESCRIPTION).read_text(encoding="utf-8"))
    # Memory-mapped: the caller copies what it needs, and the digest below reads every page once.
    arrays = {name: np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS}
    images = LabelledImages(
        **arrays, class_names=tuple(description["class_names"]), notes=tuple(description.get("notes", ()))
    )
    if images.digest != description["digest"]:
        raise ValueError("its arrays do not have the digest in entry.json")
    return images


def _write(images: LabelledImages, folder: Path) -> None:
    folder.mkdir()
    for name in _ARRAYS:
        np.save(folder / f"{name}.npy", getattr(images, name), allow_pickle=False)
    description = {"digest": images.digest, "class_names": images.class_names, "notes": images.notes}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")


def _publish(new: Path, entry: Path, old: Path) -> None:
    """Rename ``new`` to ``entry``; an existing entry is moved to ``old``, which is deleted with its folder."""
    try:
        new.rename(entry)
    except OSError:
        if not entry.is_dir():
            raise
        # A damaged entry, or one that another process has just published. If a third process publishes between
        # the two renames, its entry stays: both have the same content.
        with suppress(OSError):
            entry.rename(old)
            new.rename(entry)
