"""The CPUs that this process may use: not all of the machine's where affinity, a container or Slurm limits them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def machine_cpus() -> int:
    """Return how many CPUs the machine has."""
    return os.cpu_count() or 1


def available_cpus() -> int:
    """Return how many CPUs this process may use, at least 1."""
    return max(1, min([machine_cpus(), *cpu_limits().values()]))


def cpu_limits() -> dict[str, int]:
    """Return what limits the CPUs of this process: its name → whole CPUs."""
    limits: dict[str, int] = {}
    if hasattr(os, "sched_getaffinity"):
        limits["affinity"] = len(os.sched_getaffinity(0))
    if quotas := list(_quotas()):
        limits["cgroup quota"] = int(min(quotas))
    if (slurm := _slurm(os.environ)) is not None:
        limits["Slurm"] = slurm
    return limits


def _slurm(environment: Mapping[str, str]) -> int | None:
    """Return the CPUs of a Slurm job on this node, or in a job step those of a task; None outside of a job."""
    keys = ["SLURM_CPUS_ON_NODE"]
    if "SLURM_STEP_ID" in environment:
        keys.insert(0, "SLURM_CPUS_PER_TASK")
    found = [environment[key] for key in keys if environment.get(key, "").isdecimal()]
    return int(found[0]) if found else None


def _quotas() -> Iterator[float]:
    """Yield the CPU quotas of this process's cgroup and of those above it, in CPUs; versions 1 and 2."""
    try:
        lines = OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):  # not Linux
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            for folder in _upwards(CGROUPS, path):
                quota, _, period = _read(folder / "cpu.max").partition(" ")
                yield from _as_cpus(quota, period)
        elif "cpu" in controllers.split(","):
            for folder in _upwards(CGROUPS / "cpu", path):
                yield from _as_cpus(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _upwards(top: Path, path: str) -> Iterator[Path]:
    """Yield the folder of a cgroup and those above it, up to ``top``; in a container only ``top`` may exist."""
    folder = top / path.lstrip("/")
    while folder != top and top in folder.parents:
        yield folder
        folder = folder.parent
    yield top


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _as_cpus(quota: str, period: str) -> Iterator[float]:
    if quota.isdecimal() and period.isdecimal() and int(quota) > 0 and int(period) > 0:  # "max" and "-1": no limit
        yield int(quota) / int(period)
