"""The request to stop, which the driver sends to its trials. The nodes need no access to the sweep's folder."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path


class StopRequest(IntEnum):
    """What a trial has to do; the larger value has priority."""

    NONE = 0
    STOP = 1
    """Finish the current epoch, then end."""
    CANCEL = 2
    """Finish the current step, write a checkpoint, then end."""


class StopSignal:
    """An actor that holds the request. The trials wait for it, so none of them has to poll."""

    def __init__(self) -> None:
        import asyncio  # the command line uses only StopRequest

        self._asked = StopRequest.NONE
        self._changed = asyncio.Condition()

    async def send(self, request: StopRequest) -> None:
        """Send it to all trials, including later ones; it cannot be withdrawn."""
        async with self._changed:
            self._asked = max(self._asked, request)
            self._changed.notify_all()

    async def wait(self, known: StopRequest) -> StopRequest:
        """Return the request as soon as it is larger than ``known``."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._asked > known)
        return self._asked


class StopFile:
    """The request as the one byte of a file, for trials on the driver's own machine: it needs no process.

    The file is mapped into memory, so a request arrives even if Ray has ended or the file was deleted.
    """

    def __init__(self, path: Path, *, new: bool = False) -> None:
        """``new`` creates the file, for the driver; a trial opens it to read."""
        with path.open("xb+" if new else "rb") as file:
            if new:
                file.write(bytes([StopRequest.NONE]))
                file.flush()
            self._byte = mmap.mmap(file.fileno(), 1, access=mmap.ACCESS_WRITE if new else mmap.ACCESS_READ)

    def send(self, request: StopRequest) -> None:
        """Send it to all trials, including later ones; a weaker request than the present one changes nothing."""
        self._byte[0] = max(request, self.asked)

    @property
    def asked(self) -> StopRequest:
        """The present request."""
        return StopRequest(self._byte[0])


class Listener:
    """A trial's view of the request of a :class:`StopSignal`.

    Reading it calls no other process, so a trial reads it after every step.
    """

    def __init__(self, wait: Callable[[StopRequest], Future[StopRequest]]) -> None:
        """``wait`` starts a :meth:`StopSignal.wait`."""
        self._wait = wait
        self._asked = StopRequest.NONE
        self._answer: Future[StopRequest] | None = wait(self._asked)

    @property
    def asked(self) -> StopRequest:
        """The present request. It no longer changes once the driver has ended."""
        if self._answer is not None and self._answer.done():
            if self._answer.exception() is not None:
                self._answer = None
            else:
                self._asked = self._answer.result()
                self._answer = self._wait(self._asked) if self._asked < StopRequest.CANCEL else None
        return self._asked
