"""`ray job submit -- sweep run …`: against a real job server that requires a token, on loopback."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from sweep.folder.paths import SweepFolder
from sweep.folder.status_source import folder_status
from tests.sweep.loopback_cluster import FREE_PORTS
from tests.sweep.process.test_signals import TEXT, states
from tests.sweep.sweeps import PATIENCE_SECONDS, environment, rows_of

pytestmark = [pytest.mark.ray, pytest.mark.slow]

EPOCHS = "8"  # so many that none of its commands comes too late


class JobServer:
    """A head node with its dashboard, in separate processes."""

    def __init__(self, temporary: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.environment = environment() | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all of its ports on loopback
            "RAY_JOB_STOP_WAIT_TIME_S": "60",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self.log = (temporary / "head.log").open("w")
        self.process = subprocess.Popen(
            [
                *RAY, "start", "--head", "--block", f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=2",
                "--include-dashboard=true", "--dashboard-host=127.0.0.1",
                f"--dashboard-port={self.address.rpartition(':')[2]}", f"--temp-dir={temporary}",
                "--object-store-memory=200000000", "--disable-usage-stats", *FREE_PORTS,
            ],
            env=self.environment, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def wait(self) -> None:
        """Wait until it answers requests with the token."""
        asked = urllib.request.Request(
            f"{self.address}/api/version", headers={"authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"}
        )

        def answers() -> bool:
            assert self.process.poll() is None, Path(self.log.name).read_text()
            try:
                with urllib.request.urlopen(asked, timeout=10):
                    return True
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return False

        wait_until(answers)

    def end(self) -> None:
        """End it and its processes, by their ids."""
        processes = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        self.process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(processes, timeout=30)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=30)
        self.process.wait()
        self.log.close()

    def ask(self, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Call ``ray job WORDS`` as a user who has the token."""
        return subprocess.run(
            [*RAY, "job", words[0], "--address", self.address, *words[1:]],
            env=self.environment | changes, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip


RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def server() -> Iterator[JobServer]:
    temporary = Path(tempfile.mkdtemp(prefix="job", dir="/tmp"))  # a socket's path must be short
    server = JobServer(temporary)
    try:
        server.wait()
        yield server
    finally:
        server.end()
        shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sweeps of this file, with their specs."""
    folder = tmp_path_factory.mktemp("jobs")
    for name in ("whole", "cut"):
        (folder / f"{name}.toml").write_text(TEXT)
    return folder


def words(folder: Path, *verb: str) -> list[str]:
    return [sys.executable, "-m", "sweep", *verb, "--address", "auto", "--runs-dir", str(folder)]


@pytest.fixture(scope="module")
def whole(server: JobServer, folder: Path) -> pd.DataFrame:
    """The epochs of a sweep that was submitted and not disturbed."""
    job = server.ask("submit", "--", *words(folder, "run", f"{folder}/whole.toml", "--epochs", EPOCHS))
    assert job.returncode == 0, job.stdout + job.stderr
    assert "succeeded" in job.stdout
    assert "2 done" in job.stdout  # the sweep's output is the job's log
    return rows_of(folder / "whole")


def test_a_submitted_sweep_trains_on_the_jobs_own_cluster(folder: Path, whole: pd.DataFrame) -> None:
    status = folder_status(SweepFolder(folder, "whole"))
    assert (status.done, status.driver) == (status.runs, None)
    assert len(whole) == status.runs * int(EPOCHS)


@pytest.mark.parametrize("token", ["0" * 64, ""])
def test_without_the_token_nothing_is_submitted(server: JobServer, folder: Path, tmp_path: Path, token: str) -> None:
    verb = words(folder, "run", f"{folder}/whole.toml", "--name", "stranger")
    job = server.ask("submit", "--submission-id", "stranger", "--", *verb, RAY_AUTH_TOKEN=token, HOME=str(tmp_path))
    assert job.returncode != 0
    assert "token" in (job.stdout + job.stderr).lower()
    assert not (folder / "stranger").exists()
    assert "stranger" not in server.ask("list").stdout


def test_a_stopped_job_writes_checkpoints_and_resumes_to_the_same_bits(
    server: JobServer, folder: Path, whole: pd.DataFrame
) -> None:
    cut = folder / "cut"
    submitted = server.ask(
        "submit", "--no-wait", "--submission-id", "cut", "--",
        *words(folder, "run", f"{folder}/cut.toml", "--epochs", EPOCHS),
    )  # fmt: skip
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    wait_until(lambda: bool(list(cut.glob("checkpoints/*/epoch*.ckpt"))))
    assert server.ask("stop", "cut").returncode == 0
    log = server.ask("logs", "cut").stdout
    assert "stopping: the running packs write their checkpoints" in log
    assert f"interrupted; to continue: sweep resume cut --runs-dir {folder}" in log
    assert "Traceback" not in log
    status = folder_status(SweepFolder(folder, "cut"))
    assert status.interrupted > 0
    assert status.running == status.failed == 0
    assert any(state["step_in_epoch"] > 0 for state in states(cut))
    resumed = server.ask("submit", "--", *words(folder, "resume", "cut"))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    pd.testing.assert_frame_equal(rows_of(cut), whole, check_exact=True)
