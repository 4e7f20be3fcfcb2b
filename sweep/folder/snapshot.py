"""A copy of the sweep's results in its storage, updated while it runs. Another machine can resume from it.

In the storage, under the sweep's name: ``driver.json`` (the lease), ``snapshot.json`` (the newest complete ledger and
its checksum), ``ledger-*.sqlite`` (two are kept), ``sweep.toml``, ``provenance.json``, ``status.json``, the packs'
``checkpoints/``, and the runs' ``weights/`` if they are kept.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from results.ledger.sqlite_file import copy_ledger
from search_spaces.atomic_write import atomic_write
from search_spaces.errors import LedgerError, StorageError, SweepFolderError, UserError
from sweep.config.spec import Spec
from sweep.folder import lease as leases
from sweep.folder.lease import Holder, Lease
from sweep.folder.lease_places import FolderLease, StorageLease
from sweep.folder.paths import LEDGER_FILE, POINTER_FILE, STATUS_FILE, SweepFolder, write_atomically
from sweep.folder.status_source import folder_status
from sweep.process.private_folder import private_folder
from trainables.storage.addresses import open_storage
from trainables.storage.folder import FolderStorage
from trainables.storage.interface import Storage

PUBLISH_SECONDS = 20.0
FIRST_PATIENCE_SECONDS = 8.0
LAST_PATIENCE_SECONDS = 30.0
STOPPED_PATIENCE_SECONDS = 2.0
_LEDGER_COPY = re.compile(r"ledger-[0-9]{6,12}(-[0-9a-f]{8})?\.sqlite")
"""The name has the id of its process, so that a late upload is not taken for a copy by the process that took over."""


def sweep_storage(spec: Spec, patience_seconds: float = FIRST_PATIENCE_SECONDS) -> Storage | None:
    """Return the storage of this sweep, ``spec.storage/spec.name``; None if it has none."""
    return open_storage(spec.storage, patience_seconds).below(spec.name) if spec.storage else None


def checkpoint_place(folder: SweepFolder, spec: Spec, pack_id: str) -> Storage:
    """Return the place of a pack's checkpoints: in the sweep's storage, or in its folder if it has none.

    Raises:
        SweepFolderError: ``pack_id`` is not a pack id.
    """
    path, storage = folder.pack_checkpoints(pack_id), sweep_storage(spec)
    return FolderStorage(path) if storage is None else storage.below("checkpoints").below(path.name)


def weights_place(folder: SweepFolder, spec: Spec) -> Storage:
    """Return the place of the weight snapshots: in the sweep's storage, or in its folder if it has none."""
    storage = sweep_storage(spec)
    return FolderStorage(folder.weights) if storage is None else storage.below("weights")


@contextmanager
def published(
    folder: SweepFolder, storage: Storage, say: Callable[[str], None], holder: Holder | None = None
) -> Iterator[Snapshots]:
    """Hold the lease in ``storage`` during the block, and publish the sweep there, repeatedly and at the end.

    ``holder`` is this process, as the lease in the folder names it.

    Raises:
        StorageError: the storage cannot be used; nothing was left there.
        LedgerError: another process runs the sweep there, or has continued it since this folder was written.
    """
    storage.prove()
    _check_newest(folder, storage)
    lease = Lease(StorageLease(storage), holder, lambda: _is_behind(folder, _read_json(storage, POINTER_FILE)), say)
    lease.acquire()
    try:
        _check_newest(folder, storage)  # again: a process may have published and ended during the wait
        snapshots = Snapshots(folder, storage, lease, say)
    except BaseException:
        with suppress(UserError):
            lease.release()
        raise
    snapshots.start()
    try:
        yield snapshots
    except BaseException as error:
        snapshots.finish(STOPPED_PATIENCE_SECONDS if isinstance(error, KeyboardInterrupt) else LAST_PATIENCE_SECONDS)
        raise
    snapshots.finish(LAST_PATIENCE_SECONDS)
    snapshots.check()


class Snapshots:
    """Publishes from a thread; reports a storage that does not answer, and tries again.

    The lease has its own thread, so its heartbeat does not wait for an upload. Before every write the lease is
    verified: this process may have been suspended while another one took over.
    """

    def __init__(self, folder: SweepFolder, storage: Storage, lease: Lease, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._storage = storage
        self._lease = lease
        self._say = say
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="snapshots", daemon=True)
        self._last: tuple[int, ...] = ()
        self._away = False

    def start(self) -> None:
        """Start to publish."""
        self._thread.start()

    def check(self) -> None:
        """Raise if another process has taken over the sweep.

        Raises:
            LedgerError: the message names that process.
        """
        self._lease.check()

    def finish(self, patience_seconds: float) -> None:
        """Publish the last state and release the lease, unless another process has taken over."""
        self._ended.set()
        self._storage.patience_seconds = patience_seconds
        until = time.monotonic() + patience_seconds
        try:
            self._thread.join(patience_seconds)
            beat_ended = self._lease.stop(max(0.0, until - time.monotonic()))
            if self._thread.is_alive() or not beat_ended:
                raise StorageError(f"{self._storage.uri}: no answer for {patience_seconds:g} s")
            self._lease.verify()
            if self._folder.spec.exists():  # otherwise nothing was planned
                self.publish()
            self._lease.release()
        except Exception as error:  # any error: the reason why the sweep ended is more important
            if not self._lease.lost:
                self._say(f"the last state could not be published ({error}); the next `sweep resume` publishes it")

    def _work(self) -> None:
        published_at = -PUBLISH_SECONDS
        while not self._ended.wait(leases.BEAT_SECONDS) and not self._lease.lost:
            try:
                if self._lease.problem is not None:
                    raise self._lease.problem
                if time.monotonic() - published_at >= PUBLISH_SECONDS and self._folder.spec.exists():
                    self.publish()
                    published_at = time.monotonic()
                if self._away:
                    self._say("the storage answers again; the sweep is published there")
                self._away = False
            except Exception as error:  # any error: the next attempt may succeed
                if not self._away and not self._lease.lost:
                    self._say(f"{error}; training continues, and publishing is tried again")
                self._away = True

    def publish(self) -> None:
        """Copy the ledger and its files into the storage; a copy that stays incomplete does not count.

        Raises:
            StorageError: the storage cannot be written.
            LedgerError: another process has taken over; nothing more is written.
        """
        self._lease.verify()
        for path in (self._folder.spec, self._folder.provenance):
            if path.exists():
                self._storage.write(path.name, path.read_bytes())
        state = _state_of(self._folder.ledger)
        if state != self._last:
            self._put_ledger()
            self._last = state
        about = {"published": time.time(), "host": socket.gethostname()}
        status = folder_status(self._folder).model_dump() | about
        self._storage.write(STATUS_FILE, json.dumps(status, indent=2).encode(), before_commit=self._lease.verify)

    def _put_ledger(self) -> None:
        before, me = _read_json(self._storage, POINTER_FILE), self._lease.holder.driver
        sequence = max(_sequence(before), _sequence(_local(self._folder))) + 1
        with private_folder() as scratch:
            copy = scratch / LEDGER_FILE
            copy_ledger(self._folder.ledger, copy)
            content = copy.read_bytes()
        pointer = {
            "sequence": sequence, "ledger": f"ledger-{sequence:06d}-{me[:8]}.sqlite",
            "published": time.time(), "sha256": hashlib.sha256(content).hexdigest(), "driver": me,
        }  # fmt: skip
        text = json.dumps(pointer)
        self._storage.write(str(pointer["ledger"]), content)
        self._lease.verify()  # the upload may have taken long
        write_atomically(self._folder.published, text)  # before the storage's pointer: this folder is never behind it
        self._storage.write(POINTER_FILE, text.encode(), before_commit=self._lease.verify)
        for name in self._storage.names():
            if _LEDGER_COPY.fullmatch(name) and name not in (pointer["ledger"], before.get("ledger")):
                self._storage.delete(name)


def fetch(uri: str, runs_dir: Path) -> tuple[SweepFolder, str]:
    """Copy the sweep that was published at ``uri`` into ``runs_dir``; return its folder, and the spec's ``storage``.

    Raises:
        StorageError: it cannot be read, or there is no complete copy.
        SweepFolderError: the folder exists with another state.
    """
    address, mark, query = uri.partition("?")
    parent, _, name = address.rstrip("/").rpartition("/")
    folder, place = SweepFolder(runs_dir, name), parent + mark + query
    storage = open_storage(place, FIRST_PATIENCE_SECONDS).below(name)
    pointer = _read_json(storage, POINTER_FILE)
    if not pointer:
        raise StorageError(
            f"{storage.uri}: no sweep has been published there; give the sweep's own address, PLACE/NAME"
        )
    if folder.ledger.exists():
        if not _is_behind(folder, pointer):
            return folder, place
        raise SweepFolderError(
            f"{folder.path}: exists, with another state than {storage.uri}; give another --runs-dir, or move the folder"
        )
    content = storage.read(str(pointer["ledger"])) if _LEDGER_COPY.fullmatch(str(pointer.get("ledger"))) else None
    if content is None or hashlib.sha256(content).hexdigest() != pointer.get("sha256"):
        raise StorageError(
            f"{storage.uri}: its newest ledger is missing or damaged, so it cannot be resumed from there"
        )
    new = not folder.path.exists()
    folder.create()
    try:
        with Lease(FolderLease(folder.lock)):
            for path in (folder.spec, folder.provenance):
                if (text := storage.read(path.name)) is not None:
                    with atomic_write(path) as unfinished:
                        unfinished.write_bytes(text)
            write_atomically(folder.published, json.dumps(pointer))
            with atomic_write(folder.ledger) as unfinished:  # last: with a ledger, the folder is a sweep
                unfinished.write_bytes(content)
    except BaseException:
        if new:
            shutil.rmtree(folder.path)
        raise
    return folder, place


def _check_newest(folder: SweepFolder, storage: Storage) -> None:
    if _is_behind(folder, _read_json(storage, POINTER_FILE)):
        raise LedgerError(
            f"{storage.uri}: has a newer state of the sweep {folder.name!r} than {folder.path}; resume that one with "
            f"`sweep resume {shlex.quote(storage.uri)}` (with another --runs-dir to keep this folder), or start "
            "another sweep with --name"
        )


def _is_behind(folder: SweepFolder, pointer: dict[str, Any]) -> bool:
    """Return whether the storage's ``pointer`` is not the one that ``folder`` has or a later one has replaced."""
    local = _local(folder)
    same = _sequence(local) == _sequence(pointer) and local.get("driver") == pointer.get("driver")
    return bool(pointer) and not same and _sequence(local) <= _sequence(pointer)


def _read_json(storage: Storage, name: str) -> dict[str, Any]:
    """Return the content of a JSON file in the storage; empty if it is missing or invalid."""
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
    """Return numbers that change whenever the ledger changes."""
    files = (ledger, ledger.with_name(f"{ledger.name}-wal"))
    return tuple(n for path in files if path.exists() for n in (path.stat().st_mtime_ns, path.stat().st_size))
