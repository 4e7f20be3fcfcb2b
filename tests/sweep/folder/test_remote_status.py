"""What the storage shows of a sweep is what its driver published there, and a request there reaches the driver."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import pytest

from search_spaces.errors import StorageError, SweepFolderError
from sweep.folder.control import SILENT_SECONDS, Control, ControlStorage, published
from sweep.folder.remote_status import SNAPSHOT, ask_remote_driver, remote_status
from sweep.folder.status import sweep_status
from tests.builders import two_by_two_runs
from tests.sweep.folder.test_control import DRIVER, wait_until
from tests.sweep.folder.test_status import begin
from tests.trainables.s3_server import BUCKET
from trainables.runtime.stop_signal import Ask
from trainables.storage.interface import Storage

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:moto.*|botocore.*|werkzeug.*")

NUMBERS = {
    "runs": 4, "done": 1, "running": 2, "pending": 1, "interrupted": 0, "diverged": 0, "failed": 0, "epochs_share": 0.5,
    "best_val_acc": 31.5, "best_run": "0" * 16, "rate": 2.0, "seconds_left": 60.0, "nodes": [], "slots": 8,
    "slots_used": 2,
}  # fmt: skip


@pytest.fixture(params=["folder", "bucket"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """PLACE/NAME of a sweep; in a bucket, with options behind it."""
    if request.param == "folder":
        return f"{tmp_path}/shared/mine"
    place, mark, options = request.getfixturevalue("server").uri(BUCKET, "lab").partition("?")
    return f"{place}/{tmp_path.name.rstrip('0123456789_')}/mine{mark}{options}"


def storage_of(address: str) -> Storage:
    place, mark, options = address.partition("?")
    return Storage.open(place + mark + options)


def test_where_nothing_was_published_it_says_so_in_one_line(address: str) -> None:
    with pytest.raises(StorageError, match=r"no sweep has been published there; name the sweep itself, PLACE/NAME$"):
        remote_status(address)
    with pytest.raises(SweepFolderError, match=r"^no driver is at work on .*mine"):
        ask_remote_driver(address, "stop")
    assert storage_of(address).names("control") == []


def test_what_a_driver_publishes_is_shown_and_what_is_asked_reaches_it(address: str) -> None:
    with Control(DRIVER) as control:
        control.tell(NUMBERS)
        control.serve(ControlStorage(storage_of(address)))
        wait_until(lambda: published(ControlStorage(storage_of(address))))
        status = remote_status(address)
        assert {key: status[key] for key in ("name", "running", "done", "epochs_share")} == {
            "name": "mine", "running": 2, "done": 1, "epochs_share": 0.5,
        }  # fmt: skip
        assert status["driver"]["pid"] == DRIVER["pid"]
        assert (status["driver"]["slots_used"], status["driver"]["rate"]) == (2, 2.0)
        assert ask_remote_driver(address, "stop")["driver"] == DRIVER["driver"]
        wait_until(lambda: control.asked is Ask.STOP)
        storage_of(address).write(SNAPSHOT, b'{"data": "synthetic"}')
    status = remote_status(address)
    assert (status["driver"], status["running"], status["interrupted"]) == (None, 0, 2)
    assert status["resume"] == f"sweep resume {shlex.quote(address)}"
    assert storage_of(address).names("control") == ["status.json"]
    with pytest.raises(SweepFolderError, match=r"^no driver is at work on "):
        ask_remote_driver(address, "cancel")


def test_a_driver_that_is_silent_for_too_long_is_dead(tmp_path: Path) -> None:
    address = f"{tmp_path}/mine"
    storage_of(address).write(SNAPSHOT, b'{"data": "synthetic"}')
    for told_at, driven in ((time.time(), True), (time.time() - SILENT_SECONDS, False)):
        told = {**DRIVER, **NUMBERS, "phase": "training", "told_at": told_at}
        storage_of(address).write("control/status.json", json.dumps(told).encode())
        status = remote_status(address)
        assert (status["driver"] is not None) is driven
        assert (status["running"], status["interrupted"]) == ((2, 0) if driven else (0, 2))


def test_a_driver_that_ended_and_left_no_snapshot_left_nothing_to_go_on_with(address: str) -> None:
    with Control(DRIVER) as control:
        control.serve(ControlStorage(storage_of(address)))
        wait_until(lambda: published(ControlStorage(storage_of(address))))
        assert remote_status(address)["driver"]["phase"] == "starting"
    with pytest.raises(StorageError, match="no sweep has been published there"):
        remote_status(address)


def test_a_snapshot_alone_is_shown_with_all_that_a_folder_shows(tmp_path: Path) -> None:
    """Its driver was killed before it told anything; the keys are those of a sweep's folder."""
    folder, ledger = begin(tmp_path, "mine", two_by_two_runs())
    ledger.close()
    local = sweep_status(folder)
    address = f"{tmp_path}/shared/mine"
    storage_of(address).write("status.json", json.dumps(local).encode())
    found = remote_status(address)
    assert found == {**local, "folder": address, "resume": f"sweep resume {shlex.quote(address)}"}


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'{"driver": 1}'])
def test_what_nobody_of_ours_wrote_is_not_believed(tmp_path: Path, text: bytes) -> None:
    storage_of(f"{tmp_path}/mine").write("control/status.json", text)
    with pytest.raises(StorageError, match="no sweep has been published there"):
        remote_status(f"{tmp_path}/mine")
