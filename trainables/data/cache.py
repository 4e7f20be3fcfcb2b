"""Decoded data sets on disk, so that 60,000 PNGs are decoded once and not at every start.

An entry is a folder named by the content of its source: four ``.npy`` files and ``entry.json``. It is written aside
and renamed into place, so it is there whole or not at all; two processes at once do the work twice and do no harm.
It is believed only if its bytes still have the digest that was written with them.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.data.image_arrays import LabelledImages

# Raise it when an entry's layout, or the way of decoding, changes: older entries are then passed by.
LAYOUT = 1
DESCRIPTION = "entry.json"

_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_log = logging.getLogger(__name__)


def default_cache_dir() -> Path:
    """``$LENET_SWEEP_CACHE``, else ``$XDG_CACHE_HOME/lenet-sweep``, else ``~/.cache/lenet-sweep``."""
    if own := os.environ.get("LENET_SWEEP_CACHE"):
        return Path(own).expanduser()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg).expanduser() / "lenet-sweep"
    return Path.home() / ".cache" / "lenet-sweep"


@dataclass(frozen=True)
class DataCache:
    """The entries under one folder, which is made when it is first needed."""

    folder: Path

    def entry(self, key: str) -> Path:
        """The folder of the entry ``key``, whether it is there or not."""
        return self.folder / f"{key}-v{LAYOUT}"

    def holds(self, key: str) -> bool:
        """Tell whether the entry ``key`` is there; its content is not checked."""
        return (self.entry(key) / DESCRIPTION).is_file()

    def load_or_build(self, key: str, build: Callable[[], LabelledImages]) -> LabelledImages:
        """Return the entry ``key``; where there is none that can be believed, ``build`` it and store it.

        The arrays of a stored entry are memory-mapped, read-only. A cache that cannot be written costs time and no
        result, so it is a warning in the log and not an error; what ``build`` raises goes through.
        """
        entry = self.entry(key)
        try:
            return _read(entry)
        except (FileNotFoundError, NotADirectoryError):
            _log.info("decoding the data set once, to be kept in %s", entry)
        except Exception as error:  # torn bytes can raise anything at all from inside np.load
            _log.warning("%s cannot be used (%s), decoding the data set again", entry, error)

        images = build()
        try:
            with self._aside() as aside:
                new = Path(aside, "new")
                _write(images, new)
                _publish(new, entry, Path(aside, "old"))
        except OSError as error:
            _log.warning(
                "cannot keep the decoded data set in %s (%s), so every start decodes it again; "
                "set LENET_SWEEP_CACHE to a folder that can be written",
                self.folder,
                error.strerror or error,
            )
        return images

    def workspace(self) -> tempfile.TemporaryDirectory[str]:
        """A folder for a download, to be used in ``with``: here if this folder can be written, else the system's."""
        try:
            return self._aside()
        except OSError:
            return tempfile.TemporaryDirectory(prefix="lenet-sweep-")

    def _aside(self) -> tempfile.TemporaryDirectory[str]:
        """A private folder on the entries' own file system: a rename from it is atomic."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".aside-", dir=self.folder, ignore_cleanup_errors=True)


def _read(entry: Path) -> LabelledImages:
    description = json.loads((entry / DESCRIPTION).read_text(encoding="utf-8"))
    # Mapped, not read: the caller copies what it needs, and the digest below touches every page once.
    arrays = {name: np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS}
    images = LabelledImages(**arrays, class_names=tuple(description["class_names"]))
    if images.digest != description["digest"]:
        raise ValueError("its bytes do not have the digest that was written with them")
    return images


def _write(images: LabelledImages, folder: Path) -> None:
    folder.mkdir()
    for name in _ARRAYS:
        np.save(folder / f"{name}.npy", getattr(images, name), allow_pickle=False)
    description = {"digest": images.digest, "class_names": images.class_names}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")


def _publish(new: Path, entry: Path, old: Path) -> None:
    """Rename ``new`` to ``entry``; what stands there goes to ``old``, to be deleted with its folder."""
    try:
        new.rename(entry)
    except OSError:
        if not entry.is_dir():
            raise
        # A damaged entry, or one that another process has published meanwhile. If yet another one wins the
        # next race, then its entry stands, and is as good: both were made from the same content.
        with suppress(OSError):
            entry.rename(old)
            new.rename(entry)
