"""The batch script's own logic, with a real Ray of two nodes and a real sweep.

Only `srun` and `scontrol` stand in for Slurm's: a step runs at once, on this machine; what is requeued is noted.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sweep.folder import SweepFolder
from sweep.status import sweep_status
from tests.deploy.test_launchers import DEPLOY
from tests.sweep.test_stopping import PATIENCE_SECONDS, TEXT, environment, states, wait_for

STAND_INS = {
    "srun": """#!/bin/bash
while [[ "$1" == --* ]]; do shift; done
if [ "$1" = hostname ]; then echo 127.0.0.1; else exec "$@"; fi
""",
    "scontrol": """#!/bin/bash
case "$1" in
  show) printf 'first\\nsecond\\n' ;;
  requeue) echo "$2" >> "$REQUEUED" ;;
esac
""",
    "ray": f"""#!/bin/bash
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
        "SLURM_JOB_ID": str(os.getpid() % 10000),  # another port for each test process
        "SLURM_JOB_NODELIST": "first,second",
        "SLURM_CPUS_PER_TASK": "1",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all ports on loopback
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@pytest.mark.ray
def test_a_preempted_job_writes_checkpoints_and_is_requeued(tmp_path: Path, job: dict[str, str]) -> None:
    """`--signal=B:TERM` reaches the batch shell alone; the driver answers, and every process of the job ends."""
    (tmp_path / "cut.toml").write_text(TEXT)
    folder = SweepFolder(tmp_path / "local" / f"lenet-sweep-{job['SLURM_JOB_ID']}", "cut")
    batch = subprocess.Popen(
        ["bash", DEPLOY / "slurm.sbatch", "cut.toml", str(tmp_path / "shared")],
        cwd=tmp_path, env=job, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip

    def nodes() -> int:
        driver = sweep_status(folder)["driver"] if folder.ledger.exists() else None
        return len(driver["nodes"] or ()) if driver else 0

    processes = [psutil.Process(batch.pid)]
    try:
        wait_for(batch, lambda: bool(list(folder.checkpoints.glob("*/epoch*.ckpt"))))
        wait_for(batch, lambda: nodes() == 2)
        processes += processes[0].children(recursive=True)
        batch.send_signal(signal.SIGTERM)
        out, err = batch.communicate(timeout=PATIENCE_SECONDS)
    finally:
        for process in processes[0].children(recursive=True) if batch.poll() is None else ():
            process.kill()
        batch.kill()
    assert batch.returncode == 130, out + err
    assert "interrupted; go on with: sweep resume" in err
    assert (tmp_path / "requeued").read_text() == f"{job['SLURM_JOB_ID']}\n"
    assert any(state["step_in_epoch"] > 0 for state in states(folder.path))
    status = sweep_status(folder)
    assert status["interrupted"] > 0
    assert status["running"] == status["failed"] == 0
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive


def test_without_its_words_it_says_how_it_is_called(job: dict[str, str]) -> None:
    said = subprocess.run(["bash", DEPLOY / "slurm.sbatch"], env=job, capture_output=True, text=True, check=False)
    assert said.returncode != 0
    assert "usage: sbatch deploy/slurm.sbatch SPEC.toml STORAGE" in said.stderr
