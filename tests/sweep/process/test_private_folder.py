"""A private folder is for its user only, and is removed when its process has ended, however it ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from search_spaces.errors import EnvironmentMismatchError
from sweep.process.identity import ProcessIdentity, process_start
from sweep.process.private_folder import (
    EMPTY_SECONDS,
    MOST_BYTES,
    OWNER_FILE,
    end_ray_processes,
    private_folder,
    remove_dead_folders,
)

ROOT = Path(__file__).parents[3]
HOLD = """
import time
from sweep.process.private_folder import private_folder
with private_folder() as folder:
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The parent of all private folders; short, as those of a machine are."""
    import tempfile

    found = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    monkeypatch.setenv("RAY_TMPDIR", str(found))
    return found


def holder() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_no_other_user_can_enter_and_the_block_removes_it(place: Path) -> None:
    with private_folder() as folder:
        assert folder.parent == place
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / OWNER_FILE).stat().st_mode & 0o777 == 0o600
        assert len(str(folder)) <= MOST_BYTES
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_a_running_one_has_is_not(place: Path) -> None:
    (running, kept), (killed, left) = holder(), holder()
    agent = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        stdout=(left / "out").open("w"),
    )
    log = (left / "log").open("w")
    titled = subprocess.Popen(  # its output is a pipe to the raylet; it has a log open
        ["ray::DashboardAgent", "-c", "import time; time.sleep(600)"], executable=sys.executable,
        pass_fds=[log.fileno()],
    )  # fmt: skip
    reader = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(left / "out")])
    try:
        killed.kill()
        killed.wait()
        remove_dead_folders()
        assert kept.is_dir()
        assert not left.exists()
        titled.wait(10)
        agent.wait(10)  # one of Ray's: its output went there
        assert reader.poll() is None  # a user's program that reads there
    finally:
        for process in (running, agent, titled, reader):
            process.kill()
            process.wait()


def _made(place: Path, owner: ProcessIdentity | None, name: str = "sweep-abcdefgh") -> Path:
    folder = place / name
    folder.mkdir(0o700)
    if owner is not None:
        (folder / OWNER_FILE).write_text(json.dumps(asdict(owner)))
    return folder


@pytest.mark.parametrize(
    ("name", "host", "start", "removed"),
    [
        ("sweep-abcdefgh", None, 1, True),  # its pid belongs to a later process
        ("sweep-abcdefgh", None, None, False),  # it runs
        ("sweep-abcdefgh", "elsewhere", 1, False),
        ("sweep-abc", None, 1, False),
        ("other-abcdefgh", None, 1, False),
    ],
)
def test_only_a_folder_whose_process_has_certainly_ended_is_removed(
    name: str, host: str | None, start: int | None, removed: bool, place: Path
) -> None:
    own = ProcessIdentity.own()
    folder = _made(place, ProcessIdentity(host or own.host, own.pid, own.start if start is None else start), name)
    remove_dead_folders()
    assert folder.exists() is not removed


def test_a_folder_without_a_record_is_removed_only_if_it_is_empty_and_old(place: Path) -> None:
    young, old, used = (_made(place, None, f"sweep-{name:8}".replace(" ", "_")) for name in ("young", "old", "used"))
    (used / "file").touch()
    for folder in (old, used):
        os.utime(folder, times=(time.time() - 2 * EMPTY_SECONDS,) * 2)
    remove_dead_folders()
    assert (young.exists(), old.exists(), used.exists()) == (True, False, True)


def test_a_link_and_a_record_that_is_no_record_are_left(place: Path, tmp_path: Path) -> None:
    dead = _made(tmp_path, ProcessIdentity(ProcessIdentity.own().host, 1, 1))
    (place / "sweep-linklink").symlink_to(dead)
    odd = _made(place, None)
    (odd / OWNER_FILE).write_text("[]")
    remove_dead_folders()
    assert dead.exists()
    assert odd.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder of another user")
def test_another_users_folder_is_left(place: Path) -> None:
    folder = _made(place, ProcessIdentity(ProcessIdentity.own().host, 1, 1))
    os.chown(folder, 65534, 65534)
    remove_dead_folders()
    assert folder.exists()


@pytest.mark.parametrize("name", ["x" * 60, "ü"])
def test_a_place_that_rays_sockets_do_not_fit_is_not_used(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / name))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    with private_folder() as folder:
        assert folder.parent == Path("/tmp")


def test_where_no_place_can_be_used_one_line_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.process.private_folder._parents", lambda: [Path("/proc/nothing")])
    with pytest.raises(EnvironmentMismatchError, match="RAY_TMPDIR"), private_folder():
        pass


def test_a_process_is_known_by_its_pid_and_its_start() -> None:
    own = ProcessIdentity.own()
    assert not own.has_ended()
    assert ProcessIdentity(own.host, own.pid, own.start + 1).has_ended()
    assert not ProcessIdentity("elsewhere", own.pid, own.start + 1).has_ended()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert process_start(ended.pid) is None


def test_this_process_is_never_ended(place: Path) -> None:
    end_ray_processes(place)
