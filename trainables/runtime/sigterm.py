"""A SIGTERM during training is deferred until the state is saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from trainables.runtime.signal_handlers import handled


class Sigterm:
    """Whether the process received SIGTERM: the node is preempted, or Slurm or Kubernetes ends the job."""

    came = False

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Within the block, a SIGTERM only sets ``came``; at its end, the previous handler receives it.

        Outside the main thread Python handles no signals, and this does nothing.
        """
        try:
            with handled([signal.SIGTERM], self._note):
                yield
        finally:
            if self.came:
                signal.raise_signal(signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
