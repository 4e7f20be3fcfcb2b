"""What share of a GPU a pack needs: the arithmetic from bytes to fractions, and the probe that gives the bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from search_spaces.errors import SpecError
from trainables.runtime.devices import CONTEXT_BYTES

if TYPE_CHECKING:
    from search_spaces import Run
    from trainables.data.dataset import DataSet

HEADROOM = 1.25
"""How much more than the probe's peak a pack is given: its memory is cut in pieces of other sizes as it goes."""

MOST_SHARES = 16
"""Into so many equal shares a GPU is cut at the most: each is a process with a context of its own."""

RAY_GRAIN = 10_000
"""Ray counts a GPU in as many parts."""

PROBE_STEPS = 8
"""Steps of the probe: those that warm up, those that are captured, and some that are replayed."""


@dataclass(frozen=True)
class Footprint:
    """What a pack takes of a GPU, in bytes."""

    reserved: int  # peak of what PyTorch's allocator held: data, weights, states, a step, an evaluation, captures
    context: int  # what the process takes beside it: CUDA's context and its libraries' kernels
    whole: int  # the GPU's memory

    @classmethod
    def from_dict(cls, table: Mapping[str, float]) -> Self:
        """Read what ``dataclasses.asdict`` made of one, beside whatever else is in ``table``.

        Raises:
            ValueError: one of the three is missing, or no number of bytes.
        """
        found = cls(*(int(table.get(key, -1)) for key in ("reserved", "context", "whole")))
        if min(found.reserved, found.context, found.whole) < 0:
            raise ValueError("bytes below 0")
        return found


def share_of(footprint: Footprint, runs: int) -> float:
    """Return the fraction of a GPU that a pack of ``runs`` runs asks for: 1/n, with the largest n that fits.

    Raises:
        SpecError: a pack that a whole GPU has no memory for, or no GPU.
    """
    where = "resources.gpus_per_trial"
    if not footprint.whole:
        raise SpecError(where, "'auto', but PyTorch finds no GPU where Ray has one", "a fraction, or 0")
    needed = footprint.reserved * HEADROOM + max(footprint.context, CONTEXT_BYTES)  # as a trial is held to its share
    if needed > footprint.whole:
        more = "more" if footprint.reserved >= footprint.whole else _gib(needed)
        raise SpecError(
            where, f"'auto', but a GPU has {_gib(footprint.whole)} and a pack of {runs} runs needs {more}",
            "a smaller resources.pack",
        )  # fmt: skip
    at_once = min(MOST_SHARES, int(footprint.whole // max(1, needed)))
    return RAY_GRAIN // at_once / RAY_GRAIN  # rounded up, the last one would not fit beside the others


def whole_memory() -> int:
    """Return the bytes of this process's GPU; 0 where PyTorch finds none."""
    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0


def probe_footprint(runs: Sequence[Run], data: DataSet) -> Footprint:
    """Train a pack of ``runs`` for some steps and evaluate it, on a whole GPU of this process, and see what it takes.

    It comes back from another process, so what goes wrong is a footprint, too: one of nothing where PyTorch finds no
    GPU, one of a whole GPU where its memory is not enough.
    """
    if not torch.cuda.is_available():
        return Footprint(0, 0, 0)
    try:
        return _trained_footprint(runs, data)
    except torch.OutOfMemoryError:
        whole = torch.cuda.get_device_properties(0).total_memory
        return Footprint(whole, 0, whole)


def _trained_footprint(runs: Sequence[Run], data: DataSet) -> Footprint:
    from trainables.optim.schedulers import without_schedule
    from trainables.runtime.devices import deterministic, training_device
    from trainables.training.batches import Batches, Split
    from trainables.training.pack import Pack

    device = training_device(wants_gpu=True)
    deterministic(device)
    torch.cuda.reset_peak_memory_stats(device)
    batches = Batches(data, [run.seed for run in runs], runs[0].protocol, device)
    pack = Pack([without_schedule(run) for run in runs], batches.steps, device)  # some end with the run's last step
    splits = [Split.of(data.val_images, data.val_labels, device), Split.of(data.test_images, data.test_labels, device)]
    last = batches.steps - 1  # the smaller batch is captured separately
    for step in [*range(min(PROBE_STEPS, batches.steps)), *[last] * PROBE_STEPS]:
        pack.step_in_epoch = step
        pack.train_step(batches.batch(1, step))
    for split in splits:
        pack.evaluate(split)
    torch.cuda.synchronize(device)
    free, whole = torch.cuda.mem_get_info(device)
    # What is neither free nor the allocator's is the context: nobody else is on a whole GPU.
    context = max(0, whole - free - torch.cuda.memory_reserved(device))
    return Footprint(torch.cuda.max_memory_reserved(device), context, whole)


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
