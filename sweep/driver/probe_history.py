"""Step times that the probe of an earlier sweep measured under the same conditions; they replace a new probe.

The sweeps in the same folder are searched: ``provenance.json`` of each has the step times and their conditions.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.code_version import code_hash
from sweep.execution.executor import StepsToTime
from sweep.folder.paths import SweepFolder, sweep_names
from sweep.folder.provenance import own_code
from sweep.planning.planner import StepTimes
from sweep.process.cpus import available_cpus, machine_cpus

if TYPE_CHECKING:
    from trainables.data.dataset import DataSet

MOST_SWEEPS = 100
"""Number of sweeps that are searched, the newest first."""
MOST_BYTES = 4 * 2**20
"""A larger ``provenance.json`` is not read."""
CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Measured:
    """Step times, and the name of the sweep that has them."""

    times: StepTimes
    sweep: str


def probe_conditions(steps: StepsToTime, slots: Mapping[int, int], data: DataSet) -> dict[str, Any]:
    """Return what the step times on the CPUs of this machine depend on, as a table for JSON.

    ``slots`` are threads → the number of trials at a time: a step takes longer where more processes train.
    """
    from trainables.profiling.probe import stand_in
    from trainables.runtime.devices import library_versions

    return {
        "machine": [platform.machine(), _processor(), machine_cpus(), available_cpus()],
        "versions": library_versions(),
        "code": code_hash(),
        "own_code": own_code(steps.runs),
        "images": list(data.train_images.shape),
        "classes": data.classes,
        "kernels": steps.kernels,
        "protocol": steps.runs[0].conditions.to_dict(),
        "optimizers": sorted({stand_in(run).configuration.optimizer for run in steps.runs}),
        "trials": {str(threads): min(slots[threads], steps.most) for threads in steps.cpus},
    }


def earlier_times(folder: SweepFolder, steps: StepsToTime, conditions: Mapping[str, Any]) -> Measured | None:
    """Return the newest step times of the sweeps beside ``folder`` that answer ``steps``; None if there are none.

    They have the same conditions, and cover the sizes of ``steps`` with each of its numbers of threads. A file that
    cannot be read is skipped.
    """
    for other in _newest(folder):
        for packing in _packings(other.provenance):
            try:
                found, times = dict(packing["conditions"]), StepTimes.from_list(packing["step_seconds"])
                if _same(found, conditions) and _covers(times, steps):
                    return Measured(times, other.name)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
                continue
    return None


def _newest(folder: SweepFolder) -> list[SweepFolder]:
    """Return the other sweeps that have a record, the newest first. A link is not followed."""
    found = []
    for name in sweep_names(folder.runs_dir):
        other = SweepFolder(folder.runs_dir, name)
        if name != folder.name and other.provenance.is_file() and not other.provenance.is_symlink():
            status = other.provenance.stat()
            if status.st_size <= MOST_BYTES:
                found.append((status.st_mtime, name, other))
    return [other for _, _, other in sorted(found, key=lambda one: one[:2], reverse=True)[:MOST_SWEEPS]]


def _packings(path: Path) -> Iterator[Any]:
    """Yield the packings in a ``provenance.json``, the newest first."""
    try:
        sessions = list(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return
    for session in reversed(sessions):
        if isinstance(session, dict) and "packing" in session:
            yield session["packing"]


def _same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether ``found`` has the conditions ``wanted``; it may have more numbers of threads."""
    rest = {**found, "trials": None} == {**json.loads(json.dumps(wanted)), "trials": None}
    return rest and wanted["trials"].items() <= found["trials"].items()


def _covers(times: StepTimes, steps: StepsToTime) -> bool:
    """Whether every size of ``steps`` lies between two measured ones, with each number of threads."""
    if not all(math.isfinite(seconds) and seconds > 0 for seconds in times.seconds.values()):
        return False
    for threads in steps.cpus:
        sizes = [size for size, on in times.seconds if on == threads]
        if not sizes or min(sizes) > min(steps.sizes) or max(sizes) < max(steps.sizes):
            return False
    return True


def _processor() -> str:
    """Return the model of the processor; on Linux from ``/proc/cpuinfo``."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
