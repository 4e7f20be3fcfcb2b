"""A pack's checkpoints in a folder or a bucket: written completely or not at all, with a checksum, two kept.

No pickle that could run code is read.

The resuming process owns the checkpoints. A process that still trains for a dead driver, or for an attempt that was
given up, fails at its next save.
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
    """A checkpoint could not be read or written; no run is the cause."""


class UnreadableStateError(RuntimeError):
    """A state has a value that a checkpoint cannot hold, such as an object; training could not continue from it."""


class SupersededError(RuntimeError):
    """Another process has resumed the pack; this one must end."""


class Checkpoints:
    """The checkpoints of one pack, in one folder, or under one prefix of a bucket."""

    def __init__(self, place: Path | Storage) -> None:
        self._storage = FolderStorage(place) if isinstance(place, Path) else place
        self._token: str | None = None
        self._read_back = False  # whether a checkpoint of this process was read back

    def _files(self) -> list[str]:
        """The names of all files that are named like checkpoints, the latest epoch and step first."""
        found = ((_NAME.fullmatch(name), name) for name in self._storage.names())
        moments = [((int(match[1]), int(match[2])), name) for match, name in found if match]
        return [name for _, name in sorted(moments, reverse=True)]

    def take_up(self) -> dict[str, Any] | None:
        """Become the owner, delete what a killed writer left, and return :meth:`newest`.

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
            CheckpointError: the place cannot be written; the earlier checkpoints are unchanged.
            SupersededError: another process has resumed the pack since.
            UnreadableStateError: the first state of this process could not be read again.
        """
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        payload = buffer.getvalue()
        content = MAGIC + hashlib.sha256(payload).digest() + payload
        if not self._read_back and parse_checkpoint(content) is None:
            raise UnreadableStateError(
                f"{self._storage.uri}: the state of the pack has a value that cannot be read back"
            )
        self._read_back = True
        name = file_name(state["epoch"], state["step_in_epoch"])
        with as_checkpoint_error():
            self._storage.write(name, content, self._check_owner)
            self._drop_others(name)
        return name

    def _check_owner(self) -> None:
        """Refuse to write if another process is the owner. (A bucket has a short race here, with the same bits.)"""
        owner = self._storage.read(OWNER) if self._token else None
        if owner is not None and owner.decode("ascii", errors="replace") != self._token:
            raise SupersededError(f"{self._storage.uri}: another process has taken this pack up; this one ends")

    def _drop_others(self, name: str) -> None:
        """Keep ``name`` and the one before it. A later one was damaged, else training would have resumed from it."""
        files = self._files()
        kept = files[files.index(name) :][:KEPT] if name in files else files
        for old in files:
            if old not in kept:
                self._storage.delete(old)

    def newest(self) -> dict[str, Any] | None:
        """Return the newest valid state, or None where there is none.

        Raises:
            CheckpointError: a file exists and cannot be read now; it may be valid.
        """
        with as_checkpoint_error():
            for name in self._files():
                content = self._storage.read(name)
                state = None if content is None else parse_checkpoint(content)
                if state is not None and is_consistent(state, name):
                    return state
        return None


@contextmanager
def as_checkpoint_error() -> Iterator[None]:
    """Raise a :class:`CheckpointError` for errors of the storage, to tell them from errors of the runs."""
    try:
        yield
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.strerror:  # an error without space does not name the file
            raise CheckpointError(cause.errno, cause.strerror, str(error)) from error
        raise CheckpointError(str(error)) from error


def parse_checkpoint(content: bytes) -> dict[str, Any] | None:
    """Return the state in a file's ``content``; None where it is torn, changed, or no checkpoint of ours."""
    head, payload = content[: len(MAGIC) + DIGEST_BYTES], content[len(MAGIC) + DIGEST_BYTES :]
    if head != MAGIC + hashlib.sha256(payload).digest():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about an unknown pickle before it refuses it
            state = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
    except MemoryError:
        raise
    except Exception:  # torch.load can raise any exception for changed bytes
        return None
    return state if isinstance(state, dict) and {"epoch", "step_in_epoch"} <= state.keys() else None


def is_consistent(state: Mapping[str, Any], name: str) -> bool:
    """Return whether a state's epoch and step are those of its file's name, and of the rows and rates of its runs.

    A run that did not diverge has one row for each finished epoch and one rate for each step of the present epoch. A
    state with another number would end the training too early.
    """
    epoch, step = state["epoch"], state["step_in_epoch"]
    if not (type(epoch) is int and type(step) is int and name == file_name(epoch, step)):
        return False
    try:
        return all(_has_its_rows(member, epoch, step) for member in state.get("members", ()))
    except (KeyError, TypeError, AttributeError):
        return False


def _has_its_rows(member: Mapping[str, Any], epoch: int, step: int) -> bool:
    rows, diverged = member["rows"], member["diverged_epoch"]
    if diverged is None:
        consistent = len(rows) == epoch and len(member["rates"]) == step
    else:
        consistent = len(rows) == diverged - 1 <= epoch
    return consistent and all(row["epoch"] == number for number, row in enumerate(rows, start=1))


def file_name(epoch: int, step: int) -> str:
    """Return the name of the checkpoint after ``epoch`` epochs and ``step`` steps of the next one."""
    return f"epoch{epoch:06d}-step{step:08d}.ckpt"
