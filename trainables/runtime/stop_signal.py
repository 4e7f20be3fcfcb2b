"""The request to stop, which the driver sends to its trials. The nodes need no access to the sweep's folder."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future


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


class Listener:
    """A trial's view of the request. Reading it calls no other process, so a trial reads it after every step."""

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
