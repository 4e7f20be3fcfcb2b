"""A copy of the record in the storage, as the sweep goes: another machine goes on from it when this one is gone.

In the storage, under the sweep's name: ``driver.json`` (who drives, with a beat), ``snapshot.json`` (which ledger is
the newest whole one, with its checksum), ``ledger-*.sqlite`` (two kept), ``sweep.toml``, ``provenance.json``,
``status.json``, the packs' ``checkpoints/``, and the runs' ``weights/`` where they are kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from results.ledger.sqlite_file import copy_ledger
from search_spaces.atomic_write import atomic_write
from search_spaces.errors import LedgerError, StorageError, SweepFolderError
from sweep.config.spec import Spec
from sweep.folder.lock import driving
from sweep.folder.paths import SweepFolder, write_aside
from sweep.folder.status import sweep_status
from trainables.storage.addresses import open_storage
from trainables.storage.folder import FolderStorage
from trainables.storage.interface import Storage

DRIVER, POINTER, STATUS = "driver.json", "snapshot.json", "status.json"
BEAT_SECONDS = 5.0
MISSED_BEATS = 2
"""After so many in a row, that they cannot be written is told."""
SILENT_SECONDS = 30.0
"""After which a driver of which nothing is heard counts as gone."""
OLD_SECONDS = 600.0
"""A beat that is older than this is not waited for: no two clocks are that far apart."""
PUBLISH_SECONDS = 20.0
FIRST_PATIENCE_SECONDS = 8.0
LAST_PATIENCE_SECONDS = 30.0
STOPPED_PATIENCE_SECONDS = 2.0
_LEDGER = re.compile(r"ledger-[0-9]{6,12}(-[0-9a-f]{8})?\.sqlite")
"""Named after its driver, too: what one that was taken over still uploads is never taken for its successor's."""


def sweep_storage(spec: Spec, patience_seconds: float = FIRST_PATIENCE_SECONDS) -> Storage | None:
    """Return the storage of this sweep, the spec's ``storage`` below its name; None where it has none."""
    return open_storage(spec.storage, patience_seconds).below(spec.name) if spec.storage else None


def checkpoint_place(folder: SweepFolder, spec: Spec, pack_id: str) -> Storage:
    """Return where a pack's checkpoints lie: in the sweep's storage, or in its folder where it has none.

    Raises:
        SweepFolderError: no id of a pack.
    """
    path, storage = folder.pack_checkpoints(pack_id), sweep_storage(spec)
    return FolderStorage(path) if storage is None else storage.below("checkpoints").below(path.name)


def weights_place(folder: SweepFolder, spec: Spec) -> Storage:
    """Return where the weights along the way lie: in the sweep's storage, or in its folder where it has none."""
    storage = sweep_storage(spec)
    return FolderStorage(folder.weights) if storage is None else storage.below("weights")


@contextmanager
def published(folder: SweepFolder, storage: Storage, say: Callable[[str], None]) -> Iterator[Snapshots]:
    """Drive the sweep in ``storage`` while the block runs, and publish its record as it goes, and at the end.

    Raises:
        StorageError: the storage cannot be used; nothing was left there.
        LedgerError: another driver is at work there, or has been since this folder was written.
    """
    storage.prove()
    _check_newest(folder, storage)
    token = uuid.uuid4().hex
    _claim(storage, token, say)
    try:
        _check_newest(folder, storage)  # anew: whoever was listened for may have published and gone meanwhile
    except LedgerError:
        storage.delete(DRIVER)
        raise
    snapshots = Snapshots(folder, storage, token, say)
    snapshots.start()
    try:
        yield snapshots
    except BaseException as error:
        snapshots.finish(STOPPED_PATIENCE_SECONDS if isinstance(error, KeyboardInterrupt) else LAST_PATIENCE_SECONDS)
        raise
    snapshots.finish(LAST_PATIENCE_SECONDS)
    snapshots.check()


class Snapshots:
    """Signs and publishes, from a thread each; a storage that is away is told, and tried again.

    Signing does not wait for an upload: a driver that is silent would be taken for gone. Whatever is written, it is
    looked first whose name is there, for this process may have slept while another one took the sweep over.
    """

    def __init__(self, folder: SweepFolder, storage: Storage, token: str, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._storage = storage
        self._token = token
        self._say = say
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("beat", self._beat), ("snapshots", self._work))
        ]
        self._last: tuple[int, ...] = ()
        self._missed: list[Exception] = []  # why the beats since the last good one were not written
        self._away = False
        self._superseded = False

    def start(self) -> None:
        """Begin to sign and to publish."""
        for thread in self._threads:
            thread.start()

    def check(self) -> None:
        """Raise where another driver has taken the sweep over.

        Raises:
            LedgerError: the line names it.
        """
        if self._superseded:
            raise LedgerError(f"{self._folder.name}: {_holder(self._storage)} has taken the sweep over; this one ends")

    def finish(self, patience_seconds: float) -> None:
        """Publish the last state and take the driver's name away; neither, where it is another driver's by now."""
        self._ended.set()
        self._storage.patience_seconds = patience_seconds
        until = time.monotonic() + patience_seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        try:
            if any(thread.is_alive() for thread in self._threads):
                raise StorageError(f"{self._storage.uri}: it has not answered for {patience_seconds:g} s")
            self._hold()
            if self._folder.spec.exists():  # else nothing was planned
                self.publish()
            self._hold()
            self._storage.delete(DRIVER)
        except Exception as error:  # whatever it is, the sweep's own end is told, and not this one
            if not self._superseded:
                self._say(f"the last state could not be published ({error}); the next `sweep resume` does it")

    def _hold(self) -> None:
        """Raise where the sweep is another driver's, or has been since this one published."""
        token = _read_json(self._storage, DRIVER).get("token")
        if token is None:  # taken away by hand, or by a driver that came and went
            pointer = _read_json(self._storage, POINTER)
            if pointer and _is_behind(self._folder, pointer):
                self._superseded = True
        elif token != self._token:
            self._superseded = True
        self.check()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                self._hold()
                _sign(self._storage, self._token, before_commit=self._hold)
                self._missed = []
            except Exception as error:  # whatever it is, a beat that stops would tell others that we are gone
                if self._superseded:
                    return
                self._missed = [*self._missed, error][-MISSED_BEATS:]

    def _work(self) -> None:
        published_at = -PUBLISH_SECONDS
        while not self._ended.wait(BEAT_SECONDS) and not self._superseded:
            try:
                if len(self._missed) == MISSED_BEATS:
                    raise self._missed[-1]
                if time.monotonic() - published_at >= PUBLISH_SECONDS and self._folder.spec.exists():
                    self.publish()
                    published_at = time.monotonic()
                if self._away:
                    self._say("the storage answers again; the record is published there")
                self._away = False
            except Exception as error:  # whatever it is, the next snapshot may do
                if not self._away and not self._superseded:
                    self._say(f"{error}; training goes on, and this is tried again")
                self._away = True

    def publish(self) -> None:
        """Put the ledger as it is now, and what belongs to it, into the storage: all of it, or the one before counts.

        Raises:
            StorageError: the storage cannot be written.
            LedgerError: another driver has taken the sweep over; nothing more is written.
        """
        self._hold()
        for path in (self._folder.spec, self._folder.provenance):
            if path.exists():
                self._storage.write(path.name, path.read_bytes())
        state = _state_of(self._folder.ledger)
        if state != self._last:
            self._put_ledger()
            self._last = state
        status = sweep_status(self._folder) | {"published": time.time(), "host": socket.gethostname()}
        self._storage.write(STATUS, json.dumps(status, indent=2).encode(), before_commit=self._hold)

    def _put_ledger(self) -> None:
        before = _read_json(self._storage, POINTER)
        sequence = max(_sequence(before), _sequence(_local(self._folder))) + 1
        with tempfile.TemporaryDirectory(prefix="lenet-sweep-") as scratch:
            copy = Path(scratch) / "ledger.sqlite"
            copy_ledger(self._folder.ledger, copy)
            content = copy.read_bytes()
        pointer = {
            "sequence": sequence, "ledger": f"ledger-{sequence:06d}-{self._token[:8]}.sqlite",
            "published": time.time(), "sha256": hashlib.sha256(content).hexdigest(), "driver": self._token,
        }  # fmt: skip
        text = json.dumps(pointer)
        self._storage.write(str(pointer["ledger"]), content)
        self._hold()  # the upload may have taken a while
        write_aside(self._folder.published, text)  # before the storage says so: this folder is never behind it
        self._storage.write(POINTER, text.encode(), before_commit=self._hold)
        for name in self._storage.names():
            if _LEDGER.fullmatch(name) and name not in (pointer["ledger"], before.get("ledger")):
                self._storage.delete(name)


def fetch(uri: str, runs_dir: Path) -> tuple[SweepFolder, str]:
    """Bring the sweep that was published at ``uri`` into ``runs_dir``; return its folder, and the spec's ``storage``.

    Raises:
        StorageError: it cannot be read, or no whole snapshot is there.
        SweepFolderError: the folder holds another state already.
    """
    address, mark, query = uri.partition("?")
    parent, _, name = address.rstrip("/").rpartition("/")
    folder, place = SweepFolder(runs_dir, name), parent + mark + query
    storage = open_storage(place, FIRST_PATIENCE_SECONDS).below(name)
    pointer = _read_json(storage, POINTER)
    if not pointer:
        raise StorageError(f"{storage.uri}: no sweep has been published there; name the sweep itself, PLACE/NAME")
    if folder.ledger.exists():
        if not _is_behind(folder, pointer):
            return folder, place
        raise SweepFolderError(
            f"{folder.path}: is there already, in another state than {storage.uri}; give another --runs-dir, or move it"
        )
    content = storage.read(str(pointer["ledger"])) if _LEDGER.fullmatch(str(pointer.get("ledger"))) else None
    if content is None or hashlib.sha256(content).hexdigest() != pointer.get("sha256"):
        raise StorageError(f"{storage.uri}: its newest ledger is missing or damaged; nothing can go on from there")
    new = not folder.path.exists()
    folder.create()
    try:
        with driving(folder.lock):
            for path in (folder.spec, folder.provenance):
                if (text := storage.read(path.name)) is not None:
                    with atomic_write(path) as unfinished:
                        unfinished.write_bytes(text)
            write_aside(folder.published, json.dumps(pointer))
            with atomic_write(folder.ledger) as unfinished:  # the last: it makes the folder a sweep's
                unfinished.write_bytes(content)
    except BaseException:
        if new:
            shutil.rmtree(folder.path)
        raise
    return folder, place


def _check_newest(folder: SweepFolder, storage: Storage) -> None:
    pointer = _read_json(storage, POINTER)
    if pointer and _is_behind(folder, pointer):
        raise LedgerError(
            f"{storage.uri}: holds a state of the sweep {folder.name!r} that {folder.path} has not; go on from it with "
            f"`sweep resume {shlex.quote(storage.uri)}` (with another --runs-dir to keep this folder), or begin "
            "another sweep with --name"
        )


def _is_behind(folder: SweepFolder, pointer: dict[str, Any]) -> bool:
    local = _local(folder)
    same = _sequence(local) == _sequence(pointer) and local.get("driver") == pointer.get("driver")
    return not same and _sequence(local) <= _sequence(pointer)


def _claim(storage: Storage, token: str, say: Callable[[str], None]) -> None:
    """Sign as the driver, once the one before it is gone, or nothing was heard of it for a while."""
    before = _read_json(storage, DRIVER)
    if before and not _is_gone(before):
        say(f"{_holder(storage)} may drive this sweep; listening up to {SILENT_SECONDS:g} s whether it does")
        until = time.monotonic() + SILENT_SECONDS
        while time.monotonic() < until:
            time.sleep(1.0)
            now = _read_json(storage, DRIVER)
            if not now:
                break
            if now != before:
                raise LedgerError(
                    f"{storage.uri}: another driver is at work ({_holder(storage)}); wait for it, or end it"
                )
    _sign(storage, token)


def _is_gone(record: dict[str, Any]) -> bool:
    """Tell whether a driver is surely no more: its process on this machine has ended, or its last beat is old."""
    try:
        if record["host"] == socket.gethostname() and not psutil.pid_exists(int(record["pid"])):
            return True
        return abs(time.time() - float(record["beat"])) > OLD_SECONDS
    except (KeyError, TypeError, ValueError):
        return True


_since = time.strftime("%Y-%m-%d %H:%M:%S")


def _sign(storage: Storage, token: str, before_commit: Callable[[], None] | None = None) -> None:
    record = {"host": socket.gethostname(), "pid": os.getpid(), "since": _since, "token": token, "beat": time.time()}
    storage.write(DRIVER, json.dumps(record).encode(), before_commit)


def _holder(storage: Storage) -> str:
    record = _read_json(storage, DRIVER)
    if not record:
        return "another driver"
    return f"pid {record.get('pid')} on {record.get('host')} since {record.get('since')}"


def _read_json(storage: Storage, name: str) -> dict[str, Any]:
    """Return what a file of the storage says; nothing where it is missing or no longer what we wrote."""
    try:
        found = json.loads(storage.read(name) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _local(folder: SweepFolder) -> dict[str, Any]:
    try:
        found = json.loads(folder.published.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _sequence(pointer: dict[str, Any]) -> int:
    found = pointer.get("sequence", 0)
    return found if isinstance(found, int) else 0


def _state_of(ledger: Path) -> tuple[int, ...]:
    """Return what changes whenever the ledger does."""
    files = (ledger, ledger.with_name(f"{ledger.name}-wal"))
    return tuple(n for path in files if path.exists() for n in (path.stat().st_mtime_ns, path.stat().st_size))
