"""The lease of a sweep: the record of the process that runs it, with a heartbeat.

One process at a time runs a sweep. It holds a lease in the sweep's folder (``lock``) and, if the sweep has a storage,
the same lease there (``driver.json``). A thread renews each of them every few seconds.

- In a folder the process also holds a ``flock`` on the file and on the folder. The kernel releases it when the process
  ends, even after SIGKILL, so the record of a dead process never blocks the next one.
- A storage, and some file systems, have no such lock. A record there is abandoned if its process on this machine has
  ended, if its last heartbeat is old, or if no heartbeat follows while the next process waits for one. A suspended
  process whose lease was taken over finds another record before its next write, and stops.
"""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import Protocol, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from search_spaces.errors import LedgerError, UserError
from sweep.process.identity import ProcessIdentity, process_start

BEAT_SECONDS = 5.0
MISSED_BEATS = 2
"""Failed renewals in a row after which :attr:`Lease.problem` is set."""
SILENT_SECONDS = 30.0
"""How long the next process waits for a heartbeat before it takes over."""
STALE_SECONDS = 60.0
"""Age of a heartbeat from which a process on another machine is shown as not running."""
ABANDONED_SECONDS = 600.0
"""Age of a heartbeat from which the next process does not wait. Clocks do not differ by so much."""


SETTLE_SECONDS = 0.3
"""The time after which a record in a folder without locks is read again."""


class Holder(BaseModel):
    """The process that holds a lease."""

    model_config = ConfigDict(frozen=True)

    driver: str = Field(validation_alias=AliasChoices("driver", "token"))  # a unique id; older versions wrote `token`
    host: str
    pid: int = Field(ge=0, lt=2**31)
    since: str
    start: int = 0  # when the process started (sweep.process.identity); 0: an older version wrote the record
    beat: float = Field(0.0, allow_inf_nan=False)  # time of the last renewal on the holder's clock; 0: never renewed

    @classmethod
    def this_process(cls) -> Holder:
        """Return a holder with a new id for this process."""
        since, own = time.strftime("%Y-%m-%d %H:%M:%S"), ProcessIdentity.own()
        return cls(driver=uuid.uuid4().hex, since=since, beat=time.time(), **asdict(own))

    @classmethod
    def parse(cls, content: bytes | None) -> Holder | None:
        """Return the holder in a lease's record; None if there is no record, or it is not a valid one."""
        try:
            return cls.model_validate_json(content or b"")
        except ValidationError:
            return None

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.since}"

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.host == socket.gethostname()

    def is_dead(self) -> bool:
        """Whether it certainly does not run: it is a process of this machine that has ended, or its beat is old."""
        process = ProcessIdentity(self.host, self.pid, self.start)
        ended = process.has_ended() if self.start else self.is_here and process_start(self.pid) is None
        return ended or abs(time.time() - self.beat) > ABANDONED_SECONDS

    def is_stale(self) -> bool:
        """Whether it has not renewed its lease lately."""
        return time.time() - self.beat >= STALE_SECONDS

    def renewed(self) -> Holder:
        """Return it with the present time as its heartbeat."""
        return self.model_copy(update={"beat": time.time()})

    def to_bytes(self) -> bytes:
        """Return the record that :meth:`parse` reads."""
        return json.dumps(self.model_dump()).encode()


class LeasePlace(Protocol):
    """Where the record of a lease is."""

    label: str  # names the sweep in messages
    notice: str  # printed once for the user; set by :meth:`lock`

    def lock(self) -> bool:
        """Take the kernel's lock; return False if the place has none."""

    def unlock(self) -> None:
        """Release the kernel's lock."""

    def read(self) -> Holder | None:
        """Return the holder on record; None if there is none."""

    def write(self, holder: Holder, before_commit: Callable[[], None] | None = None) -> None:
        """Write the record; what ``before_commit`` raises leaves the old one."""

    def clear(self) -> None:
        """Remove the record."""

    def is_held(self, holder: Holder) -> bool:
        """Return whether ``holder``, which is on record, runs now, as far as this machine can determine."""


class Lease:
    """A lease that this process holds: :meth:`acquire`, renewed by a thread, :meth:`release`.

    As a context manager it is acquired and released by the block.
    """

    def __init__(
        self, place: LeasePlace, holder: Holder | None = None, is_behind: Callable[[], bool] = lambda: False,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:  # fmt: skip
        """Prepare a lease for ``holder``, by default a new one for this process.

        ``say`` is called if the place has no lock, or if this waits for another process. ``is_behind`` is called if
        the record is missing: another process may have taken over and ended meanwhile.
        """
        self.holder = holder or Holder.this_process()
        self.lost = False
        """Whether another process has taken over."""
        self._place = place
        self._is_behind = is_behind
        self._say = say
        self._successor: Holder | None = None
        self._ended = threading.Event()
        self._missed: list[Exception] = []  # why the renewals since the last good one failed
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError, UserError):  # the sweep is complete, and the heartbeat has ended
            self.release()

    def acquire(self) -> None:
        """Take the lease and start its heartbeat.

        Raises:
            LedgerError: another process holds it.
            SweepFolderError, StorageError: the place cannot be written.
        """
        try:
            locked = self._place.lock()
            if self._place.notice:
                self._say(self._place.notice)
            if not locked:
                self._wait_for_silence()
        except BlockingIOError as error:
            raise self._refusal(self._place.read()) from error
        try:
            self._place.write(self.holder)
            if self._place.notice:  # without a lock, another process may have written its record at the same moment
                time.sleep(SETTLE_SECONDS)
                self.verify()
        except BaseException:
            self._place.unlock()
            raise
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise if another process was found to have taken over; reads nothing.

        Raises:
            LedgerError: the message names that process.
        """
        if self.lost:
            other = self._successor or "another process"
            raise LedgerError(f"{self._place.label}: {other} has taken over this sweep; this process stops")

    def verify(self) -> None:
        """Read the record and raise if another process has taken over.

        Raises:
            LedgerError: see :meth:`check`.
        """
        found = self._place.read()
        if found is None:  # removed by hand, or by a process that took over and has ended
            self.lost = self.lost or self._is_behind()
        elif found.driver != self.holder.driver:
            self.lost, self._successor = True, found
        self.check()

    def renew(self) -> None:
        """Write a new heartbeat.

        Raises:
            LedgerError: another process has taken over; its record is left as it is.
        """
        self.verify()
        self._place.write(self.holder.renewed(), before_commit=self.verify)

    def stop(self, timeout_seconds: float = 2 * BEAT_SECONDS) -> bool:
        """End the heartbeat; return whether it has ended in this time."""
        self._ended.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def release(self) -> None:
        """End the heartbeat and remove the record.

        Raises:
            LedgerError: another process has taken over; its record is left as it is.
        """
        self.stop()
        try:
            self.verify()
            self._place.clear()
        finally:
            self._place.unlock()

    @property
    def problem(self) -> Exception | None:
        """Why the last renewals failed, once :data:`MISSED_BEATS` in a row did; else None."""
        return self._missed[-1] if len(self._missed) >= MISSED_BEATS else None

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                self.renew()
                self._missed = []
            except Exception as error:  # whatever it is: without a heartbeat this process counts as dead
                if self.lost:
                    return
                self._missed = [*self._missed, error][-MISSED_BEATS:]

    def _wait_for_silence(self) -> None:
        """Wait until the holder on record is gone, or has been silent for :data:`SILENT_SECONDS`."""
        before = self._place.read()
        if before is None or before.is_dead():
            return
        self._say(f"{self._place.label}: {before} may be running; waiting up to {SILENT_SECONDS:g} s for its heartbeat")
        until = time.monotonic() + SILENT_SECONDS
        while time.monotonic() < until:
            time.sleep(1.0)
            now = self._place.read()
            if now is None:
                return
            if now != before:
                raise self._refusal(now)

    def _refusal(self, holder: Holder | None) -> LedgerError:
        who = holder or "its process is not on record; the file may have been removed"
        return LedgerError(f"{self._place.label}: is already running ({who}); wait until it ends, or stop it")


def current_holder(place: LeasePlace) -> Holder | None:
    """Return the process that runs a sweep now, as far as this machine can determine; None if there is none.

    Raises:
        StorageError: a storage that does not answer.
    """
    holder = place.read()
    return holder if holder is not None and place.is_held(holder) else None
