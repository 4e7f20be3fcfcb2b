"""Requests reach the driver that they are meant for and no other; what a driver tells is believed while it lives."""

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
from sweep.folder.control import (
    ENDED,
    PUBLISH_SECONDS,
    SILENT_SECONDS,
    STATUS,
    Control,
    ControlFolder,
    published,
    put_request,
)
from sweep.folder.lock import driving
from sweep.folder.paths import SweepFolder
from sweep.folder.status import ask_driver, driver_of, sweep_status
from sweep.process.signals import Stopped
from tests.builders import two_by_two_runs
from tests.sweep.folder.test_status import begin
from trainables.runtime.stop_signal import Ask

PATIENCE_SECONDS = 60
DRIVER = {"driver": "d1", "host": "elsewhere", "pid": 1, "since": "2026-01-02 03:04:05"}


def wait_until(there: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def place(tmp_path: Path) -> ControlFolder:
    return ControlFolder(tmp_path / "control")


def test_a_request_to_the_driver_is_heard_and_taken_away(tmp_path: Path, place: ControlFolder) -> None:
    with Control(DRIVER) as control:
        control.serve(place)
        put_request(place, "stop", "d1")
        wait_until(lambda: control.asked is Ask.STOP)
        put_request(place, "cancel", "d1")
        wait_until(lambda: control.asked is Ask.CANCEL)
        put_request(place, "stop", "d1")  # less than what was asked
        wait_until(lambda: not (tmp_path / "control" / "stop").exists())
        assert control.asked is Ask.CANCEL
    assert [path.name for path in (tmp_path / "control").iterdir()] == [STATUS]


@pytest.mark.parametrize(
    "request_text", [b'{"driver": "d0"}', b"", b"{", b"[]", b"7", b'{"driver": 7}', b"\xff\xfe", b'{"asked_at": 1}']
)
def test_a_request_to_another_driver_or_none_of_ours_is_taken_away_and_does_not_count(
    tmp_path: Path, place: ControlFolder, request_text: bytes
) -> None:
    """A driver that was asked and died leaves its request to the next one."""
    place.write("cancel", request_text)
    with Control(DRIVER) as control:
        control.serve(place)
        wait_until(lambda: not (tmp_path / "control" / "cancel").exists())
        assert control.asked is Ask.NOTHING


def test_what_a_driver_tells_goes_from_starting_to_ended(place: ControlFolder) -> None:
    def phase() -> str | None:
        told = published(place)
        return told and told["phase"]

    with Control(DRIVER, wall_clock=lambda: 5.0) as control:
        control.serve(place)
        wait_until(lambda: phase() == "starting")
        control.tell({"runs": 3})
        wait_until(lambda: phase() == "training")
        put_request(place, "stop", "d1")
        wait_until(lambda: phase() == "stopping")
    assert published(place) == {**DRIVER, "runs": 3, "phase": ENDED, "ended_by": "done", "told_at": 5.0}


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
def test_a_drivers_last_word_is_what_ended_it(
    place: ControlFolder, request_name: str | None, end: type[BaseException], told: str
) -> None:
    with pytest.raises(end), Control(DRIVER) as control:
        control.serve(place)
        if request_name:
            put_request(place, request_name, "d1")
            wait_until(lambda: control.asked is not Ask.NOTHING)
        raise end
    last = published(place)
    assert last is not None
    assert (last["phase"], last["ended_by"]) == (ENDED, told)


def test_a_place_that_cannot_be_written_is_no_hindrance(tmp_path: Path, place: ControlFolder) -> None:
    """The folder's name is taken by a file; the driver goes on, whoever asks is told."""
    (tmp_path / "control").write_text("in the way")
    with Control(DRIVER) as control:
        control.serve(place)
        with pytest.raises(SweepFolderError, match=r"^control/stop: cannot be written \(.+\)$"):
            put_request(place, "stop", "d1")
        time.sleep(2 * place.poll_seconds)
        assert control.asked is Ask.NOTHING
    assert published(place) is None


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    folder, ledger = begin(tmp_path, "s", two_by_two_runs())
    with ledger:
        ledger.start("1" * 16, [two_by_two_runs()[0].run_id])
    return folder


def tell(folder: SweepFolder, **changes: Any) -> None:
    told = {**DRIVER, "phase": "training", "told_at": time.time(), "slots": 8, "slots_used": 7, "nodes": [], **changes}
    ControlFolder(folder.control).write(STATUS, json.dumps(told).encode())


def test_the_lock_decides_on_the_drivers_own_machine(folder: SweepFolder) -> None:
    """However fresh its words are, a driver that holds no lock is dead; one that holds it has begun, told or not."""
    tell(folder, host=socket.gethostname())
    assert driver_of(folder) is None
    with driving(folder.lock) as driver:
        found = driver_of(folder)
        assert found is not None
        assert (found["pid"], found["phase"], found["slots"]) == (
            os.getpid(),
            "starting",
            None,
        )  # not those of the dead
        tell(folder, **driver, told_at=0.0)
        found = driver_of(folder)
        assert found is not None
        assert (found["driver"], found["phase"], found["slots_used"]) == (driver["driver"], "training", 7)
    assert driver_of(folder) is None


def test_elsewhere_a_drivers_word_counts_until_it_is_silent_for_too_long(folder: SweepFolder) -> None:
    tell(folder)
    found = driver_of(folder)
    assert found is not None
    assert found["host"] == "elsewhere"
    assert sweep_status(folder)["running"] == 1
    for silent in ({"told_at": time.time() - SILENT_SECONDS}, {"told_at": "now"}, {"phase": ENDED}):
        tell(folder, **silent)
        assert driver_of(folder) is None
        assert sweep_status(folder)["interrupted"] == 1


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_status_that_cannot_be_read_is_none(folder: SweepFolder, text: bytes) -> None:
    ControlFolder(folder.control).write(STATUS, text)
    assert driver_of(folder) is None
    assert sweep_status(folder)["driver"] is None


@pytest.mark.parametrize("request_name", ["stop", "cancel"])
def test_a_sweep_that_nobody_drives_cannot_be_asked(folder: SweepFolder, request_name: str) -> None:
    with pytest.raises(SweepFolderError, match=r"^no driver is at work on s$"):
        ask_driver("s", folder.runs_dir, request_name)
    assert not folder.control.exists()


def test_a_driver_is_asked_by_its_own_id(folder: SweepFolder) -> None:
    with driving(folder.lock) as driver, Control(driver) as control:
        control.serve(ControlFolder(folder.control))
        assert ask_driver("s", folder.runs_dir, "stop")["pid"] == os.getpid()
        wait_until(lambda: control.asked is Ask.STOP)


def test_a_driver_tells_again_and_again(place: ControlFolder) -> None:
    """So that one who does not see its lock knows that it lives."""
    ticks = iter(range(1000))
    with Control(DRIVER, wall_clock=lambda: float(next(ticks))) as control:
        control.serve(place)
        wait_until(lambda: (published(place) or {"told_at": 0})["told_at"] >= 1)
    assert PUBLISH_SECONDS < SILENT_SECONDS / 10
