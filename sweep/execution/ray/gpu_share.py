"""The share of a GPU that a trial gets: as the spec or the ledger has it, else as a probe on a whole GPU finds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from results.ledger.ledger import Ledger
from search_spaces.errors import LedgerError, SpecError
from sweep.config.spec import Spec
from sweep.execution.ray.nodes import last_line
from sweep.planning.plan import Pack
from trainables.data.dataset import DataSet

GPU_PATIENCE_SECONDS = 120.0
"""How long the probe waits for a whole GPU; other jobs may use the cluster."""


def gpus_per_trial(spec: Spec, packs: Sequence[Pack], data: DataSet, ledger: Ledger) -> float:
    """Return the GPUs of a trial; for ``auto`` the share that the ledger keeps, or that a probe finds now.

    The probe trains the largest pack for some steps on a whole GPU. It is repeated only if a pack is larger than the
    probed one, or if the GPUs have another memory size.

    Raises:
        SpecError: a pack that does not fit into a whole GPU, no GPU where Ray has one, or a probe that failed.
        LedgerError: what the ledger keeps cannot be read.
    """
    from trainables.profiling.gpu_share import Footprint, probe_footprint, share_of, whole_memory
    from trainables.profiling.probe import stand_in

    if spec.resources.gpus_per_trial != "auto":
        return spec.resources.gpus_per_trial
    largest = max(packs, key=lambda pack: len(pack.runs))
    kept, runs = ledger.gpu_share(), len(largest.runs)
    try:
        if kept is not None and runs <= kept["runs"]:
            whole = _on_a_gpu(whole_memory)
            if whole in (0, kept.get("whole")):  # 0: Ray's GPUs are only logical, and the trials train on the CPU
                return float(kept["share"])
            footprint, runs = replace(Footprint.from_dict(kept), whole=whole), int(kept["runs"])
        else:
            footprint = _on_a_gpu(probe_footprint, [stand_in(run) for run in largest.runs], data)
    except (ValueError, TypeError, KeyError) as error:
        raise LedgerError(f"{ledger.path}: its GPU share cannot be read ({error}); give --gpus-per-trial") from error
    share = share_of(footprint, runs)
    ledger.keep_gpu_share({"runs": runs, "share": share, **asdict(footprint)})
    return share


def _on_a_gpu(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run ``work`` in a separate process that has a whole GPU, and return its result.

    Raises:
        SpecError: no GPU was free in time, or the process failed.
    """
    import ray

    task = ray.remote(num_gpus=1, max_calls=1, max_retries=0)(work).remote(*arguments)
    try:
        return ray.get(task, timeout=GPU_PATIENCE_SECONDS)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(task, force=True)
        reason = f"no GPU was free within {GPU_PATIENCE_SECONDS:g} seconds"
    except ray.exceptions.RayError as error:
        reason = last_line(error)
    raise SpecError("resources.gpus_per_trial", f"'auto', but the probe failed ({reason})", "a fraction of a GPU")
