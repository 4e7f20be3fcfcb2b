"""A SIGTERM that comes in the middle of training: it waits until the state is saved, and then does what it would."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Sigterm:
    """Whether the process was asked to end (a preempted node, a Slurm or Kubernetes stop)."""

    came = False

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """While the block runs a SIGTERM only sets ``came``; at its end it is delivered to whoever handled it before.

        Outside the main thread, where Python takes no signals, the block just runs.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
            if self.came:
                signal.raise_signal(signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
