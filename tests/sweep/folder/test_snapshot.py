"""A sweep's record in its storage: another machine fetches all of it; one driver at a time; faults are reported."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest

from results.ledger.frames import epochs_frame, runs_frame
from results.ledger.ledger import Ledger
from search_spaces.errors import LedgerError, StorageError, SweepFolderError
from sweep.folder import lease, snapshot
from sweep.folder.paths import LEASE_FILE, POINTER_FILE, STATUS_FILE, SweepFolder
from sweep.folder.snapshot import fetch, published
from tests.builders import attempt_of, row_of, two_by_two_runs
from tests.trainables.s3_server import BUCKET, S3Server
from trainables.storage.addresses import open_storage
from trainables.storage.interface import Storage

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 60  # a bound for what hangs
SPEC = "# as resolved\n"


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, server: S3Server, tmp_path: Path) -> str:
    """Where sweeps are published."""
    if request.param == "folder":
        return str(tmp_path / "shared")
    return server.uri(BUCKET, re.sub(r"\W+", "-", request.node.name).rstrip("-"))


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """A sweep with one epoch of one run on record."""
    folder = SweepFolder(tmp_path / "runs", "mine")
    folder.create()
    folder.spec.write_text(SPEC)
    folder.provenance.write_text("[]")
    runs = two_by_two_runs()
    with Ledger.create_or_open(folder.ledger) as ledger:
        ledger.plan(runs, 3, data_name="synthetic", synthetic=True)
        ledger.record([attempt_of(runs)], [row_of(runs[0], 1)], {})
    return folder


def storage_of(place: str) -> Storage:
    return open_storage(place, 5.0).below("mine")


def address_of(place: str) -> str:
    before, mark, query = place.partition("?")
    return f"{before}/mine{mark}{query}"


def add_epoch(folder: SweepFolder, epoch: int) -> None:
    runs = two_by_two_runs()
    with Ledger.create_or_open(folder.ledger) as ledger:
        ledger.record([attempt_of(runs)], [row_of(runs[0], epoch)], {})


def frames(folder: SweepFolder) -> list[pd.DataFrame]:
    with Ledger.open_read_only(folder.ledger) as ledger:
        return [runs_frame(ledger), epochs_frame(ledger)]


def publish(folder: SweepFolder, place: str) -> list[str]:
    said: list[str] = []
    with published(folder, storage_of(place), said.append):
        pass
    return said


def test_another_machine_gets_the_record_as_it_was(folder: SweepFolder, place: str, tmp_path: Path) -> None:
    assert publish(folder, place) == []
    add_epoch(folder, 2)
    publish(folder, place)
    there, storage = fetch(address_of(place), tmp_path / "elsewhere")
    assert storage == place
    assert (there.path, there.spec.read_text()) == (tmp_path / "elsewhere" / "mine", SPEC)
    for mine, theirs in zip(frames(folder), frames(there), strict=True):
        pd.testing.assert_frame_equal(mine, theirs)
    names = storage_of(place).names()
    assert [name[:13] for name in names if name.startswith("ledger-")] == ["ledger-000001", "ledger-000002"]
    assert LEASE_FILE not in names
    assert json.loads(storage_of(place).read(STATUS_FILE) or b"")["epochs_done"] == 2


def test_the_first_machine_does_not_continue_from_an_outdated_record(
    folder: SweepFolder, place: str, tmp_path: Path
) -> None:
    publish(folder, place)
    there, _ = fetch(address_of(place), tmp_path / "elsewhere")
    add_epoch(there, 2)
    publish(there, place)
    with pytest.raises(LedgerError, match=r"has a newer state of the sweep 'mine' than "):
        publish(folder, place)
    with pytest.raises(SweepFolderError, match="exists, with another state"):
        fetch(address_of(place), folder.runs_dir)
    assert fetch(address_of(place), there.runs_dir)[0].path == there.path  # up to date: nothing is fetched
    publish(there, place)


def test_a_ledger_that_was_changed_in_the_storage_is_refused(folder: SweepFolder, place: str, tmp_path: Path) -> None:
    publish(folder, place)
    (ledger,) = [name for name in storage_of(place).names() if name.startswith("ledger-")]
    storage_of(place).write(ledger, b"something else")
    with pytest.raises(StorageError, match="its newest ledger is missing or damaged"):
        fetch(address_of(place), tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere" / "mine").exists()


@pytest.mark.parametrize("planted", [b"{", b"[]", b'{"ledger": "../../x", "sequence": "a"}', b"\xff"])
def test_a_planted_pointer_leads_nowhere(planted: bytes, place: str, tmp_path: Path) -> None:
    storage_of(place).write(POINTER_FILE, planted)
    with pytest.raises(StorageError):
        fetch(address_of(place), tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere" / "mine").exists()


HOLD = """
import sys
from pathlib import Path
from sweep.folder import lease, snapshot
from sweep.folder.paths import SweepFolder
from trainables.storage.addresses import open_storage
from trainables.storage.interface import Storage
lease.BEAT_SECONDS = 0.2
with snapshot.published(SweepFolder(Path(sys.argv[1]), "mine"), open_storage(sys.argv[2], 5.0).below("mine"), print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_driver_is_refused_while_the_first_runs_and_takes_over_if_it_is_killed(
    folder: SweepFolder, place: str
) -> None:
    command = [sys.executable, "-c", HOLD, str(folder.runs_dir), place]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        try:
            assert first.stdout is not None
            assert first.stdout.readline() == "held\n"
            with pytest.raises(LedgerError, match=rf"is already running \(pid {first.pid} on "):
                publish(folder, place)
        finally:
            first.kill()
    assert LEASE_FILE in storage_of(place).names()
    assert publish(folder, place) == []  # a process of this machine that has ended is not waited for
    assert LEASE_FILE not in storage_of(place).names()


def test_a_driver_on_another_machine_without_heartbeats_counts_as_ended(
    folder: SweepFolder, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "SILENT_SECONDS", 1.5)
    record = {"host": "far-away", "pid": 7, "since": "today", "token": "theirs", "beat": time.time()}
    storage_of(place).write(LEASE_FILE, json.dumps(record).encode())
    (said,) = publish(folder, place)
    assert "pid 7 on far-away since today may be running; waiting" in said


def test_a_record_that_is_published_during_the_wait_for_a_heartbeat_is_not_overwritten(
    folder: SweepFolder, place: str, tmp_path: Path
) -> None:
    publish(folder, place)
    record = {"host": "far-away", "pid": 7, "since": "today", "token": "theirs", "beat": time.time()}
    storage_of(place).write(LEASE_FILE, json.dumps(record).encode())
    left: list[dict[str, bytes | None]] = []

    def go_on_and_end(text: str) -> None:
        storage_of(place).delete(LEASE_FILE)
        there, _ = fetch(address_of(place), tmp_path / "elsewhere")
        add_epoch(there, 2)
        publish(there, place)
        left.append(contents(place))

    with pytest.raises(LedgerError, match=r"has a newer state of the sweep 'mine' than "), ExitStack() as stack:
        stack.enter_context(published(folder, storage_of(place), go_on_and_end))
    assert [contents(place)] == left


def test_a_driver_that_was_taken_over_ends_and_publishes_nothing(
    folder: SweepFolder, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    storage = storage_of(place)
    stolen = {"host": socket.gethostname(), "pid": 1, "since": "now", "token": "theirs", "beat": time.time()}
    until = time.monotonic() + PATIENCE_SECONDS
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(LedgerError, match=r"pid 1 on .* has taken over this sweep"))
        mine = stack.enter_context(published(folder, storage, lambda text: None))
        while time.monotonic() < until:
            storage.write(LEASE_FILE, json.dumps(stolen).encode())  # again: a beat may have come in between
            time.sleep(0.05)
            mine.check()
    assert json.loads(storage.read(LEASE_FILE) or b"")["token"] == "theirs"


@pytest.mark.parametrize("gone", [False, True])
def test_a_suspended_driver_does_not_change_the_record_of_its_successor(
    folder: SweepFolder, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """It did not read the record meanwhile; its successor still runs, or has ended."""
    publish(folder, place)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 1e6)
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(LedgerError, match="has taken over this sweep; this process stops"))
        mine = stack.enter_context(published(folder, storage_of(place), lambda text: None))
        storage_of(place).delete(LEASE_FILE)  # as if its heartbeat were too old
        there, _ = fetch(address_of(place), tmp_path / "elsewhere")
        add_epoch(there, 2)
        publish(there, place)
        if not gone:
            other = {"host": "far-away", "pid": 1, "since": "now", "token": "theirs", "beat": time.time()}
            storage_of(place).write(LEASE_FILE, json.dumps(other).encode())
        before = contents(place)
        add_epoch(folder, 3)
        with pytest.raises(LedgerError):
            mine.publish()
    assert contents(place) == before


def contents(place: str) -> dict[str, bytes | None]:
    storage = storage_of(place)
    return {name: storage.read(name) for name in storage.names()}


def test_a_record_that_was_removed_is_written_again(
    folder: SweepFolder, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    storage = storage_of(place)
    with published(folder, storage, lambda text: None) as mine:
        before = json.loads(storage.read(LEASE_FILE) or b"")["driver"]
        storage.delete(LEASE_FILE)
        until = time.monotonic() + PATIENCE_SECONDS
        while (found := storage.read(LEASE_FILE)) is None and time.monotonic() < until:
            time.sleep(0.05)
        mine.check()
        assert json.loads(found or b"")["driver"] == before


def test_heartbeats_continue_during_an_upload_and_errors_are_reported(
    folder: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upload takes longer than the sweep; then the ledger is no ledger any more."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(snapshot, "PUBLISH_SECONDS", 0.0)
    begun, go_on = threading.Event(), threading.Event()

    def copy_slowly(source: Path, target: Path) -> None:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)
        raise ValueError("no ledger")

    monkeypatch.setattr(snapshot, "copy_ledger", copy_slowly)
    said: list[str] = []
    storage = storage_of(str(tmp_path / "shared"))
    until = time.monotonic() + PATIENCE_SECONDS
    with published(folder, storage, said.append):
        assert begun.wait(PATIENCE_SECONDS)
        before = storage.read(LEASE_FILE)
        while storage.read(LEASE_FILE) == before and time.monotonic() < until:
            time.sleep(0.05)
        assert storage.read(LEASE_FILE) != before
        go_on.set()
        while not said and time.monotonic() < until:
            time.sleep(0.05)
    assert said[0] == "no ledger; training continues, and publishing is tried again"
    assert LEASE_FILE in storage.names()


def test_an_unreachable_storage_is_reported_once_and_the_record_is_published_later(
    folder: SweepFolder, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(snapshot, "PUBLISH_SECONDS", 0.0)
    said: list[str] = []
    storage = open_storage(server.uri(BUCKET, "away"), 0.3).below("mine")
    until = time.monotonic() + PATIENCE_SECONDS
    with published(folder, storage, said.append):
        server.go_away()
        try:
            while not said and time.monotonic() < until:
                time.sleep(0.05)
            add_epoch(folder, 2)
        finally:
            server.come_back()
        while len(said) < 2 and time.monotonic() < until:
            time.sleep(0.05)
    assert "no successful answer for" in said[0]
    assert said[0].endswith("training continues, and publishing is tried again")
    assert said[1:] == ["the storage answers again; the sweep is published there"]
    assert json.loads(storage.read(STATUS_FILE) or b"")["epochs_done"] == 2
