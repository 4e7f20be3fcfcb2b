"""The number of CPUs is the number that this process may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.cli import doctor
from sweep.process import cpus
from sweep.process.cpus import available_cpus, cpu_limits, machine_cpus

ROOT = Path(__file__).parents[3]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of 64 CPUs, without limits; its cgroups are in the folder."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    monkeypatch.setattr(cpus, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cpus, "OWN_CGROUPS", tmp_path / "own")
    for key in ("SLURM_CPUS_ON_NODE", "SLURM_CPUS_PER_TASK", "SLURM_STEP_ID"):
        monkeypatch.delenv(key, raising=False)
    return tmp_path


def test_without_a_limit_all_of_the_machines_count(machine: Path) -> None:
    assert (available_cpus(), machine_cpus()) == (64, 64)


def test_the_affinity_counts(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 7})
    assert available_cpus() == 2


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_taskset_counts() -> None:
    (first, *_) = os.sched_getaffinity(0)
    program = (
        f"import os; os.sched_setaffinity(0, [{first}]); from sweep.process.cpus import available_cpus;"
        " print(available_cpus())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert said.stdout == "1\n"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/user/me", {"user/me/cpu.max": "350000 100000"}, 3),
        ("0::/user/me", {"user/me/cpu.max": "max 100000", "user/cpu.max": "200000 100000"}, 2),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/../../kubepods/pod", {"cpu.max": "400000 100000"}, 4),
        ("0::/user/me", {"user/me/cpu.max": "max 100000"}, 64),
        (
            "4:cpu,cpuacct:/docker/a\n0::/",
            {"cpu/docker/a/cpu.cfs_quota_us": "600000", "cpu/docker/a/cpu.cfs_period_us": "100000"}, 6,
        ),
        ("4:cpu:/docker/a", {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ("4:cpuset:/", {}, 64),
    ],
)  # fmt: skip
def test_the_quota_of_a_container_counts(own: str, files: dict[str, str], expected: int, machine: Path) -> None:
    """Versions 1 and 2; that of a group above this one holds, too."""
    (machine / "own").write_text(f"{own}\n")
    for name, content in files.items():
        path = machine / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    assert available_cpus() == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SLURM_CPUS_ON_NODE": "16"}, 16),
        ({"SLURM_CPUS_ON_NODE": "16", "SLURM_CPUS_PER_TASK": "4"}, 16),  # a batch script has the whole allocation
        ({"SLURM_CPUS_ON_NODE": "16", "SLURM_CPUS_PER_TASK": "4", "SLURM_STEP_ID": "0"}, 4),
        ({"SLURM_CPUS_ON_NODE": "16", "SLURM_STEP_ID": "0"}, 16),
        ({"SLURM_CPUS_ON_NODE": "many"}, 64),
        ({"SLURM_CPUS_PER_TASK": "4"}, 64),
    ],
)
def test_the_allocation_of_slurm_counts(
    environment: dict[str, str], expected: int, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert available_cpus() == expected


def test_the_smallest_limit_holds_and_the_doctor_shows_both_numbers(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "16")
    assert cpu_limits() == {"affinity": 8, "Slurm": 16}
    line = doctor._processors()
    assert line.startswith("8 of 64 CPUs")
    assert "affinity, Slurm" in line


def test_a_local_ray_and_training_in_this_process_use_that_number(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from sweep.execution.in_process import InProcessExecutor
    from sweep.execution.ray.session import ray_session

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 2, 3})
    assert InProcessExecutor().nodes()[0]["Resources"] == {"CPU": 3.0}
    given: dict[str, object] = {}

    def init(**options: object) -> None:
        given.update(options)
        raise ConnectionError("not in this test")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(Exception, match="not in this test"), ray_session("local"):
        pass
    assert given["num_cpus"] == 3
