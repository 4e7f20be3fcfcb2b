"""The end that a driver asks for, as its trials hear of it on whatever node they run: no file has to reach them."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future


class Ask(IntEnum):
    """What is asked of a trial; the higher one overrules."""

    NOTHING = 0
    STOP = 1
    """Finish the epoch under way, then end."""
    CANCEL = 2
    """Write a checkpoint after the step under way, then end."""


class StopSignal:
    """Where the driver says it: an actor that trials wait on, so that none of them has to ask again and again."""

    def __init__(self) -> None:
        import asyncio  # the command line needs no more of this file than the words above

        self._asked = Ask.NOTHING
        self._changed = asyncio.Condition()

    async def ask(self, what: Ask) -> None:
        """Ask it of all trials, those to come included; what was asked before is never taken back."""
        async with self._changed:
            self._asked = max(self._asked, what)
            self._changed.notify_all()

    async def wait(self, known: Ask) -> Ask:
        """Return what is asked as soon as it is more than ``known``."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._asked > known)
        return self._asked


class Listener:
    """A trial's ear: looking at it costs no call to another process, so it may be done after every step."""

    def __init__(self, wait: Callable[[Ask], Future[Ask]]) -> None:
        """``wait`` begins a :meth:`StopSignal.wait`."""
        self._wait = wait
        self._asked = Ask.NOTHING
        self._answer: Future[Ask] | None = wait(self._asked)

    @property
    def asked(self) -> Ask:
        """What is asked now. A driver that is gone asks nothing more."""
        if self._answer is not None and self._answer.done():
            if self._answer.exception() is not None:
                self._answer = None
            else:
                self._asked = self._answer.result()
                self._answer = self._wait(self._asked) if self._asked < Ask.CANCEL else None
        return self._asked
