"""The batch script's own logic, with a real Ray of two nodes and a real sweep.

Only `srun` and `scontrol` replace those of Slurm: a step runs at once, on this machine; a requeue is recorded.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest

from sweep.folder.paths import SweepFolder
from sweep.folder.status_source import StatusSource
from tests.deploy.test_launchers import DEPLOY
from tests.sweep.loopback_cluster import FREE_PORTS
from tests.sweep.process.test_signals import TEXT, wait_for
from tests.sweep.sweeps import PATIENCE_SECONDS, environment, finish, rows_of

pytestmark = pytest.mark.slow

STAND_INS = {
    "srun": """#!/bin/bash
echo "$SRUN_CPUS_PER_TASK $*" >> "$STEPS"
while [[ "$1" == --* ]]; do shift; done
if [ "$1" = hostname ]; then echo 127.0.0.2; else exec "$@"; fi
""",
    "scontrol": """#!/bin/bash
case "$1" in
  show) printf 'first\\nsecond\\n' ;;
  requeue) echo "$2" >> "$REQUEUED" ;;
esac
""",
    # Each node has its own address, ports and folder on this machine.
    "ray": f"""#!/bin/bash
[[ "$*" != "start --block "* ]] || set -- "$@" --node-ip-address=127.0.0.3 --temp-dir="/tmp/ray-$SLURM_JOB_ID/second"
[[ "$1" != start ]] || set -- "$@" {" ".join(FREE_PORTS)}
exec {sys.executable} -m ray.scripts.scripts "$@"
""",
    "sweep": f"""#!/bin/bash
exec {sys.executable} -m sweep "$@"
""",
}


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The environment that Slurm gives a job of two nodes."""
    (tmp_path / "bin").mkdir()
    for name, text in STAND_INS.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "local").mkdir()
    return environment() | {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "TMPDIR": str(tmp_path / "local"),
        "REQUEUED": str(tmp_path / "requeued"),
        "STEPS": str(tmp_path / "steps"),
        "SLURM_JOB_ID": job_with_a_free_port(),
        "SLURM_JOB_NODELIST": "first,second",
        "SLURM_CPUS_PER_TASK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def job_with_a_free_port() -> str:
    """Return the id of a job to which `slurm.sbatch` gives a free port: 20000 + its last four digits."""
    for digits in random.Random(os.getpid()).sample(range(10000), 100):
        with suppress(OSError), socket.create_server(("", 20000 + digits)):
            return f"{os.getpid()}{digits:04d}"
    raise AssertionError("none of a hundred ports is free")


def batch(folder: Path, job: dict[str, str]) -> subprocess.Popen[str]:
    """What `sbatch deploy/slurm.sbatch cut.toml …/shared` runs on the job's first node."""
    return subprocess.Popen(
        ["bash", DEPLOY / "slurm.sbatch", "cut.toml", f"{folder}/shared"],
        cwd=folder, env=job, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def end_of(process: subprocess.Popen[str], processes: list[psutil.Process]) -> tuple[str, str]:
    """Return its output; none of its processes is left after that."""
    try:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        for one in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
            one.kill()
        process.kill()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive
    return out, err


@pytest.mark.ray
def test_a_preempted_job_writes_checkpoints_is_requeued_and_resumes_to_the_same_bits(
    tmp_path: Path, job: dict[str, str]
) -> None:
    """`--signal=B:TERM` is sent to the batch shell only. The nodes of the requeued job have empty disks."""
    (tmp_path / "whole.toml").write_text(TEXT)
    (tmp_path / "cut.toml").write_text(f'storage = "{tmp_path}/shared"\n{TEXT}')
    folder = SweepFolder(tmp_path / "local" / f"lenet-sweep-{job['SLURM_JOB_ID']}", "cut")
    process = batch(tmp_path, job)
    processes = [psutil.Process(process.pid)]

    try:
        wait_for(process, lambda: bool(list((tmp_path / "shared").glob("cut/checkpoints/*/epoch*.ckpt"))))
        processes += processes[0].children(recursive=True)
        process.send_signal(signal.SIGTERM)
    finally:
        out, err = end_of(process, processes)
    assert process.returncode == 130, out + err
    assert "interrupted; to continue: sweep resume" in err
    assert (tmp_path / "requeued").read_text() == f"{job['SLURM_JOB_ID']}\n"
    sessions = f"/tmp/ray-{job['SLURM_JOB_ID']}"
    steps = (tmp_path / "steps").read_text().splitlines()
    assert steps[-1] == f"1 --overlap --ntasks-per-node=1 rm -rf {sessions}"  # on every node of the job
    assert any("--nodelist=second" in step for step in steps)  # its other node was asked to join
    assert all(step.startswith("1 ") for step in steps)  # with the CPUs of a task
    assert not Path(sessions).exists()
    status = StatusSource.of_storage(f"{tmp_path}/shared/cut").status()
    assert status.interrupted > 0
    assert (status.driver, status.running, status.failed) == (None, 0, 0)
    assert len(rows_of(folder.path)) < 2 * 3

    shutil.rmtree(folder.runs_dir)
    again = batch(tmp_path, job)
    out, err = end_of(again, [psutil.Process(again.pid)])
    assert again.returncode == 0, out + err
    assert (tmp_path / "requeued").read_text().count("\n") == 1
    assert finish(tmp_path, "run", "whole.toml").returncode == 0
    pd.testing.assert_frame_equal(rows_of(folder.path), rows_of(tmp_path / "whole"), check_exact=True)


TERM = "kill -TERM $PPID"


@pytest.mark.parametrize(
    ("ray", "sweep_status", "sweep_run", "begun"),
    [
        (f"{TERM}; exit 1", "exit 0", "exit 0", False),  # while the head starts
        ("exit 0", f"{TERM}; exit 0", "exit 0", False),
        ("exit 0", f"{TERM}; kill -TERM $$", "exit 0", False),  # all processes got it
        ("exit 0", "exit 2", f"{TERM}; exec sleep 600", True),  # the driver does not handle the signal yet: 143
        ("exit 0", "exit 2", f"{TERM}; {TERM}; exit 130", True),
    ],
)
def test_a_job_that_ends_before_its_driver_runs_is_requeued(
    tmp_path: Path, job: dict[str, str], ray: str, sweep_status: str, sweep_run: str, begun: bool
) -> None:
    """With a `ray` and a `sweep` that only send the signal at that moment."""
    (tmp_path / "bin" / "ray").write_text(f'#!/bin/bash\n[ "$1" = health-check ] || exec sleep 600\n{ray}\n')
    (tmp_path / "bin" / "sweep").write_text(
        f'#!/bin/bash\nif [ "$1" = status ]; then {sweep_status}; fi\ntouch begun\n{sweep_run}\n'
    )
    process = batch(tmp_path, job)
    out, err = end_of(process, [psutil.Process(process.pid)])
    assert process.returncode == 130, out + err
    assert (tmp_path / "requeued").read_text() == f"{job['SLURM_JOB_ID']}\n"
    assert (tmp_path / "begun").exists() is begun


def test_a_job_whose_driver_fails_is_not_requeued(tmp_path: Path, job: dict[str, str]) -> None:
    (tmp_path / "bin" / "ray").write_text('#!/bin/bash\n[ "$1" = health-check ] || exec sleep 600\n')
    (tmp_path / "bin" / "sweep").write_text("#!/bin/bash\nexit 2\n")
    process = batch(tmp_path, job)
    out, err = end_of(process, [psutil.Process(process.pid)])
    assert process.returncode == 2, out + err
    assert not (tmp_path / "requeued").exists()


def test_without_arguments_it_prints_its_usage(job: dict[str, str]) -> None:
    said = subprocess.run(["bash", DEPLOY / "slurm.sbatch"], env=job, capture_output=True, text=True, check=False)
    assert said.returncode != 0
    assert "usage: sbatch deploy/slurm.sbatch SPEC.toml STORAGE" in said.stderr
