"""One process at a time runs a sweep: a second one is refused with the name of the first; a dead one does not block."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search_spaces.errors import LedgerError, SweepFolderError
from sweep.folder import lease as leases
from sweep.folder.lease import STALE_SECONDS, Holder, Lease, current_holder
from sweep.folder.lease_places import RECORD_BYTES, FolderLease
from sweep.process.identity import ProcessIdentity

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 120  # a bound for a child that hangs; no test passes by it

HOLD = """
import sys
from pathlib import Path
from sweep.folder.lease import Lease
from sweep.folder.lease_places import FolderLease
with Lease(FolderLease(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def driving(path: Path) -> Lease:
    return Lease(FolderLease(path))


def is_driven(path: Path) -> bool:
    return current_holder(FolderLease(path)) is not None


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
    assert told.startswith(f"mine: is already running (pid {driver.pid} on {socket.gethostname()} since ")
    assert len(told.splitlines()) == 1


def test_a_refused_driver_leaves_the_lock_to_the_first(path: Path, driver: subprocess.Popen[str]) -> None:
    """Repeated attempts change neither its record nor its lock."""
    before = Holder.parse(path.read_bytes())
    for _ in range(2):
        with pytest.raises(LedgerError, match=f"pid {driver.pid} "), driving(path):
            pytest.fail("two drivers at a time")
    after = Holder.parse(path.read_bytes())
    assert before is not None
    assert after is not None
    assert (after.driver, after.pid) == (before.driver, driver.pid)
    assert is_driven(path)


def test_a_query_finds_the_driver_and_does_not_block_it(path: Path) -> None:
    assert not is_driven(path)
    assert not path.exists()
    with driving(path):
        assert is_driven(path)
    assert not is_driven(path)
    with driving(path):
        assert is_driven(path)


def test_a_driver_that_ends_releases_the_lock(path: Path, driver: subprocess.Popen[str]) -> None:
    assert is_driven(path)
    driver.communicate("", timeout=PATIENCE_SECONDS)
    assert driver.returncode == 0
    assert not is_driven(path)


def test_a_lock_file_that_was_removed_does_not_admit_a_second_driver(path: Path, driver: subprocess.Popen[str]) -> None:
    path.unlink()
    with pytest.raises(LedgerError, match="already running"):
        driving(path).acquire()
    assert not path.exists()
    driver.kill()
    driver.wait()
    with driving(path):
        pass


def test_a_lock_file_that_was_removed_is_written_again(path: Path) -> None:
    with driving(path) as lease:
        path.unlink()
        lease.renew()
        assert is_driven(path)
        holder = current_holder(FolderLease(path))
        assert holder is not None
        assert holder.driver == lease.holder.driver


def no_flock(number: int) -> Callable[[int, int], None]:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    return flock


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_reported_once_and_the_record_decides(
    number: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcntl.flock", no_flock(number))
    monkeypatch.setattr(leases, "SILENT_SECONDS", 0.0)
    said: list[str] = []
    with Lease(FolderLease(path), say=said.append) as lease:
        assert len(said) == 1
        assert "no file locks" in said[0]
        assert is_driven(path)
        record = json.loads(path.read_text())
        own = ProcessIdentity.own()
        assert (record["host"], record["pid"], record["start"]) == (own.host, own.pid, own.start)
        lease.renew()
    assert not is_driven(path)


def test_without_locks_a_second_driver_is_refused_while_the_first_runs(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcntl.flock", no_flock(errno.ENOLCK))
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.2)
    with driving(path), pytest.raises(LedgerError, match=f"already running .pid {os.getpid()}"):
        driving(path).acquire()


def test_without_locks_the_record_of_a_dead_driver_does_not_block(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pid belongs to another process now."""
    monkeypatch.setattr("fcntl.flock", no_flock(errno.ENOLCK))
    own = Holder.this_process()
    path.write_bytes(own.model_copy(update={"start": own.start + 1}).to_bytes())
    said: list[str] = []
    with Lease(FolderLease(path), say=said.append):
        assert len(said) == 1  # it did not wait


def test_the_lock_of_a_killed_driver_does_not_block(path: Path, driver: subprocess.Popen[str]) -> None:
    """SIGKILL: its file stays and still names it; the next driver replaces the record."""
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait(PATIENCE_SECONDS)
    assert f'"pid": {driver.pid}' in path.read_text()
    assert not is_driven(path)
    with driving(path):
        assert is_driven(path)
        assert f'"pid": {os.getpid()}' in path.read_text()


def test_an_exception_releases_the_lock(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), driving(path):
        raise KeyboardInterrupt
    assert not is_driven(path)


def test_a_lock_that_cannot_be_written_is_reported_in_one_line(tmp_path: Path) -> None:
    told = r"nowhere/lock: cannot be written \(No such file or directory\); give another --runs-dir$"
    with pytest.raises(SweepFolderError, match=told), driving(tmp_path / "nowhere" / "lock"):
        pytest.fail("no such folder")


def test_a_released_lease_leaves_no_record(path: Path) -> None:
    with driving(path):
        assert path.stat().st_size == RECORD_BYTES
    assert path.read_bytes() == b""


def test_the_lease_is_renewed_until_it_is_released(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that does not see the kernel's lock then finds that the process runs."""
    monkeypatch.setattr("sweep.folder.lease.BEAT_SECONDS", 0.02)
    with driving(path) as lease:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := Holder.parse(path.read_bytes())) is None or found.beat <= lease.holder.beat:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert found.driver == lease.holder.driver


@pytest.mark.parametrize(
    ("host", "age_seconds", "runs"),
    [("elsewhere", 0.0, True), ("elsewhere", STALE_SECONDS, False), (socket.gethostname(), 0.0, False)],
)
def test_without_the_kernels_lock_a_process_elsewhere_counts_by_its_heartbeat(
    path: Path, host: str, age_seconds: float, runs: bool
) -> None:
    """On its own machine the lock decides, however new the record is."""
    holder = Holder(driver="d1", host=host, pid=os.getpid(), since="today", beat=time.time() - age_seconds)
    path.write_bytes(holder.to_bytes())
    assert is_driven(path) is runs


@pytest.mark.parametrize(
    "record",
    [b"", b"{", b"[]", b"7", b"\xff", b'{"driver": "d1"}', b'{"driver": 1, "host": "h", "pid": "x", "since": "s"}',
     b'{"driver": "d", "host": "h", "pid": 99999999999, "since": "s", "beat": 1.0}',
     b'{"driver": "d", "host": "h", "pid": 1, "since": "s", "beat": NaN}'],
)  # fmt: skip
def test_an_invalid_record_does_not_block(path: Path, record: bytes) -> None:
    path.write_bytes(record)
    assert not is_driven(path)
    with driving(path):
        assert is_driven(path)


def test_a_record_of_an_older_version_is_read(path: Path) -> None:
    """In a folder it had no heartbeat, in a storage another name for the id."""
    old = Holder.parse(b'{"driver": "d1", "host": "elsewhere", "pid": 7, "since": "2026-01-02 03:04:05"}')
    assert old is not None
    assert (old.driver, old.is_stale()) == ("d1", True)
    old = Holder.parse(b'{"host": "elsewhere", "pid": 7, "since": "today", "token": "t1", "beat": 5.5}')
    assert old is not None
    assert (old.driver, old.beat, str(old)) == ("t1", 5.5, "pid 7 on elsewhere since today")
