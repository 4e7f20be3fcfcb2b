"""Real faults: full and read-only disks, locked ledgers, damaged checkpoints, deaths between writes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import sweep.driver.outputs
from results.ledger import sqlite_file
from results.ledger.ledger import Ledger
from results.reports.export import export
from sweep.__main__ import main
from sweep.folder.paths import SweepFolder
from tests.sweep.sweeps import PATIENCE_SECONDS, call, command, environment
from trainables.runtime.fault_injection import VARIABLE

pytestmark = pytest.mark.slow  # processes that are started and killed

SPEC = """
data = "synthetic:n_train=1000,n_test=100,seed=0"
epochs = 3
seeds = 2
[protocol]
batch_size = 64
[resources]
pack = 2
cpus_per_trial = 1
retries = 1
[[configurations]]
optimizer = [{name = "SGD", lr = 0.05, momentum = 0.9}, {name = "Adam", lr = 0.003}]
"""
LOCKER = """
import sqlite3, sys, time
from pathlib import Path
path = Path(sys.argv[1])
while True:
    time.sleep(0.02)
    try:
        connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None, timeout=60)
        if connection.execute("SELECT COUNT(*) FROM epochs").fetchone()[0]:
            break
        connection.close()
    except sqlite3.Error:  # it is not made yet
        pass
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def _mounts() -> bool:
    """Return whether this process may mount: a container may not have the permission."""
    place = Path("/tmp") / f"lenet-sweep-mount-{os.getpid()}"
    place.mkdir()
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True, check=False)
        if mounted.returncode == 0:
            subprocess.run(["umount", str(place)], check=True)
        return mounted.returncode == 0
    except OSError:
        return False
    finally:
        place.rmdir()


@pytest.fixture(scope="module")
def may_mount() -> None:
    if not _mounts():
        pytest.skip("needs the right to mount a file system: root, or a container with CAP_SYS_ADMIN")


@contextmanager
def mounted(*arguments: str, at: Path) -> Iterator[None]:
    """Have something mounted at ``at`` while the block runs."""
    at.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *arguments, str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def small_disk(at: Path, size: str) -> Any:
    return mounted("-t", "tmpfs", "-o", f"size={size}", "tmpfs", at=at)


def grow(at: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(at)], check=True)


def fill(folder: Path, leave: int) -> None:
    """Use up the disk of ``folder`` but for about ``leave`` bytes."""
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    (folder / "ballast").write_bytes(b"\0" * (free - leave))


Verb = Callable[..., tuple[int, list[str]]]


@pytest.fixture(scope="module")
def spec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("specs") / "tiny.toml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Verb:
    """The command line in this process, without Ray: the exit code, and the lines of its error message."""

    def run(*arguments: str | Path) -> tuple[int, list[str]]:
        in_process = ["--in-process"] if arguments[0] in ("run", "resume") else []
        ended = call([*arguments, *in_process], Path.cwd(), monkeypatch, capfd)
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended.returncode, ended.stderr.splitlines()

    return run


@pytest.fixture
def epochs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep ends with its CSV files: figures and page have separate tests, and take most of a small sweep's time."""
    monkeypatch.setattr(
        sweep.driver.outputs, "make_outputs", lambda folder, *_: export(folder.ledger, folder.tables, ["csv"])
    )


@pytest.fixture(scope="module")
def undisturbed(spec_file: Path, tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    """The same sweep without a fault, with all its outputs."""
    runs_dir = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["sweep", "run", str(spec_file), "--in-process", "--runs-dir", str(runs_dir)])
        main()
    assert not ended.value.code
    return SweepFolder(runs_dir, "tiny")


def rows(folder: SweepFolder) -> pd.DataFrame:
    """What ``epochs.csv`` says, in all but times; every run has every epoch once."""
    frame = pd.read_csv(folder.tables / "epochs.csv", dtype="str")  # as spelled, so equal text is equal bits
    assert not frame.duplicated(["run_id", "epoch"]).any()
    assert len(frame) == 4 * 3
    return frame.drop(columns=[column for column in frame.columns if "seconds" in column])


def assert_same(folder: SweepFolder, undisturbed: SweepFolder) -> None:
    pd.testing.assert_frame_equal(rows(folder), rows(undisturbed), check_exact=True)


def recorded(folder: SweepFolder) -> int:
    """Count the rows on record."""
    if not folder.ledger.exists():
        return 0
    connection = sqlite3.connect(f"file:{folder.ledger}?mode=ro", uri=True, timeout=30)
    try:
        return int(connection.execute("SELECT COUNT(*) FROM epochs").fetchone()[0])
    except sqlite3.OperationalError:  # its tables are not made yet
        return 0
    finally:
        connection.close()


def attempts(folder: SweepFolder) -> list[tuple[Any, ...]]:
    with Ledger.open_read_only(folder.ledger) as ledger:
        return ledger.read("SELECT pack_id, outcome FROM attempts ORDER BY started")[0].rows


def resume_equals(folder: SweepFolder, undisturbed: SweepFolder, verb: Verb) -> None:
    code, told = verb("resume", "tiny", "--runs-dir", folder.runs_dir)
    assert code == 0, told
    assert_same(folder, undisturbed)


@contextmanager
def driver(spec_file: Path, runs_dir: Path, *, ray: bool = False, **changes: str) -> Iterator[subprocess.Popen[bytes]]:
    """A driver in its own process, with ``ray`` with its own Ray; at the end it is killed with all its children."""
    with (runs_dir / "said").open("wb") as said:
        process = subprocess.Popen(
            command("run", spec_file, "--runs-dir", runs_dir, ray=ray), stdout=said, stderr=said,
            env=environment() | changes,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            kill_all(process)


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a driver and all that it started."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(PATIENCE_SECONDS)
    psutil.wait_procs(family, timeout=PATIENCE_SECONDS)


def wait_until(true: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def newest_checkpoints(folder: SweepFolder) -> list[Path]:
    packs = sorted(folder.checkpoints.iterdir())
    return [max(pack.glob("epoch*.ckpt")) for pack in packs if list(pack.glob("epoch*.ckpt"))]


def test_a_ledger_that_cannot_grow_ends_the_sweep_in_one_line_and_loses_nothing(
    may_mount: None, undisturbed: SweepFolder, spec_file: Path, tmp_path: Path, verb: Verb, epochs_only: None
) -> None:
    """The disk is full after the first row; with free space, the sweep continues."""
    disk = tmp_path / "disk"
    folder = SweepFolder(disk, "tiny")

    def fill_behind_the_first_row() -> None:
        while not recorded(folder):
            time.sleep(0.01)
        fill(disk, 0)

    with small_disk(disk, "2m"), small_disk(folder.checkpoints, "64m"):
        filling = threading.Thread(target=fill_behind_the_first_row, daemon=True)
        filling.start()
        code, told = verb("run", spec_file, "--runs-dir", disk)
        filling.join()
        assert (code, len(told)) == (2, 1), told
        assert told[0].startswith(f"sweep: {folder.ledger}: the disk is full; free some space")
        assert 0 < recorded(folder) < 4 * 3
        grow(disk, "64m")
        resume_equals(folder, undisturbed, verb)


def test_a_checkpoint_that_cannot_be_written_fails_its_runs_with_the_reason(
    may_mount: None, undisturbed: SweepFolder, spec_file: Path, tmp_path: Path, verb: Verb, epochs_only: None
) -> None:
    """The ledger's disk has space, that of the checkpoints has none: no trial continues without checkpoints."""
    folder = SweepFolder(tmp_path, "tiny")
    with small_disk(folder.checkpoints, "1m"):
        code, told = verb("run", spec_file, "--fail-fast", "--runs-dir", tmp_path)
        assert code == 1, told
        with Ledger.open_read_only(folder.ledger) as ledger:
            errors = ledger.read("SELECT DISTINCT error FROM runs WHERE state = 'failed'")[0].rows
        assert errors
        for (error,) in errors:
            assert "CheckpointError: [Errno 28] No space left on device" in error
            assert str(folder.checkpoints) in error
        assert not list(folder.checkpoints.rglob("*.tmp"))
        grow(folder.checkpoints, "64m")
        code, told = verb("resume", "tiny", "--retry-failed", "--runs-dir", tmp_path)
        assert code == 0, told
        assert_same(folder, undisturbed)


def copied(undisturbed: SweepFolder, runs_dir: Path) -> SweepFolder:
    shutil.copytree(undisturbed.path, runs_dir / "tiny", ignore=shutil.ignore_patterns("checkpoints"))
    return SweepFolder(runs_dir, "tiny")


def test_outputs_that_find_no_space_leave_the_old_ones_whole(
    may_mount: None, undisturbed: SweepFolder, tmp_path: Path, verb: Verb
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "16m"):
        folder = copied(undisturbed, disk)
        before = {path: path.read_bytes() for path in folder.path.rglob("*.*") if path.suffix in (".csv", ".png")}
        fill(disk, 0)
        for words in (["resume", "tiny"], ["report", "tiny"], ["export", "tiny", "--format", "csv,md"]):
            code, told = verb(*words, "--runs-dir", disk)
            assert (code, len(told)) == (2, 1), told
            assert "full" in told[0] or "No space left" in told[0]
        assert {path: path.read_bytes() for path in before} == before
        assert not list(folder.path.rglob("*.tmp"))
        grow(disk, "64m")
        resume_equals(folder, undisturbed, verb)


def test_a_read_only_folder_is_reported_in_one_line_and_still_read(
    may_mount: None, undisturbed: SweepFolder, spec_file: Path, tmp_path: Path, verb: Verb,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    disk = tmp_path / "disk"
    disk.mkdir()
    copied(undisturbed, disk)
    with mounted("--bind", str(disk), at=disk):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(disk)], check=True)
        for words in (["run", spec_file], ["run", spec_file, "--name", "new"], ["resume", "tiny"],
                      ["export", "tiny"], ["report", "tiny"]):  # fmt: skip
            code, told = verb(*words, "--runs-dir", disk)
            assert (code, len(told)) == (2, 1), (words, told)
            assert "cannot be" in told[0] or "read-only" in told[0]
        assert verb("status", "tiny", "--runs-dir", disk) == (0, [])


def test_a_ledger_that_another_program_locks_is_waited_for_and_then_reported(
    undisturbed: SweepFolder, spec_file: Path, tmp_path: Path, verb: Verb, epochs_only: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A process holds SQLite's write lock from the first report on; after its end the sweep continues."""
    folder = SweepFolder(tmp_path, "tiny")
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.5)
    words = [sys.executable, "-c", LOCKER, str(folder.ledger)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as locker:
        try:
            code, told = verb("run", spec_file, "--runs-dir", tmp_path)
            assert code == 2
            assert told == [f"sweep: {folder.ledger}: another process is writing it; wait until it ends, or stop it"]
        finally:
            locker.kill()
    assert 0 < recorded(folder) < 4 * 3
    resume_equals(folder, undisturbed, verb)


@pytest.mark.ray
def test_a_worker_that_dies_between_checkpoint_and_report_changes_no_row(
    undisturbed: SweepFolder, spec_file: Path, tmp_path: Path
) -> None:
    """Tune retries; the row that the dead process did not report comes from its checkpoint."""
    fault = f"checkpoint written:2:{tmp_path / 'died'}"
    with driver(spec_file, tmp_path, ray=True, **{VARIABLE: fault}) as process:
        assert process.wait(PATIENCE_SECONDS) == 0, (tmp_path / "said").read_text()
    assert (tmp_path / "died").exists()
    folder = SweepFolder(tmp_path, "tiny")
    assert sorted(outcome for _, outcome in attempts(folder)) == ["done", "done", "failed"]
    export(folder.ledger, folder.tables, ["csv"])
    assert_same(folder, undisturbed)


def test_a_driver_that_dies_after_a_row_loses_nothing(
    undisturbed: SweepFolder, spec_file: Path, tmp_path: Path, verb: Verb, epochs_only: None
) -> None:
    """The record is then ahead of the checkpoints: one pack's newest is gone, the others have a bit changed."""
    with driver(spec_file, tmp_path, **{VARIABLE: f"row recorded:4:{tmp_path / 'died'}"}) as process:
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL, (tmp_path / "said").read_text()
    folder = SweepFolder(tmp_path, "tiny")
    assert 0 < recorded(folder) < 4 * 3
    first, *others = newest_checkpoints(folder)
    first.unlink()
    for path in others:
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 8
        path.write_bytes(content)
    resume_equals(folder, undisturbed, verb)


@pytest.mark.ray
def test_killed_at_any_moment_nothing_is_lost(
    undisturbed: SweepFolder, spec_file: Path, tmp_path: Path, verb: Verb, epochs_only: None
) -> None:
    """A driver that trains, after an unreported checkpoint; then a driver of Ray, whose workers end too."""
    folder, moment = SweepFolder(tmp_path, "tiny"), random.Random(0)
    with driver(spec_file, tmp_path, **{VARIABLE: f"checkpoint written:1:{tmp_path / 'died'}"}) as process:
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL, (tmp_path / "said").read_text()
    before = recorded(folder)
    assert before < 4 * 3
    with driver(spec_file, tmp_path, ray=True) as process:
        wait_until(lambda: recorded(folder) > before, process)
        family = psutil.Process(process.pid).children(recursive=True)  # Ray's agents end later, and train nothing
        workers = [member for member in family if member.name().startswith(("ray::Resource", "ray::IDLE"))]
        time.sleep(moment.random())
        process.kill()
        process.wait(PATIENCE_SECONDS)
        _, alive = psutil.wait_procs(workers, timeout=PATIENCE_SECONDS)
        assert workers
        assert not alive
    resume_equals(folder, undisturbed, verb)
