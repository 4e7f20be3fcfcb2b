"""SIGTERM, as Slurm and Kubernetes send it: checkpoints first, then exit 130, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from search_spaces.errors import UserError
from sweep.folder.paths import SweepFolder
from sweep.folder.status_source import folder_status
from sweep.process.signals import GRACE_SECONDS, MESSAGES, Stopped, Stopping, stopping
from tests.sweep.sweeps import PATIENCE_SECONDS, begin, call, finish, rows_of
from trainables.runtime.stop_signal import StopRequest
from trainables.training.checkpoints import Checkpoints


def test_cancelled_the_sweep_ends_once_nothing_trains_or_the_grace_is_over() -> None:
    now = [0.0]
    stop = Stopping(clock=lambda: now[0])
    stop.check(2)
    stop.ask()
    stop.check(2)
    with pytest.raises(Stopped):
        stop.check(0)
    now[0] = GRACE_SECONDS + 1
    with pytest.raises(Stopped):
        stop.check(2)


def test_a_running_epoch_has_no_time_limit_until_a_cancel() -> None:
    now, heard, forwarded = [0.0], [StopRequest.NONE], list[StopRequest]()
    stop = Stopping(lambda: heard[0], clock=lambda: now[0])
    stop.forward = forwarded.append
    stop.check(2)
    heard[0] = StopRequest.STOP
    stop.check(2)
    now[0] = 1000 * GRACE_SECONDS
    stop.check(1)
    heard[0] = StopRequest.CANCEL
    stop.check(1)
    assert forwarded == [StopRequest.STOP, StopRequest.CANCEL]  # each once
    now[0] += GRACE_SECONDS + 1
    with pytest.raises(Stopped):
        stop.check(1)


def test_stopped_the_sweep_ends_once_nothing_trains() -> None:
    stop = Stopping(lambda: StopRequest.STOP)
    stop.check(1)
    with pytest.raises(Stopped):
        stop.check(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals) -> None:
    """Also if another terminal requested a stop before. Afterwards the previous handlers are restored."""
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt), stopping(lambda: StopRequest.STOP, said.append) as stop:
        stop.check(2)
        os.kill(os.getpid(), number)
        assert stop.asked is StopRequest.CANCEL
        assert said == [MESSAGES[StopRequest.STOP]]  # a signal may come in the middle of a print
        stop.check(2)
        stop.check(2)
        assert said == [MESSAGES[StopRequest.STOP], MESSAGES[StopRequest.CANCEL]]
        os.kill(os.getpid(), number)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers


TEXT = """
data = "synthetic:n_train=500,n_test=100,seed=0"
epochs = 3
seeds = 1
test_epochs = "all"
[protocol]
batch_size = 1
val_fraction = 0.2
[resources]
pack = 1
cpus_per_trial = 1
max_concurrent = 2
[[configurations]]
optimizer = [{name = "SGD", lr = 0.0005, momentum = 0.9}, {name = "Adam", lr = 0.0001}]
"""
"""Epochs of 400 steps, so that a request rarely comes between two of them."""


def wait_for(driver: subprocess.Popen[str], there: Callable[[], bool]) -> None:
    """Wait until ``there``, while the driver runs."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not there():
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Eight epochs of the sweep without an interruption; its schedules do not depend on their number."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "whole.toml").write_text(TEXT)
    ended = finish(folder, "run", "whole.toml", "--epochs", "8")
    assert ended.returncode == 0, ended.stderr
    return rows_of(folder / "whole")


@pytest.mark.ray
@pytest.mark.parametrize(
    ("number", "whole_group"),
    [
        pytest.param(signal.SIGINT, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, True, marks=pytest.mark.slow),
    ],
)
def test_a_signal_writes_checkpoints_at_once_and_resume_gives_the_same_bits(
    tmp_path: Path, number: signal.Signals, whole_group: bool, undisturbed: pd.DataFrame
) -> None:
    """Ctrl-C, to the group of a terminal; SIGTERM to the driver (Kubernetes), or to every process at once (Slurm).

    ``test_in_process.py`` has SIGINT and SIGTERM without Ray.
    """
    (tmp_path / "cut.toml").write_text(TEXT)
    driver = begin(tmp_path, "run", "cut.toml", ray=True)
    folder = tmp_path / "cut"
    try:
        wait_for(driver, lambda: bool(list(folder.glob("checkpoints/*/epoch*.ckpt"))))
        processes = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
        if number == signal.SIGINT:
            os.killpg(driver.pid, number)
        else:
            for process in processes if whole_group else processes[:1]:
                process.send_signal(number)
        _, err = driver.communicate(timeout=PATIENCE_SECONDS)
    finally:
        driver.kill()
    assert driver.returncode == 130, err
    assert f"to continue: sweep resume cut --runs-dir {tmp_path}" in err
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert len(processes) > 2  # Ray's
    assert not alive
    if not whole_group:  # the newest checkpoint is between two epochs: the driver did not wait for the next end
        assert any(state["step_in_epoch"] > 0 for state in states(folder))
    status = folder_status(SweepFolder(tmp_path, "cut"))
    assert status.interrupted > 0
    assert status.running == status.failed == 0
    resumed = finish(tmp_path, "resume", "cut")
    assert resumed.returncode == 0, resumed.stderr
    expected = undisturbed[undisturbed["epoch"] <= 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows_of(folder), expected, check_exact=True)


def states(folder: Path) -> list[dict[str, Any]]:
    """The newest checkpoint of every pack."""
    found = [Checkpoints(path).newest() for path in (folder / "checkpoints").iterdir()]
    return [state for state in found if state is not None]


def is_driven(folder: Path) -> bool:
    try:
        return folder_status(SweepFolder(folder.parent, folder.name)).driver is not None
    except UserError:  # it is not made yet
        return False


@pytest.mark.slow
@pytest.mark.parametrize("ray", [False, pytest.param(True, marks=pytest.mark.ray)])
def test_stopped_and_cancelled_from_another_terminal_it_resumes_to_the_same_bits(
    tmp_path: Path, undisturbed: pd.DataFrame, ray: bool, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Stopped: all packs end between two epochs. Cancelled: at least one ends within an epoch. A watcher sees both."""
    (tmp_path / "far.toml").write_text(TEXT)
    folder = tmp_path / "far"
    endings: list[tuple[int, str, str]] = []
    watched: list[dict[str, Any]] = []
    for request, words in (("stop", ("run", "far.toml", "--epochs", "8")), ("cancel", ("resume", "far"))):
        before = len(rows_of(folder)) if folder.exists() else 0
        driver = begin(tmp_path, *words, ray=ray)
        begun = [driver]
        try:
            wait_for(driver, lambda: is_driven(folder))
            watcher = begin(tmp_path, "status", "far", "--watch", "--json")
            begun.append(watcher)
            assert watcher.stdout is not None
            first = json.loads(watcher.stdout.readline())
            wait_for(driver, lambda before=before: len(rows_of(folder)) > before)
            pid = first["driver"]["pid"]
            assert pid == driver.pid or psutil.Process(pid).ppid() == driver.pid  # with Ray a supervisor waits for it
            asked = call([request, "far", "--runs-dir", tmp_path], tmp_path, monkeypatch, capfd)
            assert (asked.returncode, asked.stderr) == (0, "")
            assert f"{request} requested: far (pid {pid} on " in asked.stdout
            _, err = driver.communicate(timeout=PATIENCE_SECONDS)
            out, _ = watcher.communicate(timeout=PATIENCE_SECONDS)
        finally:
            for process in begun:
                process.kill()
        watched.append(json.loads(out.splitlines()[-1]))
        endings.append(
            (driver.returncode, err.splitlines()[-1], "".join(log.read_text() for log in folder.glob("logs/*")))
        )
        steps = [state["step_in_epoch"] for state in states(folder)]
        assert (max(steps) == 0) is (request == "stop")
        assert not list((folder / "control").glob("[sc]*[pl]"))  # the request was taken away
        assert json.loads((folder / "control" / "status.json").read_text())["done"] == 0  # stopped is not done
        nobody = call([request, "far", "--runs-dir", tmp_path], tmp_path, monkeypatch, capfd)
        assert (nobody.returncode, nobody.stderr) == (2, "sweep: far is not running\n")
    for code, last_line, logs in endings:
        assert (code, last_line.split(" --runs-dir")[0]) == (130, "interrupted; to continue: sweep resume far")
        assert "stopped; its checkpoint is written" in logs
    for status in watched:
        assert status["driver"] is None
        assert status["interrupted"] > 0
        assert status["running"] == status["failed"] == 0
    resumed = finish(tmp_path, "resume", "far")
    assert resumed.returncode == 0, resumed.stderr
    pd.testing.assert_frame_equal(rows_of(folder), undisturbed, check_exact=True)
