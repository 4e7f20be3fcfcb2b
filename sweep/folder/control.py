"""Requests to the process that runs a sweep, and the status that it publishes: the files in ``control/``.

``stop`` and ``cancel`` are requests. Each names one process by the id in the sweep's lease, so a request never ends
another process. ``status.json`` (:class:`sweep.folder.status.LiveStatus`) is rewritten every few seconds. The files are
in the sweep's folder and, if the sweep has a storage, there too.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from pydantic import ValidationError

from search_spaces.atomic_write import atomic_write
from search_spaces.errors import StorageError, SweepFolderError
from sweep.folder.lease import Holder
from sweep.folder.paths import STATUS_FILE
from sweep.folder.status import ENDED, ClusterSlots, LiveStatus, Rate, RunCounts
from trainables.runtime.stop_signal import StopRequest

if TYPE_CHECKING:
    from trainables.storage.interface import Storage

REQUESTS = {"stop": StopRequest.STOP, "cancel": StopRequest.CANCEL}
"""The file of a request → the request."""
PUBLISH_SECONDS = 2.0
STORAGE_PATIENCE_SECONDS = 5.0


class ControlPlace(Protocol):
    """Where control files are."""

    poll_seconds: float

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None if there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file, completely or not at all."""

    def delete(self, name: str) -> None:
        """Remove a file if it exists."""


class ControlFolder:
    """``control/`` in the sweep's folder."""

    poll_seconds = 0.25

    def __init__(self, path: Path) -> None:
        """``path`` is ``SweepFolder.control``."""
        self._path = path

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None if there is none."""
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file, completely or not at all."""
        self._path.mkdir(exist_ok=True)
        with atomic_write(self._path / name) as unfinished:
            unfinished.write_bytes(data)

    def delete(self, name: str) -> None:
        """Remove a file if it exists."""
        (self._path / name).unlink(missing_ok=True)


class ControlStorage:
    """``control/`` in the sweep's storage, for machines that cannot read its folder."""

    poll_seconds = 3.0

    def __init__(self, storage: Storage) -> None:
        """``storage`` is the sweep's own."""
        self._storage = storage.below("control")
        self._storage.patience_seconds = STORAGE_PATIENCE_SECONDS  # a failed write is repeated soon anyway

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None if there is none."""
        return self._storage.read(name)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, completely or not at all."""
        self._storage.write(name, data)

    def delete(self, name: str) -> None:
        """Remove a file if it exists."""
        self._storage.delete(name)


class Control:
    """Receives requests and publishes the status, in one thread per place, for the process that runs the sweep."""

    def __init__(self, driver: Holder, wall_clock: Callable[[], float] = time.time) -> None:
        """``driver`` is the holder of the sweep's lease."""
        self.driver = driver
        self._wall_clock = wall_clock
        self._status: dict[str, object] = {}
        self._asked = StopRequest.NONE
        self._ended_by = ""
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def serve(self, place: ControlPlace) -> None:
        """Receive and publish at ``place``, too, until the block ends."""
        thread = threading.Thread(target=self._serve, args=(place,), name="control", daemon=True)
        self._threads.append(thread)
        thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended_by = _reason(kind, self._asked)
        self._ended.set()
        for thread in self._threads:
            thread.join(timeout=2 * STORAGE_PATIENCE_SECONDS)

    @property
    def asked(self) -> StopRequest:
        """The strongest request so far."""
        return self._asked

    def publish(self, counts: RunCounts, rate: Rate, slots: ClusterSlots | None = None) -> None:
        """Publish this from now on, in place of what was given before."""
        self._status = {**counts.model_dump(), **rate.model_dump(), **(slots.model_dump() if slots else {})}

    def _serve(self, place: ControlPlace) -> None:
        published_at = -PUBLISH_SECONDS
        while True:
            last = self._ended.is_set()
            with suppress(OSError, StorageError):  # training does not depend on this
                self._receive(place)
            if last or time.monotonic() - published_at >= PUBLISH_SECONDS:
                published_at = time.monotonic()
                with suppress(OSError, StorageError):
                    status = self._live_status(last).model_dump(exclude_unset=True)
                    place.write(STATUS_FILE, json.dumps(status).encode())
            if last:
                return
            self._ended.wait(place.poll_seconds)

    def _receive(self, place: ControlPlace) -> None:
        """Remove the requests; those addressed to this process take effect."""
        for name, request in REQUESTS.items():
            data = place.read(name)
            if data is None:
                continue
            if _addressee(data) == self.driver.driver:
                self._asked = max(self._asked, request)
            place.delete(name)

    def _live_status(self, last: bool) -> LiveStatus:
        phase = "training" if self._status else "starting"
        phase = {StopRequest.STOP: "stopping", StopRequest.CANCEL: "cancelling"}.get(self._asked, phase)
        return LiveStatus.model_validate(
            {
                **self.driver.model_dump(exclude={"beat", "start"}),
                "phase": ENDED if last else phase,
                **({"ended_by": self._ended_by} if last else {}),
                "published_at": self._wall_clock(),
                **self._status,
            }
        )


def _reason(kind: type[BaseException] | None, asked: StopRequest) -> str:
    """Return why a block ended that raised an exception of ``kind`` and had received the request ``asked``."""
    if kind is None:
        return "done"
    if not issubclass(kind, KeyboardInterrupt):
        return "error"
    return next((name for name, request in REQUESTS.items() if request is asked), "signal")


def _addressee(request: bytes) -> object:
    """Return the id of the process that a request names; None if the request is invalid."""
    try:
        found = json.loads(request)
    except ValueError:
        return None
    return found.get("driver") if isinstance(found, dict) else None


def put_request(place: ControlPlace, name: str, driver: str) -> None:
    """Send the request ``name``, a key of :data:`REQUESTS`, to the process with the id ``driver``.

    Raises:
        SweepFolderError: it cannot be written.
        StorageError: it cannot be written to a storage.
    """
    request = {"driver": driver, "host": socket.gethostname(), "asked_at": time.time()}
    try:
        place.write(name, json.dumps(request).encode())
    except OSError as error:
        raise SweepFolderError(f"control/{name}: cannot be written ({error.strerror or error})") from error


def read_live_status(place: ControlPlace) -> LiveStatus | None:
    """Return what was published last; None if there is nothing, or it cannot be read.

    Raises:
        StorageError: a storage that does not answer.
    """
    try:
        return LiveStatus.model_validate_json(place.read(STATUS_FILE) or b"")
    except (OSError, ValidationError):
        return None
