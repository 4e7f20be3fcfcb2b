"""Removal of a sweep's folder, or of the checkpoints of its finished runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from results.ledger.ledger import Ledger
from search_spaces.errors import SweepFolderError
from search_spaces.plain_text import counted
from sweep.folder.lease import Lease
from sweep.folder.lease_places import FolderLease
from sweep.folder.paths import SweepFolder

FINISHED = ("done", "diverged")


@dataclass(frozen=True)
class Removal:
    """What is removed: folders, their size in bytes, and a description for the user."""

    paths: tuple[Path, ...]
    size: int
    described: str

    @classmethod
    @contextmanager
    def of(cls, folder: SweepFolder, *, checkpoints_only: bool) -> Iterator[Removal]:
        """Yield what is removed, and hold the lease of the sweep meanwhile: no process can train it.

        Raises:
            LedgerError: the sweep is running.
            SweepFolderError: the folder is a link.
        """
        if folder.path.is_symlink():
            raise SweepFolderError(f"{folder.path}: is a link; remove its target by hand, then the link")
        with Lease(FolderLease(folder.lock)):
            if checkpoints_only:
                paths = tuple(_finished_checkpoints(folder))
                described = f"the checkpoints of {counted(len(paths), 'finished pack')} of {folder.name}"
            else:
                paths = (folder.path,)
                described = f"{folder.path} with all results"
            yield cls(paths, sum(map(_size, paths)), described)

    def remove(self) -> None:
        """Remove it.

        Raises:
            SweepFolderError: a folder cannot be removed.
        """
        for path in self.paths:
            try:
                shutil.rmtree(path)
            except OSError as error:
                raise SweepFolderError(f"{error.filename}: cannot be removed ({error.strerror})") from error


def megabytes(size: int) -> str:
    """Return a size in bytes in megabytes, with one decimal below ten."""
    value = size / 1e6
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _finished_checkpoints(folder: SweepFolder) -> Iterator[Path]:
    """Yield the checkpoints of each pack of which every run is finished."""
    with Ledger.open_read_only(folder.ledger) as ledger:
        statuses = dict(ledger.rows("SELECT run_id, status FROM run_statuses", {}))
        packs = ledger.rows("SELECT DISTINCT pack_id, members FROM attempts ORDER BY pack_id", {})
    members: dict[str, set[str]] = {}
    for pack_id, run_ids in packs:
        members.setdefault(pack_id, set()).update(json.loads(run_ids))
    for pack_id, run_ids in members.items():
        path = folder.pack_checkpoints(pack_id)
        if path.is_dir() and all(statuses.get(run_id) in FINISHED for run_id in run_ids):
            yield path


def _size(path: Path) -> int:
    """Return the bytes of all files below ``path``."""
    return sum(Path(place, name).lstat().st_size for place, _, names in os.walk(path) for name in names)
