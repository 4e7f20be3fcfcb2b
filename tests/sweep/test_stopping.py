"""SIGTERM, as Slurm and Kubernetes send it: checkpoints first, then exit 130, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from results.frames import epochs_frame
from results.ledger import Ledger
from sweep.folder import SweepFolder
from sweep.status import sweep_status
from sweep.stopping import GRACE_SECONDS, Stopped, Stopping, stopping
from tests.sweep.test_run import PATIENCE_SECONDS, ROOT, SPEC, without_times
from trainables.checkpoint import Checkpoints


def test_a_request_ends_the_sweep_once_nothing_trains_or_the_grace_is_over(tmp_path: Path) -> None:
    now = [0.0]
    stop = Stopping(tmp_path / "control" / "stop", clock=lambda: now[0])
    stop.check(2)
    stop.ask()
    assert (tmp_path / "control" / "stop").exists()
    stop.check(2)
    with pytest.raises(Stopped):
        stop.check(0)
    now[0] = GRACE_SECONDS + 1
    with pytest.raises(Stopped):
        stop.check(2)


def test_a_request_that_cannot_be_written_ends_the_sweep_when_the_grace_is_over(tmp_path: Path) -> None:
    now = [0.0]
    (tmp_path / "control").write_text("in the way")
    stop = Stopping(tmp_path / "control" / "stop", clock=lambda: now[0])
    stop.ask()
    stop.check(2)
    now[0] = GRACE_SECONDS + 1
    with pytest.raises(Stopped):
        stop.check(2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(tmp_path: Path, number: signal.Signals) -> None:
    """Afterwards the handlers are those from before, and no request is left for whoever goes on."""
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt), stopping(tmp_path / "control" / "stop", said.append) as stop:
        os.kill(os.getpid(), number)
        assert stop.asked
        assert (tmp_path / "control" / "stop").exists()
        assert said == []  # a signal may come in the middle of a print
        stop.check(2)
        stop.check(2)
        assert said == ["stopping: the running packs write their checkpoints"]
        os.kill(os.getpid(), number)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not (tmp_path / "control" / "stop").exists()


TEXT = SPEC.replace("seeds = 2", "seeds = 1").replace("batch_size = 64", "batch_size = 16")
EPOCHS = "12"


def environment() -> dict[str, str]:
    """Return this process's, without what a Ray of another test has put into it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return kept | {"PYTHONPATH": str(ROOT)}


def sweep(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sweep", *words, "--runs-dir", str(folder)],
        cwd=folder, capture_output=True, text=True, env=environment(), timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


def rows_of(folder: Path) -> pd.DataFrame:
    with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
        return without_times(epochs_frame(ledger))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The epochs of a sweep that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "whole.toml").write_text(TEXT)
    assert sweep(folder, "run", "whole.toml", "--epochs", EPOCHS).returncode == 0
    return rows_of(folder / "whole")


@pytest.mark.ray
@pytest.mark.parametrize("whole_group", [False, True])
def test_sigterm_writes_checkpoints_at_once_and_resume_gives_the_same_bits(
    tmp_path: Path, whole_group: bool, undisturbed: pd.DataFrame
) -> None:
    """To the driver alone (Kubernetes), or to every process at the same time (Slurm)."""
    (tmp_path / "cut.toml").write_text(TEXT)
    driver = subprocess.Popen(
        [sys.executable, "-m", "sweep", "run", "cut.toml", "--epochs", EPOCHS, "--runs-dir", str(tmp_path)],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        start_new_session=True,
    )  # fmt: skip
    folder = tmp_path / "cut"
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not list(folder.glob("checkpoints/*/epoch*.ckpt")) and time.monotonic() < deadline:
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.05)
        processes = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
        for process in processes if whole_group else processes[:1]:
            process.send_signal(signal.SIGTERM)
        _, err = driver.communicate(timeout=PATIENCE_SECONDS)
    finally:
        driver.kill()
    assert driver.returncode == 130, err
    assert "go on with: sweep resume cut" in err
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive
    if not whole_group:  # the newest checkpoint lies between two epochs: it was not waited for the next one's end
        states = [Checkpoints(path).newest() for path in (folder / "checkpoints").iterdir()]
        assert any(state is not None and state["step_in_epoch"] > 0 for state in states)
    status = sweep_status(SweepFolder(tmp_path, "cut"))
    assert status["interrupted"] > 0
    assert status["running"] == status["failed"] == 0
    resumed = sweep(tmp_path, "resume", "cut")
    assert resumed.returncode == 0, resumed.stderr
    pd.testing.assert_frame_equal(rows_of(folder), undisturbed, check_exact=True)
