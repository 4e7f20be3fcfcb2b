"""A pack's state on disk: written aside, checksummed, renamed, two kept; no pickle that could run code is read.

Who takes a pack up owns its folder from then on. A process that still trains for a driver that is dead, or for an
attempt that was given up for lost, is refused at its next checkpoint and ends.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

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
    """The checkpoints of one pack, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._token: str | None = None

    def _files(self) -> list[Path]:
        """All files that are named like checkpoints, the latest epoch and step first."""
        found = ((_NAME.fullmatch(path.name), path) for path in self.folder.glob("epoch*.ckpt"))
        moments = [((int(match[1]), int(match[2])), path) for match, path in found if match and path.is_file()]
        return [path for _, path in sorted(moments, reverse=True)]

    def take_up(self) -> dict[str, Any] | None:
        """Become the only one that may save here, clear what a killed writer left, and return :meth:`newest`.

        Raises:
            CheckpointError: the folder cannot be written, or one of its files cannot be read.
        """
        self._token = uuid.uuid4().hex
        aside = self.folder / f"{OWNER}.{self._token}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            aside.write_text(self._token, encoding="ascii")
            aside.replace(self.folder / OWNER)
            for left in self.folder.glob("*.tmp"):
                left.unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(error.errno, error.strerror, str(self.folder)) from error
        return self.newest()

    def save(self, state: Mapping[str, Any]) -> Path:
        """Write ``state`` (see ``Pack.state_dict``); it and the latest one before it are kept.

        Raises:
            CheckpointError: the folder cannot be written; what stood there still stands.
            SupersededError: another process has taken the pack up since.
        """
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        payload = buffer.getbuffer()
        path = self.folder / f"epoch{state['epoch']:06d}-step{state['step_in_epoch']:08d}.ckpt"
        aside = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                file.write(MAGIC)
                file.write(hashlib.sha256(payload).digest())
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            self._check_owner()
            aside.replace(path)
        except OSError as error:  # a write that finds no space does not say where
            raise CheckpointError(error.errno, error.strerror, str(path)) from error
        finally:
            aside.unlink(missing_ok=True)
        self._drop_others(path)
        return path

    def _check_owner(self) -> None:
        owner = self.folder / OWNER
        if self._token and owner.exists() and owner.read_text(encoding="ascii", errors="replace") != self._token:
            raise SupersededError(f"{self.folder}: another process has taken this pack up; this one ends")

    def _drop_others(self, path: Path) -> None:
        """Keep ``path`` and the one before it. A later one was damaged, or training would have gone on from it."""
        files = self._files()
        kept = files[files.index(path) :][:KEPT] if path in files else files
        for old in files:
            if old not in kept:
                old.unlink(missing_ok=True)

    def newest(self) -> dict[str, Any] | None:
        """Return the newest state that can be believed, or None where there is none."""
        for path in self._files():
            state = read_checkpoint(path)
            if state is not None:
                return state
        return None


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return the state in ``path``; None where it is missing, torn, changed, or no checkpoint of ours.

    Raises:
        CheckpointError: the file is there and cannot be read now; it may be sound.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return None
    except OSError as error:
        raise CheckpointError(error.errno, error.strerror, str(path)) from error
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
