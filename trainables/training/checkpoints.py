"""A pack's state in a folder or a bucket: there whole or not at all, checksummed, two kept.

No pickle that could run code is read.

Who takes a pack up owns its folder from then on. A process that still trains for a driver that is dead, or for an
attempt that was given up for lost, is refused at its next checkpoint and ends.
"""

from __future__ import annotations

import hashlib
import io
import re
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from search_spaces.errors import StorageError
from trainables.storage.folder import FolderStorage
from trainables.storage.interface import Storage

MAGIC = b"lenet-sweep checkpoint 1\n"
DIGEST_BYTES = 32
KEPT = 2
OWNER = "owner"
_NAME = re.compile(r"epoch(\d{6,})-step(\d{8,})\.ckpt")


class CheckpointError(OSError):
    """A checkpoint could not be read or written: no fault of the runs, but of the place."""


class SupersededError(RuntimeError):
    """Another process has taken the pack up: what this one trains is trained there."""


class Checkpoints:
    """The checkpoints of one pack, in one folder, or under one prefix of a bucket."""

    def __init__(self, place: Path | Storage) -> None:
        self._storage = FolderStorage(place) if isinstance(place, Path) else place
        self._token: str | None = None

    def _files(self) -> list[str]:
        """The names of all files that are named like checkpoints, the latest epoch and step first."""
        found = ((_NAME.fullmatch(name), name) for name in self._storage.names())
        moments = [((int(match[1]), int(match[2])), name) for match, name in found if match]
        return [name for _, name in sorted(moments, reverse=True)]

    def take_up(self) -> dict[str, Any] | None:
        """Become the only one that may save here, clear what a killed writer left, and return :meth:`newest`.

        Raises:
            CheckpointError: the place cannot be written, or one of its files cannot be read.
        """
        self._token = uuid.uuid4().hex
        with as_checkpoint_error():
            self._storage.write(OWNER, self._token.encode("ascii"))
            self._storage.clear_unfinished()
        return self.newest()

    def save(self, state: Mapping[str, Any]) -> str:
        """Write ``state`` (see ``Pack.state_dict``); it and the latest one before it are kept; return its file's name.

        Raises:
            CheckpointError: the place cannot be written; what stood there still stands.
            SupersededError: another process has taken the pack up since.
        """
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        payload = buffer.getvalue()
        name = f"epoch{state['epoch']:06d}-step{state['step_in_epoch']:08d}.ckpt"
        with as_checkpoint_error():
            self._storage.write(name, MAGIC + hashlib.sha256(payload).digest() + payload, self._check_owner)
            self._drop_others(name)
        return name

    def _check_owner(self) -> None:
        """Refuse to write for somebody else's heir. (A bucket leaves an instant in between, with the same bits.)"""
        owner = self._storage.read(OWNER) if self._token else None
        if owner is not None and owner.decode("ascii", errors="replace") != self._token:
            raise SupersededError(f"{self._storage.uri}: another process has taken this pack up; this one ends")

    def _drop_others(self, name: str) -> None:
        """Keep ``name`` and the one before it. A later one was damaged, or training would have gone on from it."""
        files = self._files()
        kept = files[files.index(name) :][:KEPT] if name in files else files
        for old in files:
            if old not in kept:
                self._storage.delete(old)

    def newest(self) -> dict[str, Any] | None:
        """Return the newest state that can be believed, or None where there is none.

        Raises:
            CheckpointError: a file is there and cannot be read now; it may be sound.
        """
        with as_checkpoint_error():
            for name in self._files():
                content = self._storage.read(name)
                state = None if content is None else parse_checkpoint(content)
                if state is not None:
                    return state
        return None


@contextmanager
def as_checkpoint_error() -> Iterator[None]:
    """Raise a :class:`CheckpointError` for what the storage raises: a trial tells it from a fault of its runs."""
    try:
        yield
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.strerror:  # a write that finds no space does not say where
            raise CheckpointError(cause.errno, cause.strerror, str(error)) from error
        raise CheckpointError(str(error)) from error


def parse_checkpoint(content: bytes) -> dict[str, Any] | None:
    """Return the state in a file's ``content``; None where it is torn, changed, or no checkpoint of ours."""
    head, payload = content[: len(MAGIC) + DIGEST_BYTES], content[len(MAGIC) + DIGEST_BYTES :]
    if head != MAGIC + hashlib.sha256(payload).digest():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch wonders at a strange pickle before it refuses
            state = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
    except MemoryError:
        raise
    except Exception:  # bytes that somebody gave a checksum raise anything at all from inside torch.load
        return None
    return state if isinstance(state, dict) and {"epoch", "step_in_epoch"} <= state.keys() else None
