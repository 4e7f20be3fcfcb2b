"""A pack's state on disk: written aside, checksummed, renamed, two kept; no pickle that could run code is read."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

MAGIC = b"lenet-sweep checkpoint 1\n"
DIGEST_BYTES = 32
KEPT = 2


class Checkpoints:
    """The checkpoints of one pack, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _files(self) -> list[Path]:
        """All whole files, newest first; their names sort by epoch and step."""
        return sorted(self.folder.glob("epoch*.ckpt"), reverse=True)

    def save(self, state: Mapping[str, Any]) -> Path:
        """Write ``state`` (see ``Pack.state_dict``) and drop all but the newest two.

        Raises:
            OSError: the folder cannot be written; what stood there still stands.
        """
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        payload = buffer.getbuffer()
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"epoch{state['epoch']:06d}-step{state['step_in_epoch']:08d}.ckpt"
        aside = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with aside.open("wb") as file:
                file.write(MAGIC)
                file.write(hashlib.sha256(payload).digest())
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        for old in self._files()[KEPT:]:
            old.unlink(missing_ok=True)
        return path

    def newest(self) -> dict[str, Any] | None:
        """Return the newest state whose checksum holds, or None where there is none."""
        for path in self._files():
            state = read_checkpoint(path)
            if state is not None:
                return state
        return None


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return the state in ``path``; None where it is torn, changed, or no checkpoint of ours."""
    content = path.read_bytes()
    head, payload = content[: len(MAGIC) + DIGEST_BYTES], content[len(MAGIC) + DIGEST_BYTES :]
    if head != MAGIC + hashlib.sha256(payload).digest():
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
    return state
