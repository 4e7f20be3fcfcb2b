"""One driver at a time: the second is told who the first is, and a dead one is in nobody's way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search_spaces.errors import LedgerError, SweepFolderError
from sweep.folder.lock import driving, is_driven

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 120  # a bound for a child that hangs; no test passes by it

HOLD = """
import sys
from pathlib import Path
from sweep.folder.lock import driving
with driving(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine" / "lock"


@pytest.fixture
def driver(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_driver_is_refused_with_who_the_first_is(path: Path, driver: subprocess.Popen[str]) -> None:
    with pytest.raises(LedgerError) as error, driving(path):
        pytest.fail("two drivers at a time")
    told = str(error.value)
    assert told.startswith(f"mine: another driver is at work (pid {driver.pid} on {socket.gethostname()} since ")
    assert told.endswith("); wait for it, or end it")
    assert len(told.splitlines()) == 1


def test_a_refused_driver_leaves_the_lock_to_the_first(path: Path, driver: subprocess.Popen[str]) -> None:
    """Neither its name nor its hold on the file is lost to whoever asks, however often."""
    before = path.read_text()
    for _ in range(2):
        with pytest.raises(LedgerError, match=f"pid {driver.pid} "), driving(path):
            pytest.fail("two drivers at a time")
    assert path.read_text() == before
    assert is_driven(path)


def test_whether_somebody_drives_is_told_and_asking_is_no_hindrance(path: Path) -> None:
    assert not is_driven(path)
    assert not path.exists()
    with driving(path):
        assert is_driven(path)
    assert not is_driven(path)
    with driving(path):
        assert is_driven(path)


def test_a_driver_that_ends_lets_go(path: Path, driver: subprocess.Popen[str]) -> None:
    assert is_driven(path)
    driver.communicate("", timeout=PATIENCE_SECONDS)
    assert driver.returncode == 0
    assert not is_driven(path)


def test_the_lock_of_a_killed_driver_is_no_hindrance(path: Path, driver: subprocess.Popen[str]) -> None:
    """SIGKILL: its file stays and still names it; the next driver puts its own name there."""
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait(PATIENCE_SECONDS)
    assert f'"pid": {driver.pid}' in path.read_text()
    assert not is_driven(path)
    with driving(path):
        assert is_driven(path)
        assert f'"pid": {os.getpid()}' in path.read_text()


def test_an_exception_lets_go_of_the_lock(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), driving(path):
        raise KeyboardInterrupt
    assert not is_driven(path)


def test_a_lock_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    told = r"nowhere/lock: cannot be written \(No such file or directory\); give another --runs-dir$"
    with pytest.raises(SweepFolderError, match=told), driving(tmp_path / "nowhere" / "lock"):
        pytest.fail("no such folder")
