from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from results.ledger import sqlite_file
from results.ledger.ledger import EpochRow, Ledger
from search_spaces.errors import LedgerError

ROOT = Path(__file__).parents[3]


def refusal(opening, path: Path) -> str:
    """Return the one line with which ``opening`` refuses ``path``, having checked that it names it."""
    with pytest.raises(LedgerError) as refused:
        opening(path)
    line = str(refused.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


BOTH = pytest.mark.parametrize("opening", [Ledger.create_or_open, Ledger.open_read_only], ids=["writer", "reader"])


def test_a_reader_does_not_make_the_ledger_that_is_missing(path):
    """One line, and the folder stays empty."""
    assert "there is no ledger" in refusal(Ledger.open_read_only, path)
    assert list(path.parent.iterdir()) == []


def test_a_writer_names_the_folder_that_is_missing(tmp_path):
    """No folder is made on the way."""
    assert "folder exists" in refusal(Ledger.create_or_open, tmp_path / "nowhere" / "ledger.sqlite")


@BOTH
@pytest.mark.parametrize("text", ["no ledger\n", "no ledger\n" * 1000], ids=["short", "long"])
def test_a_text_file_is_refused_and_left_alone(path, opening, text):
    """The writer does not treat another file as an empty ledger, either."""
    path.write_text(text)
    assert "is not a ledger" in refusal(opening, path)
    assert path.read_text() == text


@BOTH
def test_another_programs_sqlite_file_is_refused_and_left_alone(path, opening):
    """Its application id distinguishes a ledger from the file of another program."""
    stranger = sqlite3.connect(path)
    stranger.execute("CREATE TABLE runs (run_id TEXT)")
    stranger.close()
    before = path.read_bytes()
    assert "not a ledger" in refusal(opening, path)
    assert path.read_bytes() == before


@BOTH
def test_a_newer_schema_is_refused_by_both_numbers(ledger, path, opening):
    """Data of an unknown schema is not read."""
    ledger.close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    line = refusal(opening, path)
    assert "schema 99" in line
    assert f"up to {sqlite_file.SCHEMA_VERSION}" in line


def test_a_schema_that_cannot_be_read_directly_is_migrated_by_the_writer(ledger, path, monkeypatch):
    ledger.close()
    newer = sqlite_file.SCHEMA_VERSION + 1
    monkeypatch.setattr(sqlite_file, "SCHEMA_VERSION", newer)
    monkeypatch.setattr(sqlite_file, "READABLE", (newer,))
    assert f"has schema {newer - 1}, older than {newer}" in refusal(Ledger.open_read_only, path)


def test_an_empty_file_becomes_a_ledger_for_the_writer_only(path):
    """A driver that was killed while it made the ledger left no more than that."""
    path.touch()
    assert "is empty" in refusal(Ledger.open_read_only, path)
    Ledger.create_or_open(path).close()
    with Ledger.open_read_only(path) as ledger:
        assert ledger.statuses() == {}


def test_a_damaged_ledger_is_named_in_one_line(ledger, path, runs, attempt_of, row_of):
    """Torn pages are found when they are read."""
    ledger.record([attempt_of(runs)], [row_of(run, epoch) for run in runs for epoch in range(1, 200)], {})
    ledger.close()
    header, size = path.read_bytes()[:4096], path.stat().st_size
    path.write_bytes(header + b"\xff" * (size - len(header)))

    def use(path: Path) -> None:
        with Ledger.open_read_only(path) as damaged:
            damaged.read("SELECT * FROM epochs")

    assert "is damaged" in refusal(use, path)


def test_what_was_opened_for_reading_cannot_be_written(ledger, path, runs):
    """One writer: a reader that tries is refused."""
    with Ledger.open_read_only(path) as reader, pytest.raises(LedgerError, match="is read-only here"):
        reader.plan(runs, 3, data_name="cifar100", synthetic=False)


READ_AS_NOBODY = """
import os, sys
from pathlib import Path
from results.ledger.ledger import Ledger
from search_spaces.errors import LedgerError
if os.geteuid() == 0:
    os.setuid(65534)  # root may write everywhere
path = Path(sys.argv[1])
try:
    with Ledger.open_read_only(path) as ledger:
        print(len(ledger.statuses()))
except LedgerError as error:
    print(error)
try:
    Ledger.create_or_open(path).close()
except LedgerError as error:
    print(error)
"""


def read_as_nobody(path: Path) -> str:
    command = [sys.executable, "-c", READ_AS_NOBODY, str(path)]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True, timeout=120).stdout


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
        Path(name).chmod(0o700)


def test_a_ledger_in_a_read_only_folder_can_be_read_and_not_written(public_folder, runs):
    """Another user reads a finished sweep."""
    path = public_folder / "ledger.sqlite"
    with Ledger.create_or_open(path) as ledger:
        ledger.plan(runs, 3, data_name="cifar100", synthetic=False)
    path.chmod(0o444)
    public_folder.chmod(0o555)
    statuses, refused = read_as_nobody(path).splitlines()
    assert statuses == str(len(runs))
    assert refused.startswith(f"{path}: ")
    assert "read-only" in refused or "cannot be opened" in refused


def test_a_read_only_folder_with_an_unmerged_log_is_refused_and_not_misread(public_folder, runs):
    """Without its log the file would be an old state, or half of a new one."""
    path = public_folder / "ledger.sqlite"
    with Ledger.create_or_open(path) as ledger:
        ledger.plan(runs, 3, data_name="cifar100", synthetic=False)
        copies = {name: (public_folder / name).read_bytes() for name in (path.name, f"{path.name}-wal")}
    for name, content in copies.items():
        (public_folder / name).write_bytes(content)
    public_folder.chmod(0o555)
    path.chmod(0o444)
    assert "the last writes are in ledger.sqlite-wal" in read_as_nobody(path).splitlines()[0]


def test_a_second_writer_gets_an_error(ledger, path, runs, attempt_of, monkeypatch):
    """It waits for a while, then gives up in one line."""
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.01)

    def meanwhile() -> Iterator[EpochRow]:
        with pytest.raises(LedgerError, match="another process is writing it"):
            Ledger.create_or_open(path)
        yield from ()

    ledger.record([attempt_of(runs)], meanwhile(), {})
