"""The ledger's SQLite file: opening it, checking that it is one, and writing to it in transactions.

Whatever SQLite may say about the file on the way becomes one line that names the file and the mend.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from results.ledger.schema import APPLICATION_ID, CREATE, MIGRATIONS, SCHEMA_VERSION
from search_spaces.errors import LedgerError

BUSY_SECONDS = 30.0
"""How long a write waits for another writer to finish before it gives up."""

MENDS = {
    sqlite3.SQLITE_NOTADB: "is not a ledger; name a sweep's ledger.sqlite",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore a copy, or save what can be read with `sqlite3 {path} .recover`",
    sqlite3.SQLITE_BUSY: "another process is writing it; wait until it ends, or stop it",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; its folder must exist, and this user must be allowed to use both",
    sqlite3.SQLITE_READONLY: "is read-only here; let this user write the file and its folder, or copy them elsewhere",
    sqlite3.SQLITE_FULL: "the disk is full; free some space, then run again: all earlier reports are kept",
    sqlite3.SQLITE_IOERR: "cannot be read or written ({cause}); a ledger belongs on a local disk that works",
}
"""SQLite's primary result code → what to tell the user. Any other error is a bug, and keeps its traceback."""


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Connect to write; make the ledger if it is missing, bring an older one up to the present schema.

    Raises:
        LedgerError: another kind of file, a newer schema, a damaged file, or a place that cannot be written.
    """
    with _in_one_line(path):
        connection = _connect(path, "mode=rwc")
        try:
            _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Connect to read, also while the writer writes; nothing is ever created in place of a missing ledger.

    Raises:
        LedgerError: no file, another kind of file, another schema, a damaged or an unreadable file.
    """
    if not path.is_file():
        raise LedgerError(f"{path}: there is no ledger; `sweep run` makes one")
    with _in_one_line(path):
        try:
            connection = _connect(path, "mode=ro")
        except sqlite3.OperationalError as error:
            if _primary_code(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            # Readers and the writer share memory through a file beside the ledger. A read-only folder has no room
            # for it, and SQLite can do without where nobody writes; but it would not see a log that is left.
            log = path.with_name(f"{path.name}-wal")
            if log.exists() and log.stat().st_size:
                raise LedgerError(
                    f"{path}: its last writes are still in {log.name}, and its folder is read-only; "
                    "copy both files to a folder that can be written, and read them there"
                ) from error
            connection = _connect(path, "mode=ro&immutable=1")
        version = _schema_version(connection, path)
        if version != SCHEMA_VERSION:
            connection.close()
            problem = f"has schema {version}, older than {SCHEMA_VERSION}" if version else "is still empty"
            raise LedgerError(f"{path}: {problem}; `sweep run` brings it up to date")
        return connection


def copy_ledger(path: Path, target: Path) -> None:
    """Copy the ledger at one moment into one file, also while its writer writes (SQLite's backup).

    Raises:
        LedgerError: it cannot be read, or the copy cannot be written.
    """
    with _in_one_line(path), closing(_connect(path, "mode=ro")) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # no log beside it: the copy is this file alone


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Do all of the body or, where it raises, nothing. ``BEGIN`` is for reading one moment in several queries.

    Raises:
        LedgerError: whatever ``MENDS`` has a line for.
    """
    with _in_one_line(path):
        connection.execute(begin)
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # some errors have rolled back already
                connection.execute("ROLLBACK")
            raise


def _connect(path: Path, options: str) -> sqlite3.Connection:
    """Connect, and check that this is a ledger that we know; ``options`` are those of an SQLite URI."""
    uri = f"{path.absolute().as_uri()}?{options}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
    try:
        _schema_version(connection, path)  # before anything is changed: it may be another program's file
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")  # views and triggers of a stranger's file call nothing unsafe
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Create what is missing. Something is always written: a read-only place shows now, not at the first report."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # in WAL mode no crash of a process loses a commit
    with transaction(connection, path):
        version = _schema_version(connection, path)
        steps = [MIGRATIONS[step] for step in range(version, SCHEMA_VERSION)] if version else [CREATE]
        for statement in (statement for step in steps for statement in step):
            connection.execute(statement)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('created', ?)", (created,))
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema's version, 0 for a file that is still empty; refuse what is no ledger, or a newer one."""
    (entries,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not entries and not application_id:
        return 0
    if application_id != APPLICATION_ID:
        raise LedgerError(f"{path}: is an SQLite file, but not a ledger; name a sweep's ledger.sqlite")
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"{path}: has schema {version}, this installation knows schemas up to {SCHEMA_VERSION}; update lenet-sweep"
        )
    return int(version)


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the higher bytes only refine it


@contextmanager
def _in_one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        mend = MENDS.get(_primary_code(error))
        if mend is None:
            raise
        raise LedgerError(f"{path}: {mend.format(path=path, cause=error)}") from error
