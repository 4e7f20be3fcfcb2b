"""Work on a device that is done again and again: recorded once as a CUDA graph, and then replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

Work = Callable[[], None]
"""Work on tensors that stay where they are. What it reads of Python's numbers is frozen by a recording."""

WARM_UPS = 3
"""How often work is done as it stands before it is recorded; PyTorch asks for a few, for its libraries."""


class Graphs(Protocol):
    """How work is recorded."""

    def warm_up(self, work: Work) -> None:
        """Do ``work`` as it stands."""

    def record(self, work: Work) -> Work:
        """Return what does ``work`` on the same tensors again; ``work`` itself is not done by it."""


class CudaGraphs:
    """Records CUDA graphs, all of one memory pool, on a stream of their own, as PyTorch's notes on CUDA graphs ask."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Work) -> None:
        """Do ``work`` on the stream that it will be recorded on."""
        present = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(present)
        with torch.cuda.stream(self._stream):
            work()
        present.wait_stream(self._stream)

    def record(self, work: Work) -> Work:
        """Record ``work``, which a recording does not do: no state is touched, and none has to be put back."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            work()
        return graph.replay


class NoGraphs:
    """Records nothing: ``work`` is done as it stands, every time."""

    def warm_up(self, work: Work) -> None:
        """Do ``work``."""
        work()

    def record(self, work: Work) -> Work:
        """Return ``work``."""
        return work


def graphs_of(device: torch.device) -> Graphs | None:
    """Return how a pack's step is recorded on ``device``; None where it is taken as it stands, on a CPU."""
    return CudaGraphs(device) if device.type == "cuda" else None


class Recorded:
    """One piece of work: its first calls do it as it stands, which is the warm-up, and the later ones replay it."""

    def __init__(self, work: Work, graphs: Graphs) -> None:
        self._work = work
        self._graphs = graphs
        self._warm_ups = 0
        self._replay: Work | None = None

    def __call__(self) -> None:
        """Do the work once."""
        if self._warm_ups < WARM_UPS:
            self._warm_ups += 1
            self._graphs.warm_up(self._work)
            return
        if self._replay is None:
            self._replay = self._graphs.record(self._work)
        self._replay()
