"""A SIGTERM during training is deferred until the state is saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Sigterm:
    """Whether the process received SIGTERM: the node is preempted, or Slurm or Kubernetes ends the job."""

    came = False

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Within the block, a SIGTERM only sets ``came``; at its end, the previous handler receives it.

        Outside the main thread Python handles no signals, and this does nothing.
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
