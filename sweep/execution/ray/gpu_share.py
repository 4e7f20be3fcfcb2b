"""The share of a GPU that a trial gets: as the spec or the ledger has it, else as a probe on a whole GPU finds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from results.ledger.ledger import Ledger
from search_spaces.errors import LedgerError, SpecError
from sweep.config.spec import Spec
from sweep.execution.cluster_slots import ClusterSlots
from sweep.execution.executor import ProbeError, StepsToTime
from sweep.execution.ray import probes
from sweep.execution.ray.gpu_task import GpuTaskError, measurement_pays, on_a_gpu
from sweep.planning.plan import Pack
from sweep.planning.planner import NOISE
from trainables.data.dataset import DataSet

PROCESSES = (1, 2, 4)
"""Numbers of processes on one GPU whose throughput is measured."""


def gpus_per_trial(
    spec: Spec, packs: Sequence[Pack], data: DataSet, ledger: Ledger, slots: ClusterSlots
) -> float:  # fmt: skip
    """Return the GPUs of a trial; for ``auto`` the share that the ledger keeps, or that a probe finds now.

    The probe trains the largest pack for some steps on a whole GPU, which gives the smallest share that holds it. More
    processes share a GPU only where they take more steps per second together (:func:`fastest_share`). The probe is
    repeated only if a pack is larger than the probed one, or if the GPUs have another memory size.

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
    share: float | None = None
    try:
        if kept is not None and runs <= kept["runs"]:
            whole = _on_a_gpu(whole_memory)
            if whole in (0, kept.get("whole")):  # 0: Ray's GPUs are only logical, and the trials train on the CPU
                return float(kept["share"])
            footprint, runs = replace(Footprint.from_dict(kept), whole=whole), int(kept["runs"])
            share = max(float(kept["share"]), share_of(footprint, runs))
        else:
            footprint = _on_a_gpu(probe_footprint, [stand_in(run) for run in largest.runs], data)
    except (ValueError, TypeError, KeyError) as error:
        raise LedgerError(f"{ledger.path}: its GPU share cannot be read ({error}); give --gpus-per-trial") from error
    if share is None:
        share = fastest_share(spec, packs, data, slots, share_of(footprint, runs))
    ledger.keep_gpu_share({"runs": runs, "share": share, **asdict(footprint)})
    return share


def fastest_share(
    spec: Spec, packs: Sequence[Pack], data: DataSet, slots: ClusterSlots, least: float
) -> float:  # fmt: skip
    """Return the share of a GPU with the highest number of steps per second, at least ``least``.

    Processes on one GPU take turns, so a fraction pays only where one process leaves the GPU idle. Within the noise of
    the measurement, and where nothing is measured, fewer processes are preferred.
    """
    from trainables.profiling.gpu_share import RAY_GRAIN

    largest = max(packs, key=lambda pack: len(pack.runs))
    resources, size = spec.resources, len(largest.runs)
    gpus = len(slots.in_turn(resources.cpus, 1.0))
    measured = len(packs) > 1 and measurement_pays(spec, packs, data)
    rates: dict[float, float] = {}
    for processes in PROCESSES:
        share = RAY_GRAIN // processes / RAY_GRAIN
        if not measured or share < least or processes * gpus > len(packs):
            break
        asked = resources.model_copy(update={"gpus_per_trial": share})
        timed = StepsToTime(largest.runs[:1], [size], {1: resources.cpus}, most=processes * gpus)
        try:
            times = probes.probe(slots, asked, data, timed)
        except ProbeError:
            break
        if not times.seconds:  # out of memory
            break
        rates[share] = processes / times.of(size, 1)
    good = [share for share, rate in rates.items() if NOISE * rate >= max(rates.values())]
    return max(good, default=1.0)


def _on_a_gpu(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run ``work`` in a separate process that has a whole GPU, and return its result.

    Raises:
        SpecError: no GPU was free in time, or the process failed.
    """
    try:
        return on_a_gpu(work, *arguments)
    except GpuTaskError as error:
        raise SpecError(
            "resources.gpus_per_trial", f"'auto', but the probe failed ({error})", "a fraction of a GPU"
        ) from error
