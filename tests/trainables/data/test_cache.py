from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainables.small_sources import small_images
from trainables.data.cache import DataCache
from trainables.data.image_arrays import LabelledImages
from trainables.runtime.cache_folder import default_cache_dir

SPAWN = multiprocessing.get_context("spawn")


def build() -> LabelledImages:
    return small_images(train_per_class=2)


def never() -> LabelledImages:
    raise AssertionError("built again, although the entry was good")


def entry_of(folder: Path) -> Path:
    """The only content of the cache: an entry, and no temporary file."""
    (entry,) = folder.iterdir()
    return entry


def test_what_is_loaded_is_what_was_built(tmp_path: Path) -> None:
    """And it is built once."""
    cache = DataCache(tmp_path / "not" / "yet")
    built = cache.load_or_build("key", build)
    loaded = cache.load_or_build("key", never)
    assert loaded.digest == built.digest
    assert loaded.class_names == built.class_names
    np.testing.assert_array_equal(loaded.train_images, built.train_images)
    np.testing.assert_array_equal(loaded.test_labels, built.test_labels)


def test_another_key_is_another_entry(tmp_path: Path) -> None:
    """A changed source never gets the old pixels."""
    cache = DataCache(tmp_path)
    cache.load_or_build("one", build)
    other = cache.load_or_build("two", lambda: small_images(train_per_class=3))
    assert len(other.train_labels) == 300
    assert len(cache.load_or_build("one", never).train_labels) == 200


def truncate(entry: Path) -> None:
    file = entry / "train_images.npy"
    os.truncate(file, file.stat().st_size // 2)


def empty(entry: Path) -> None:
    os.truncate(entry / "test_labels.npy", 0)


def flip_a_bit(entry: Path) -> None:
    file = entry / "train_images.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def reshape(entry: Path) -> None:
    file = entry / "train_images.npy"
    np.save(file, np.load(file).reshape(-1, 3, 32, 32))


def pickle_inside(entry: Path) -> None:
    np.save(entry / "train_labels.npy", np.array([{}], dtype=object), allow_pickle=True)


def remove_an_array(entry: Path) -> None:
    (entry / "test_images.npy").unlink()


def tear_the_description(entry: Path) -> None:
    (entry / "entry.json").write_text('{"digest": ')


def forget_the_digest(entry: Path) -> None:
    (entry / "entry.json").write_text(json.dumps({"class_names": []}))


@pytest.mark.parametrize(
    "damage",
    [truncate, empty, flip_a_bit, reshape, pickle_inside, remove_an_array, tear_the_description, forget_the_digest],
)
def test_a_damaged_entry_is_built_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """It is not used, and the next call finds a valid entry."""
    cache = DataCache(tmp_path)
    digest = cache.load_or_build("key", build).digest
    damage(entry_of(tmp_path))
    assert cache.load_or_build("key", build).digest == digest
    assert cache.load_or_build("key", never).digest == digest
    entry_of(tmp_path)


def load_together(folder: Path, barrier: Barrier) -> None:
    """Build only when every process has found no entry it can use."""

    def build_together() -> LabelledImages:
        barrier.wait(timeout=60)
        return build()

    assert DataCache(folder).load_or_build("key", build_together).digest == build().digest


@pytest.mark.parametrize("damaged", [False, True])
def test_processes_at_once_do_no_harm(tmp_path: Path, damaged: bool) -> None:
    """All find no entry, build it and publish it; one whole entry remains, also if there was a damaged one."""
    if damaged:
        DataCache(tmp_path).load_or_build("key", build)
        truncate(entry_of(tmp_path))
    barrier = SPAWN.Barrier(3)
    processes = [SPAWN.Process(target=load_together, args=(tmp_path, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert DataCache(tmp_path).load_or_build("key", never).digest == build().digest
    entry_of(tmp_path)


def die_while_writing(folder: Path) -> None:
    save = np.save

    def save_and_die(file: Path, *args: Any, **options: Any) -> None:
        save(file, *args, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    np.save = save_and_die
    DataCache(folder).load_or_build("key", build)


def test_a_process_that_is_killed_while_it_writes_leaves_no_entry(tmp_path: Path) -> None:
    """Half an entry is no entry."""
    process = SPAWN.Process(target=die_while_writing, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not list(tmp_path.glob("key*"))
    assert DataCache(tmp_path).load_or_build("key", build).digest == build().digest
    assert DataCache(tmp_path).load_or_build("key", never).digest == build().digest


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The data are loaded, with a warning that they will be decoded again; a download uses another folder."""
    (tmp_path / "file").write_text("no folder")
    cache = DataCache(tmp_path / "file" / "cache")
    assert cache.load_or_build("key", build).digest == build().digest
    (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert "LENET_SWEEP_CACHE" in warning.getMessage()
    with cache.workspace() as folder:
        assert Path(folder).is_dir()


def test_what_a_build_raises_goes_through(tmp_path: Path) -> None:
    """And leaves nothing behind."""
    with pytest.raises(AssertionError):
        DataCache(tmp_path).load_or_build("key", never)
    assert not list(tmp_path.iterdir())


def test_the_folder_is_the_users_choice_then_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``$LENET_SWEEP_CACHE``, else ``$XDG_CACHE_HOME/lenet-sweep``, else ``~/.cache/lenet-sweep``."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LENET_SWEEP_CACHE", "~/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_cache_dir() == tmp_path / "own"
    monkeypatch.delenv("LENET_SWEEP_CACHE")
    assert default_cache_dir() == Path("/xdg/lenet-sweep")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_dir() == tmp_path / ".cache" / "lenet-sweep"
