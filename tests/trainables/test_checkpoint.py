"""A checkpoint is whole or it is not there; what lies in its folder cannot run code."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables.checkpoint import KEPT, MAGIC, Checkpoints, read_checkpoint


def state(epoch: int, step: int = 0) -> dict[str, Any]:
    return {"epoch": epoch, "step_in_epoch": step, "weights": torch.arange(1000.0) + epoch}


def test_the_newest_of_two_is_read_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "pack")
    for epoch, step in ((0, 40), (1, 0), (1, 7), (2, 0)):
        checkpoints.save(state(epoch, step))
    newest = checkpoints.newest()
    assert newest is not None
    assert (newest["epoch"], newest["step_in_epoch"]) == (2, 0)
    assert torch.equal(newest["weights"], torch.arange(1000.0) + 2)
    assert len(list((tmp_path / "pack").iterdir())) == KEPT


def test_without_a_folder_there_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "nothing").newest() is None


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_one_gives_way_to_the_one_before(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1))
    path = checkpoints.save(state(2))
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
    else:
        content = bytearray()
    path.write_bytes(content)
    newest = checkpoints.newest()
    assert newest is not None
    assert newest["epoch"] == 1


def test_a_write_that_fails_leaves_the_old_one_and_no_litter(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1))
    (tmp_path / "epoch000002-step00000000.ckpt").mkdir()  # a rename onto a folder fails
    with pytest.raises(OSError, match="epoch000002"):
        checkpoints.save(state(2))
    assert not list(tmp_path.glob("*.tmp"))
    assert read_checkpoint(tmp_path / "epoch000001-step00000000.ckpt") is not None


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("planted",)


def test_a_planted_pickle_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one whose checksum was made to fit."""
    import hashlib

    monkeypatch.chdir(tmp_path)
    torch.save({"epoch": Malicious()}, tmp_path / "payload")
    for payload in (pickle.dumps(Malicious()), (tmp_path / "payload").read_bytes()):
        path = tmp_path / "epoch000009-step00000000.ckpt"
        path.write_bytes(MAGIC + hashlib.sha256(payload).digest() + payload)
        with warnings.catch_warnings(), pytest.raises(pickle.UnpicklingError):
            warnings.simplefilter("ignore")  # torch wonders at the protocol before it refuses
            read_checkpoint(path)
    assert not (tmp_path / "planted").exists()
