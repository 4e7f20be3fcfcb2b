"""What other terminals ask of a driver, and what it tells them: the files in a sweep's ``control/``.

``stop`` and ``cancel`` are requests, each addressed to one driver by the id that stands in the sweep's lock, so that a
request can never end another driver than the one that it was meant for. ``status.json`` is what the driver tells, every
few seconds, and as its last word how it ended: ``ended_by`` is ``stop`` or ``cancel`` (asked from another terminal),
``signal``, ``error`` or ``done``. Whoever reaches these files reaches the driver: on its machine, through a shared
folder, or through the sweep's storage.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from search_spaces.atomic_write import atomic_write
from search_spaces.errors import StorageError, SweepFolderError
from trainables.runtime.stop_signal import Ask

if TYPE_CHECKING:
    from trainables.storage.interface import Storage

REQUESTS = {"stop": Ask.STOP, "cancel": Ask.CANCEL}
"""The file of a request → what it asks."""
STATUS = "status.json"
PUBLISH_SECONDS = 2.0
SILENT_SECONDS = 60.0
"""A driver elsewhere that told nothing for so long is taken for dead."""
STORAGE_PATIENCE_SECONDS = 5.0
ENDED = "ended"


class Place(Protocol):
    """Where control files lie."""

    poll_seconds: float

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, None where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Put a file there, whole or not at all."""

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""


class ControlFolder:
    """The sweep's own ``control/``."""

    poll_seconds = 0.25

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, None where there is none."""
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Put a file there, whole or not at all."""
        self._path.mkdir(exist_ok=True)
        with atomic_write(self._path / name) as unfinished:
            unfinished.write_bytes(data)

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self._path / name).unlink(missing_ok=True)


class ControlStorage:
    """The ``control/`` in the sweep's storage, for whoever does not reach its folder."""

    poll_seconds = 3.0

    def __init__(self, storage: Storage) -> None:
        """``storage`` is the sweep's own, under its name."""
        self._storage = storage.below("control")
        self._storage.patience_seconds = STORAGE_PATIENCE_SECONDS  # what cannot be told now is told anew in a moment

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, None where there is none."""
        return self._storage.read(name)

    def write(self, name: str, data: bytes) -> None:
        """Put a file there, whole or not at all."""
        self._storage.write(name, data)

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        self._storage.delete(name)


class Control:
    """A driver's side: hears requests and publishes how the sweep stands, in a thread for each place."""

    def __init__(self, driver: Mapping[str, Any], wall_clock: Callable[[], float] = time.time) -> None:
        """``driver`` is what the sweep's lock says of it."""
        self._driver = dict(driver)
        self._wall_clock = wall_clock
        self._facts: Mapping[str, Any] = {}
        self._asked = Ask.NOTHING
        self._ended_by = ""
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def serve(self, place: Place) -> None:
        """Hear and tell there, too, until the block ends."""
        thread = threading.Thread(target=self._serve, args=(place,), name="control", daemon=True)
        self._threads.append(thread)
        thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended_by = _end(kind, self._asked)
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=2 * STORAGE_PATIENCE_SECONDS)

    @property
    def asked(self) -> Ask:
        """What was asked of this driver so far."""
        return self._asked

    def tell(self, facts: Mapping[str, Any]) -> None:
        """Publish ``facts`` from now on, with who tells them and when."""
        self._facts = facts

    def _serve(self, place: Place) -> None:
        told_at = -PUBLISH_SECONDS
        while True:
            last = self._over.is_set()
            with suppress(OSError, StorageError):  # the sweep does not end because nobody can be told of it
                self._hear(place)
            if last or time.monotonic() - told_at >= PUBLISH_SECONDS:
                told_at = time.monotonic()
                with suppress(OSError, StorageError):
                    place.write(STATUS, json.dumps(self._status(last)).encode())
            if last:
                return
            self._over.wait(place.poll_seconds)

    def _hear(self, place: Place) -> None:
        """Take the requests that lie there away; those to this driver count."""
        for name, what in REQUESTS.items():
            data = place.read(name)
            if data is None:
                continue
            if _addressee(data) == self._driver["driver"]:
                self._asked = max(self._asked, what)
            place.delete(name)

    def _status(self, last: bool) -> dict[str, Any]:
        at_work = "training" if self._facts else "starting"
        phase = ENDED if last else {Ask.STOP: "stopping", Ask.CANCEL: "cancelling"}.get(self._asked, at_work)
        end = {"ended_by": self._ended_by} if last else {}
        return {**self._driver, "phase": phase, **end, "told_at": self._wall_clock(), **self._facts}


def _end(kind: type[BaseException] | None, asked: Ask) -> str:
    """Return what ended a driver that left its block with an exception of that ``kind`` and was ``asked`` to end."""
    if kind is None:
        return "done"
    if not issubclass(kind, KeyboardInterrupt):
        return "error"
    return next((name for name, what in REQUESTS.items() if what is asked), "signal")


def _addressee(request: bytes) -> str | None:
    """Return the id of the driver that a request is meant for; None where it is none of ours."""
    try:
        found = json.loads(request)
    except ValueError:
        return None
    return found.get("driver") if isinstance(found, dict) else None


def put_request(place: Place, name: str, driver: str) -> None:
    """Ask ``name`` (a key of :data:`REQUESTS`) of the driver with that id.

    Raises:
        SweepFolderError: it cannot be written.
        StorageError: the same, of a storage.
    """
    request = {"driver": driver, "host": socket.gethostname(), "asked_at": time.time()}
    try:
        place.write(name, json.dumps(request).encode())
    except OSError as error:
        raise SweepFolderError(f"control/{name}: cannot be written ({error.strerror or error})") from error


def published(place: Place) -> dict[str, Any] | None:
    """Return what a driver told last; None where none has, or it cannot be read.

    Raises:
        StorageError: a storage that does not answer.
    """
    try:
        found = json.loads(place.read(STATUS) or b"null")
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"driver", "host", "phase", "told_at"} <= found.keys() else None


def is_fresh(told: Mapping[str, Any], now: float) -> bool:
    """Tell whether a driver that told this is still at work, as far as one who does not see its lock can say."""
    told_at = told["told_at"]
    return told["phase"] != ENDED and isinstance(told_at, int | float) and now - told_at < SILENT_SECONDS
