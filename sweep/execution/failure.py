"""A failed attempt at a pack, and what its exception says about the cause."""

from __future__ import annotations

from dataclasses import dataclass

from sweep.process.memory import is_out_of_memory

CUDA_OUT_OF_MEMORY = 2
"""``cudaErrorMemoryAllocation``: the code of a ``torch.AcceleratorError`` from outside of PyTorch's allocator."""


@dataclass(frozen=True)
class Failure:
    """Why an attempt at a pack failed."""

    traceback: str
    error: BaseException | None = None  # None: the process exited without an exception
    lost_node: bool = False  # whether its machine is gone, so that no run can be the cause
    killed_for_memory: str = ""  # what ended the process for lack of memory; empty: it was not ended for this

    @property
    def last_line(self) -> str:
        """The error in one line."""
        if self.killed_for_memory:
            return f"out of memory: {self.killed_for_memory} ended its process"
        return next((line.strip() for line in reversed(self.traceback.splitlines()) if line.strip()), "")

    @property
    def out_of_gpu_memory(self) -> bool:
        """Whether the GPU's memory was too small; fewer trials per GPU may help."""
        import torch

        if isinstance(self.error, torch.AcceleratorError):
            return getattr(self.error, "error_code", None) == CUDA_OUT_OF_MEMORY
        return isinstance(self.error, torch.OutOfMemoryError)

    @property
    def out_of_memory(self) -> bool:
        """Whether the machine's memory was too small, perhaps because of another program."""
        return bool(self.killed_for_memory) or (not self.out_of_gpu_memory and is_out_of_memory(self.error))

    @property
    def may_be_one_run(self) -> bool:
        """Whether one run of the pack may be the cause, so that the others can succeed without it."""
        from trainables.training.checkpoints import CheckpointError, SupersededError

        return (
            not self.lost_node
            and not self.out_of_memory
            and not isinstance(self.error, CheckpointError | SupersededError)
        )
