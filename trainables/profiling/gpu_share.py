"""The share of a GPU that a pack needs: a probe that measures the memory, and the conversion to a fraction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from search_spaces.errors import SpecError
from search_spaces.plain_text import counted
from trainables.runtime.devices import CONTEXT_BYTES

if TYPE_CHECKING:
    from search_spaces import Run
    from trainables.data.dataset import DataSet

HEADROOM = 1.25
"""Memory of a pack relative to the peak of the probe: a longer training fragments the memory more."""

MOST_SHARES = 16
"""Maximum number of equal shares of a GPU: each is a separate process with its CUDA context."""

RAY_GRAIN = 10_000
"""Ray counts fractions of a GPU in units of 1/RAY_GRAIN."""

PROBE_STEPS = 8
"""Steps of the probe: warm-up, capture, and some replays."""


@dataclass(frozen=True)
class Footprint:
    """The memory that a pack uses on a GPU, in bytes."""

    reserved: int  # peak of PyTorch's allocator: data, weights, optimizer states, a step, an evaluation, CUDA graphs
    context: int  # other memory of the process: the CUDA context and the kernels of its libraries
    whole: int  # total memory of the GPU

    @classmethod
    def from_dict(cls, table: Mapping[str, float]) -> Self:
        """Read the three values, as written by ``dataclasses.asdict``; other keys of ``table`` are ignored.

        Raises:
            ValueError: a value is missing, negative or not a number.
        """
        found = cls(*(int(table.get(key, -1)) for key in ("reserved", "context", "whole")))
        if min(found.reserved, found.context, found.whole) < 0:
            raise ValueError("a number of bytes is missing or below 0")
        return found


def share_of(footprint: Footprint, runs: int) -> float:
    """Return the fraction of a GPU for a pack of ``runs`` runs: 1/n, with the largest n that fits.

    Raises:
        SpecError: a whole GPU has not enough memory for the pack, or there is no GPU.
    """
    where = "resources.gpus_per_trial"
    if not footprint.whole:
        raise SpecError(where, "'auto', but PyTorch finds no GPU on a node where Ray has one", "use a fraction, or 0")
    needed = footprint.reserved * HEADROOM + (footprint.context or CONTEXT_BYTES)  # as in hold_to_share
    if needed > footprint.whole:
        more = "more" if footprint.reserved >= footprint.whole else _gib(needed)
        raise SpecError(
            where, f"'auto', but a GPU has {_gib(footprint.whole)} and a pack of {counted(runs, 'run')} needs {more}",
            "use a smaller resources.pack",
        )  # fmt: skip
    at_once = min(MOST_SHARES, int(footprint.whole // max(1, needed)))
    return RAY_GRAIN // at_once / RAY_GRAIN  # rounded down, so that all shares together fit


def whole_memory() -> int:
    """Return the memory of the GPU of this process in bytes; 0 where PyTorch finds none."""
    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0


def probe_footprint(runs: Sequence[Run], data: DataSet) -> Footprint:
    """Train a pack of ``runs`` for some steps on the whole GPU of this process, evaluate it, and return its memory.

    The result is sent from another process, so failures are footprints too: all zero where PyTorch finds no GPU, and a
    whole GPU where its memory is not enough.
    """
    if not torch.cuda.is_available():
        return Footprint(0, 0, 0)
    try:
        return _trained_footprint(runs, data)
    except torch.OutOfMemoryError:
        whole = torch.cuda.get_device_properties(0).total_memory
        return Footprint(whole, 0, whole)


def _trained_footprint(runs: Sequence[Run], data: DataSet) -> Footprint:
    from trainables.optim.schedule import without_schedule
    from trainables.runtime.devices import deterministic, training_device
    from trainables.training.batches import Batches, Split
    from trainables.training.pack import Pack

    device = training_device(wants_gpu=True)
    deterministic(device)
    torch.cuda.reset_peak_memory_stats(device)
    batches = Batches(data, [run.seed for run in runs], runs[0].conditions, device)
    pack = Pack([without_schedule(run) for run in runs], batches.steps, device, classes=data.classes)
    splits = [Split.of(data.val_images, data.val_labels, device), Split.of(data.test_images, data.test_labels, device)]
    last = batches.steps - 1  # the smaller last batch has a separate CUDA graph
    for step in [*range(min(PROBE_STEPS, batches.steps)), *[last] * PROBE_STEPS]:
        pack.step_in_epoch = step
        pack.train_step(batches.batch(1, step))
    for split in splits:
        pack.evaluate(split)
    torch.cuda.synchronize(device)
    free, whole = torch.cuda.mem_get_info(device)
    # The rest is the context: no other process uses a GPU that was requested as a whole.
    context = max(0, whole - free - torch.cuda.memory_reserved(device))
    return Footprint(torch.cuda.max_memory_reserved(device), context, whole)


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
