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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(tmp_path: Path, number: signal.Signals) -> None:
    """Afterwards the handlers are those from before, and no request is left for whoever goes on."""
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt), stopping(tmp_path / "control" / "stop", said.append) as stop:
        os.kill(os.getpid(), number)
        assert stop.asked
        assert said == ["stopping: the running packs write their checkpoints"]
        os.kill(os.getpid(), number)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not (tmp_path / "control" / "stop").exists()


@pytest.mark.ray
@pytest.mark.parametrize("whole_group", [False, True])
def test_sigterm_writes_checkpoints_at_once_and_resume_gives_the_same_bits(tmp_path: Path, whole_group: bool) -> None:
    """To the driver alone (Kubernetes), or to every process at the same time (Slurm)."""
    text = SPEC.replace("seeds = 2", "seeds = 1").replace("batch_size = 64", "batch_size = 16")
    (tmp_path / "cut.toml").write_text(text)
    (tmp_path / "whole.toml").write_text(text)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment |= {"PYTHONPATH": str(ROOT)}
    arguments = ["--epochs", "12", "--runs-dir", str(tmp_path)]

    def sweep(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sweep", *words],
            cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip

    driver = subprocess.Popen(
        [sys.executable, "-m", "sweep", "run", "cut.toml", *arguments],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
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
    with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
        statuses = set(ledger.statuses().values())
    assert "interrupted" in statuses
    assert statuses <= {"interrupted", "pending", "done"}
    resumed = sweep("resume", "cut", "--runs-dir", str(tmp_path))
    assert resumed.returncode == 0, resumed.stderr
    assert sweep("run", "whole.toml", *arguments).returncode == 0
    rows = []
    for name in ("cut", "whole"):
        with Ledger.open_read_only(tmp_path / name / "ledger.sqlite") as ledger:
            rows.append(without_times(epochs_frame(ledger)))
    pd.testing.assert_frame_equal(*rows, check_exact=True)
