"""Work that a device repeats: captured once as a CUDA graph, and then replayed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import torch

Work = Callable[[], None]
"""Work on tensors that stay in place. A capture freezes the Python numbers that it reads."""

WARM_UPS = 3
"""How often work is run before it is captured; PyTorch requires a few warm-ups, for its libraries."""


class Graphs(Protocol):
    """How work is captured."""

    def warm_up(self, work: Work) -> None:
        """Run ``work`` without capturing it."""

    def capture(self, work: Work) -> Work:
        """Return a function that repeats ``work`` on the same tensors; ``work`` itself is not run."""


class CudaGraphs:
    """Captures CUDA graphs, all in one memory pool, on one side stream, as PyTorch's notes on CUDA graphs require.

    A process has one (:func:`graphs_of`): every stream costs a cuBLAS workspace that is never freed, and graphs that
    are replayed one after the other on one stream can share a pool.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Work) -> None:
        """Run ``work`` on the stream that will capture it."""
        present = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(present)
        with torch.cuda.stream(self._stream):
            work()
        present.wait_stream(self._stream)

    def capture(self, work: Work) -> Work:
        """Capture ``work``. A capture runs no kernel, so no state has to be restored."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            work()
        return graph.replay


class NoGraphs:
    """Captures nothing: ``work`` is run as it is, every time."""

    def warm_up(self, work: Work) -> None:
        """Run ``work``."""
        work()

    def capture(self, work: Work) -> Work:
        """Return ``work``."""
        return work


@lru_cache
def graphs_of(device: torch.device) -> Graphs | None:
    """Return how a pack's step is captured on ``device``; None on a CPU, which runs it operator by operator."""
    return CudaGraphs(device) if device.type == "cuda" else None


class Captured:
    """One piece of work: the first calls run it as a warm-up, the later ones replay its capture."""

    def __init__(self, work: Work, graphs: Graphs) -> None:
        self._work = work
        self._graphs = graphs
        self._warm_ups = 0
        self._replay: Work | None = None

    def __call__(self) -> None:
        """Run the work once."""
        if self._warm_ups < WARM_UPS:
            self._warm_ups += 1
            self._graphs.warm_up(self._work)
            return
        if self._replay is None:
            self._replay = self._graphs.capture(self._work)
        self._replay()
