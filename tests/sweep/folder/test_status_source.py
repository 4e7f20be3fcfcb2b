"""The storage shows the status that the driver published there, and a request in the storage reaches the driver."""

from __future__ import annotations

import json
import os
import shlex
import socket
import time
from pathlib import Path

import pytest

from search_spaces.errors import StorageError, SweepFolderError
from sweep.folder.control import Control, ControlStorage, read_live_status
from sweep.folder.lease import STALE_SECONDS, Lease
from sweep.folder.lease_places import StorageLease
from sweep.folder.paths import LEASE_FILE, STATUS_FILE
from sweep.folder.status import ClusterSlots, DriverStatus, Rate, RunCounts, SweepStatus
from sweep.folder.status_source import StatusSource, folder_status
from tests.builders import two_by_two_runs
from tests.sweep.folder.test_control import DRIVER, WHO, wait_until
from tests.sweep.folder.test_status import begin
from tests.trainables.s3_server import BUCKET
from trainables.runtime.stop_signal import StopRequest
from trainables.storage.addresses import open_storage
from trainables.storage.interface import Storage

COUNTS = RunCounts(runs=4, done=1, running=2, pending=1, epochs_share=0.5, best_val_acc=31.5, best_run="0" * 16)
RATE = Rate(rate=2.0, seconds_left=60.0)
SLOTS = ClusterSlots(nodes=[], slots=8, slots_used=2)


@pytest.fixture(params=["folder", "bucket"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """PLACE/NAME of a sweep; in a bucket, with options behind it."""
    if request.param == "folder":
        return f"{tmp_path}/shared/mine"
    place, mark, options = request.getfixturevalue("server").uri(BUCKET, "lab").partition("?")
    return f"{place}/{tmp_path.name.rstrip('0123456789_')}/mine{mark}{options}"


def storage_of(address: str) -> Storage:
    place, mark, options = address.partition("?")
    return open_storage(place + mark + options)


def status_of(address: str) -> SweepStatus:
    return StatusSource.of_storage(address).status()


def driver_of(status: SweepStatus) -> DriverStatus:
    assert status.driver is not None
    return status.driver


def test_without_a_published_status_there_is_one_line(address: str) -> None:
    with pytest.raises(StorageError, match=r"no sweep has been published there; .* PLACE/NAME$"):
        status_of(address)
    with pytest.raises(SweepFolderError, match=r"mine.* is not running$"):
        StatusSource.of_storage(address).request("stop")
    assert storage_of(address).names("control") == []


def test_what_a_driver_publishes_is_shown_and_a_request_reaches_it(address: str) -> None:
    place = ControlStorage(storage_of(address))
    with Lease(StorageLease(storage_of(address)), DRIVER.renewed()) as lease, Control(lease.holder) as control:
        control.publish(COUNTS, RATE, SLOTS)
        control.serve(place)
        wait_until(lambda: read_live_status(place))
        status = status_of(address)
        assert (status.name, status.running, status.done, status.epochs_share) == ("mine", 2, 1, 0.5)
        driver = driver_of(status)
        assert (driver.pid, driver.slots_used, driver.rate) == (DRIVER.pid, 2, 2.0)
        assert StatusSource.of_storage(address).request("stop").driver == DRIVER.driver
        wait_until(lambda: control.asked is StopRequest.STOP)
        storage_of(address).write(STATUS_FILE, b'{"data": "synthetic"}')
    status = status_of(address)
    assert (status.driver, status.running, status.interrupted) == (None, 0, 2)
    assert status.resume == f"sweep resume {shlex.quote(address)}"
    assert storage_of(address).names("control") == [STATUS_FILE]
    with pytest.raises(SweepFolderError, match=r"is not running$"):
        StatusSource.of_storage(address).request("cancel")


@pytest.mark.slow
def test_watching_reads_the_record_only_where_a_process_starts_or_ends_or_a_run_fails(tmp_path: Path) -> None:
    place = ControlStorage(storage_of(f"{tmp_path}/mine"))
    lease_place = StorageLease(storage_of(f"{tmp_path}/mine"))
    reads: list[int] = []

    def recorded() -> SweepStatus:
        reads.append(1)
        return SweepStatus(name="mine", runs=4, failed=len(reads) - 1, epochs_done=2)

    look = StatusSource("mine", lease_place, place, recorded).watched()
    with Lease(lease_place, DRIVER.renewed()) as lease, Control(lease.holder) as control:
        control.serve(place)
        for done, failed, expected in ((1, 0, 1), (2, 0, 1), (3, 0, 1), (3, 1, 2), (3, 1, 2)):
            control.publish(RunCounts(runs=4, done=done, failed=failed, epochs_done=7), RATE, SLOTS)
            wait_until(lambda: (live := read_live_status(place)) and (live.done, live.failed) == (done, failed))  # noqa: B023
            status = look()
            assert len(reads) == expected
            assert status.driver is not None
        assert (status.done, status.failed, status.epochs_done) == (3, 1, 7)
    assert look().driver is None
    assert len(reads) == 3


@pytest.mark.parametrize(
    ("host", "pid", "age_seconds", "runs"),
    [
        ("elsewhere", 1, 0.0, True),
        ("elsewhere", 1, STALE_SECONDS, False),
        (socket.gethostname(), os.getpid(), 0.0, True),
        (socket.gethostname(), 2**31 - 1, 0.0, False),
    ],
    ids=["elsewhere", "elsewhere and silent", "this process", "a process that has ended"],
)
def test_a_process_whose_heartbeat_is_old_or_that_has_ended_does_not_run(
    tmp_path: Path, host: str, pid: int, age_seconds: float, runs: bool
) -> None:
    address = f"{tmp_path}/mine"
    holder = DRIVER.model_copy(update={"host": host, "pid": pid, "beat": time.time() - age_seconds})
    storage_of(address).write(LEASE_FILE, holder.to_bytes())
    storage_of(address).write(STATUS_FILE, b'{"data": "synthetic"}')
    live = {**WHO, **COUNTS.model_dump(), **RATE.model_dump(), "phase": "training", "published_at": time.time()}
    storage_of(address).write(f"control/{STATUS_FILE}", json.dumps(live).encode())
    status = status_of(address)
    assert (status.driver is not None) is runs
    assert (status.running, status.interrupted) == ((2, 0) if runs else (0, 2))


def test_a_driver_that_ended_without_a_copy_left_nothing_to_resume(address: str) -> None:
    place = ControlStorage(storage_of(address))
    with Lease(StorageLease(storage_of(address)), DRIVER.renewed()) as lease, Control(lease.holder) as control:
        control.serve(place)
        wait_until(lambda: read_live_status(place))
        assert driver_of(status_of(address)).phase == "starting"
    with pytest.raises(StorageError, match="no sweep has been published there"):
        status_of(address)


def test_a_copy_alone_has_all_that_a_folder_has(tmp_path: Path) -> None:
    """Its driver was killed before it published a status."""
    folder, ledger = begin(tmp_path, "mine", two_by_two_runs())
    ledger.close()
    local = folder_status(folder)
    address = f"{tmp_path}/shared/mine"
    about = {"published": 1.5, "host": "there"}
    storage_of(address).write(STATUS_FILE, json.dumps(local.model_dump() | about).encode())
    resume = f"sweep resume {shlex.quote(address)}"
    assert status_of(address) == local.model_copy(update={"folder": address, "resume": resume})


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'{"driver": 1}'])
def test_an_invalid_status_is_ignored(tmp_path: Path, text: bytes) -> None:
    storage_of(f"{tmp_path}/mine").write(f"control/{STATUS_FILE}", text)
    with pytest.raises(StorageError, match="no sweep has been published there"):
        status_of(f"{tmp_path}/mine")
