"""A request reaches the process that it names and no other; a published status counts while its process runs."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search_spaces.errors import SweepFolderError
from sweep.folder.control import PUBLISH_SECONDS, Control, ControlFolder, put_request, read_live_status
from sweep.folder.lease import STALE_SECONDS, Holder, Lease
from sweep.folder.lease_places import FolderLease
from sweep.folder.paths import STATUS_FILE, SweepFolder
from sweep.folder.status import ENDED, DriverStatus, Rate, RunCounts
from sweep.folder.status_source import StatusSource, folder_status
from sweep.process.signals import Stopped
from tests.builders import two_by_two_runs
from tests.sweep.folder.test_status import begin
from trainables.runtime.stop_signal import StopRequest

PATIENCE_SECONDS = 60
WHO = {"driver": "d1", "host": "elsewhere", "pid": 1, "since": "2026-01-02 03:04:05"}
DRIVER = Holder.model_validate(WHO)


def wait_until(there: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def place(tmp_path: Path) -> ControlFolder:
    return ControlFolder(tmp_path / "control")


def test_a_request_to_the_driver_is_received_and_removed(tmp_path: Path, place: ControlFolder) -> None:
    with Control(DRIVER) as control:
        control.serve(place)
        put_request(place, "stop", "d1")
        wait_until(lambda: control.asked is StopRequest.STOP)
        put_request(place, "cancel", "d1")
        wait_until(lambda: control.asked is StopRequest.CANCEL)
        put_request(place, "stop", "d1")  # less than what was asked
        wait_until(lambda: not (tmp_path / "control" / "stop").exists())
        assert control.asked is StopRequest.CANCEL
    assert [path.name for path in (tmp_path / "control").iterdir()] == [STATUS_FILE]


@pytest.mark.parametrize(
    "request_text", [b'{"driver": "d0"}', b"", b"{", b"[]", b"7", b'{"driver": 7}', b"\xff\xfe", b'{"asked_at": 1}']
)
def test_a_request_to_another_driver_or_an_invalid_one_is_removed_and_ignored(
    tmp_path: Path, place: ControlFolder, request_text: bytes
) -> None:
    """A driver that died after a request leaves the request in the folder of the next one."""
    place.write("cancel", request_text)
    with Control(DRIVER) as control:
        control.serve(place)
        wait_until(lambda: not (tmp_path / "control" / "cancel").exists())
        assert control.asked is StopRequest.NONE


def test_the_status_of_a_driver_goes_from_starting_to_ended(place: ControlFolder) -> None:
    def phase() -> str | None:
        live = read_live_status(place)
        return live and live.phase

    with Control(DRIVER, wall_clock=lambda: 5.0) as control:
        control.serve(place)
        wait_until(lambda: phase() == "starting")
        control.publish(RunCounts(runs=3), Rate(rate=2.0))
        wait_until(lambda: phase() == "training")
        put_request(place, "stop", "d1")
        wait_until(lambda: phase() == "stopping")
    last = read_live_status(place)
    assert last is not None
    assert (last.driver, last.runs, last.rate, last.phase, last.ended_by, last.published_at) == (
        "d1", 3, 2.0, ENDED, "done", 5.0,
    )  # fmt: skip
    assert last.nodes is None


@pytest.mark.parametrize(
    ("request_name", "end", "told"),
    [
        ("stop", Stopped, "stop"),
        ("cancel", Stopped, "cancel"),
        (None, Stopped, "signal"),
        (None, KeyboardInterrupt, "signal"),
        ("stop", OSError, "error"),
    ],
)
def test_the_last_status_of_a_driver_has_the_cause_of_its_end(
    place: ControlFolder, request_name: str | None, end: type[BaseException], told: str
) -> None:
    with pytest.raises(end), Control(DRIVER) as control:
        control.serve(place)
        if request_name:
            put_request(place, request_name, "d1")
            wait_until(lambda: control.asked is not StopRequest.NONE)
        raise end
    last = read_live_status(place)
    assert last is not None
    assert (last.phase, last.ended_by) == (ENDED, told)


def test_a_place_that_cannot_be_written_does_not_stop_the_driver(tmp_path: Path, place: ControlFolder) -> None:
    """A file has the folder's name; the driver continues, and a request gets an error."""
    (tmp_path / "control").write_text("in the way")
    with Control(DRIVER) as control:
        control.serve(place)
        with pytest.raises(SweepFolderError, match=r"^control/stop: cannot be written \(.+\)$"):
            put_request(place, "stop", "d1")
        time.sleep(2 * place.poll_seconds)
        assert control.asked is StopRequest.NONE
    assert read_live_status(place) is None


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    folder, ledger = begin(tmp_path, "s", two_by_two_runs())
    with ledger:
        ledger.start("1" * 16, [two_by_two_runs()[0].run_id])
    return folder


def publish(folder: SweepFolder, **changes: Any) -> None:
    status = {**WHO, "phase": "training", "published_at": time.time(), "slots": 8, "slots_used": 7, "nodes": []}
    ControlFolder(folder.control).write(STATUS_FILE, json.dumps(status | changes).encode())


def driver_of(folder: SweepFolder) -> DriverStatus | None:
    return StatusSource.of_folder(folder).driver()


def test_the_lock_decides_on_the_drivers_own_machine(folder: SweepFolder) -> None:
    """However new a status is, without the lock its process is dead; with the lock it runs, published or not."""
    publish(folder, host=socket.gethostname())
    assert driver_of(folder) is None
    with Lease(FolderLease(folder.lock)) as lease:
        found = driver_of(folder)
        assert found is not None
        assert (found.pid, found.phase, found.slots) == (os.getpid(), "starting", None)  # not those of the dead process
        publish(folder, **lease.holder.model_dump(exclude={"beat", "start"}), published_at=0.0)
        found = driver_of(folder)
        assert found is not None
        assert (found.driver, found.phase, found.slots_used) == (lease.holder.driver, "training", 7)
    assert driver_of(folder) is None


def test_elsewhere_a_process_runs_until_its_heartbeat_is_old_or_it_has_ended(folder: SweepFolder) -> None:
    publish(folder)
    folder.lock.write_bytes(DRIVER.renewed().to_bytes())
    found = driver_of(folder)
    assert found is not None
    assert (found.host, found.slots_used) == ("elsewhere", 7)
    assert folder_status(folder).running == 1
    old = DRIVER.model_copy(update={"beat": time.time() - STALE_SECONDS})
    for record, phase in ((old.to_bytes(), "training"), (b"", "training"), (DRIVER.renewed().to_bytes(), ENDED)):
        folder.lock.write_bytes(record)
        publish(folder, phase=phase)
        assert driver_of(folder) is None
        assert folder_status(folder).interrupted == 1


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_status_that_cannot_be_read_is_none(folder: SweepFolder, text: bytes) -> None:
    ControlFolder(folder.control).write(STATUS_FILE, text)
    assert read_live_status(ControlFolder(folder.control)) is None
    assert folder_status(folder).driver is None


@pytest.mark.parametrize("request_name", ["stop", "cancel"])
def test_a_sweep_that_does_not_run_gets_no_request(folder: SweepFolder, request_name: str) -> None:
    with pytest.raises(SweepFolderError, match=r"^s is not running$"):
        StatusSource.named("s", folder.runs_dir).request(request_name)
    assert not folder.control.exists()


def test_a_request_has_the_id_of_its_driver(folder: SweepFolder) -> None:
    with Lease(FolderLease(folder.lock)) as lease, Control(lease.holder) as control:
        control.serve(ControlFolder(folder.control))
        assert StatusSource.named("s", folder.runs_dir).request("stop").pid == os.getpid()
        wait_until(lambda: control.asked is StopRequest.STOP)


def test_the_status_is_published_repeatedly(place: ControlFolder) -> None:
    ticks = iter(range(1000))

    def published_at() -> float:
        live = read_live_status(place)
        return live.published_at if live else 0

    with Control(DRIVER, wall_clock=lambda: float(next(ticks))) as control:
        control.serve(place)
        wait_until(lambda: published_at() >= 1)
    assert PUBLISH_SECONDS < STALE_SECONDS / 10
