"""Where a trial's checkpoints go: to the storage, to the driver's folder, or to a node's own disk."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from trainables.runtime.user_imports import LEDGER
from trainables.storage.s3 import BucketStorage
from trainables.training.checkpoints import CheckpointError
from trainables.training.trial import place_of_checkpoints


def test_a_bucket_is_the_same_everywhere() -> None:
    uri = "s3://bucket/sweeps/s/checkpoints/pack?region=eu-west-1"
    found = place_of_checkpoints(uri, on_drivers_disk=False)
    assert isinstance(found, BucketStorage)
    assert found.uri == uri


def test_a_folder_that_this_node_shares_with_the_driver_is_used(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / LEDGER).touch()
    folder = str(tmp_path / "s" / "checkpoints" / "pack")
    assert place_of_checkpoints(folder, on_drivers_disk=True).uri == folder


def test_elsewhere_the_nodes_own_disk_is_used_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = str(tmp_path / "driver" / "s" / "checkpoints" / "pack")
    other = str(tmp_path / "driver" / "t" / "checkpoints" / "pack")
    place = Path(place_of_checkpoints(folder, on_drivers_disk=True).uri)
    assert place == Path(place_of_checkpoints(folder, on_drivers_disk=True).uri)
    assert place != Path(place_of_checkpoints(other, on_drivers_disk=True).uri)
    (private,) = tmp_path.iterdir()
    assert place.is_relative_to(private)
    assert private.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_another_user_made_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = str(tmp_path / "driver" / "s" / "checkpoints" / "pack")
    place_of_checkpoints(folder, on_drivers_disk=True)
    (private,) = tmp_path.iterdir()
    private.rename(tmp_path / "theirs")
    private.symlink_to(tmp_path / "theirs")
    with pytest.raises(CheckpointError, match="belongs to another user"):
        place_of_checkpoints(folder, on_drivers_disk=True)


def test_a_shared_folder_that_is_not_mounted_here_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is the disk of the storage mounted"):
        place_of_checkpoints(str(tmp_path / "shared" / "s" / "checkpoints" / "pack"), on_drivers_disk=False)
    assert not list(tmp_path.iterdir())
