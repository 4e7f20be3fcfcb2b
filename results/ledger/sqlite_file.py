"""The ledger's SQLite file: open it, check it, and write to it in transactions.

An SQLite error becomes a message of one line with the file and a hint.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from results.ledger.checksums import LedgerConnection, checksum, store_changes, store_checksums, watch_changes
from results.ledger.schema import APPLICATION_ID, CHECKSUMS_SINCE, CREATE, MIGRATIONS, READABLE, SCHEMA_VERSION
from results.ledger.verification import MAX_BYTES, TABLES, check_content, check_schema, damaged, schema_of
from search_spaces.errors import LedgerError

BUSY_SECONDS = 30.0
"""Maximum time that a write waits for another writer."""

HINTS = {
    sqlite3.SQLITE_NOTADB: "is not a ledger; give a sweep's ledger.sqlite",
    sqlite3.SQLITE_BUSY: "another process is writing it; wait until it ends, or stop it",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that its folder exists, and the permissions of both",
    sqlite3.SQLITE_READONLY: "is read-only here; make the file and its folder writable, or copy them elsewhere",
    sqlite3.SQLITE_FULL: "the disk is full; free some space, then run again: all earlier reports are kept",
    sqlite3.SQLITE_IOERR: "cannot be read or written ({cause}); keep a ledger on a working local disk",
}
"""SQLite's primary result code → message with a hint."""


def open_for_writing(path: Path) -> LedgerConnection:
    """Open for writing; create the ledger if it is missing, migrate an older schema.

    Raises:
        LedgerError: the file is not a ledger, has a newer schema, is damaged, or cannot be written.
    """
    with _in_one_line(path, opening=True):
        connection = _connect(path, "mode=rwc")
        try:
            _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def open_for_reading(path: Path) -> LedgerConnection:
    """Open for reading, also during writes; a missing ledger is not created.

    Raises:
        LedgerError: the file is missing, not a ledger, has another schema, is damaged, or cannot be read.
    """
    if not path.is_file():
        raise LedgerError(f"{path}: there is no ledger; `sweep run` creates it")
    with _in_one_line(path, opening=True):
        try:
            connection = _connect(path, "mode=ro")
        except sqlite3.OperationalError as error:
            if _primary_code(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            # SQLite needs a shared-memory file beside the ledger, which a read-only folder does not allow. The
            # option `immutable` works without this file, but ignores a remaining write-ahead log.
            log = path.with_name(f"{path.name}-wal")
            if log.exists() and log.stat().st_size:
                raise LedgerError(
                    f"{path}: the last writes are in {log.name}, and the folder is read-only; "
                    "copy both files to a writable folder and read them there"
                ) from error
            connection = _connect(path, "mode=ro&immutable=1")
        try:
            with transaction(connection, path, "BEGIN"):
                version = _schema_version(connection, path)
                if version not in READABLE:
                    problem = f"has schema {version}, older than {SCHEMA_VERSION}" if version else "is empty"
                    raise LedgerError(f"{path}: {problem}; `sweep run` migrates it")
                check_schema(connection, path, schema_of(version))
                check_content(connection, path, version)
        except BaseException:
            connection.close()
            raise
        return connection


def copy_ledger(path: Path, target: Path) -> None:
    """Copy a snapshot of the ledger into one file, also during writes (SQLite's backup).

    Raises:
        LedgerError: the ledger cannot be read, or the copy cannot be written.
    """
    with _in_one_line(path), closing(_connect(path, "mode=ro")) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # without a log, so the copy is a single file


@contextmanager
def transaction(connection: LedgerConnection, path: Path, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Commit the body and its checksums, or roll it back if it raises. ``BEGIN``: read one snapshot in many queries.

    Raises:
        LedgerError: an SQLite error in ``HINTS``.
    """
    with _in_one_line(path):
        connection.execute(begin)
        try:
            yield
            store_changes(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.changes.clear()
            if connection.in_transaction:  # some errors roll back by themselves
                connection.execute("ROLLBACK")
            raise


def _connect(path: Path, options: str) -> LedgerConnection:
    """Connect, and check that the file is a ledger; ``options`` are those of an SQLite URI."""
    uri = f"{path.absolute().as_uri()}?{options}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS, factory=LedgerConnection)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BYTES)
        _schema_version(connection, path)  # before any change: the file may belong to another program
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")  # an untrusted file cannot call unsafe functions
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: LedgerConnection, path: Path) -> None:
    """Create or migrate the schema. Always write, so that a read-only folder raises before the first report."""
    with transaction(connection, path, "BEGIN"):
        if version := _schema_version(connection, path):
            check_schema(connection, path, schema_of(version))
            check_content(connection, path, version)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # in WAL mode a crash of the process loses no commit
    with transaction(connection, path):
        version = _schema_version(connection, path)
        steps = [MIGRATIONS[step] for step in range(version, SCHEMA_VERSION)] if version else [CREATE]
        for statement in (statement for step in steps for statement in step):
            connection.execute(statement)
        columns = {table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")] for table in TABLES}
        if version < CHECKSUMS_SINCE:
            for table, names in columns.items():
                store_checksums(connection, {table: checksum(connection.execute(_select(table, names)))})
        watch_changes(connection, columns)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('created', ?)", (created,))
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _select(table: str, columns: Sequence[str]) -> str:
    return f"SELECT {', '.join(columns)} FROM {table}"


def _schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema's version, 0 for an empty file; raise for any other file, and for a newer schema."""
    (entries,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not entries and not application_id:
        return 0
    if application_id != APPLICATION_ID:
        raise LedgerError(f"{path}: is an SQLite file, but not a ledger; give a sweep's ledger.sqlite")
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"{path}: has schema {version}, this installation supports schemas up to {SCHEMA_VERSION}; "
            "update lenet-sweep"
        )
    return int(version)


def _primary_code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the higher bytes are the extended code


@contextmanager
def _in_one_line(path: Path, opening: bool = False) -> Iterator[None]:
    """Raise a :class:`LedgerError` for an error of SQLite.

    While a file is opened, every error that is not in ``HINTS`` is caused by its content. Later it is a bug and keeps
    its traceback.
    """
    try:
        yield
    except (sqlite3.Error, MemoryError, UnicodeDecodeError) as error:
        hint = HINTS.get(_primary_code(error))
        if hint is not None:
            raise LedgerError(f"{path}: {hint.format(path=path, cause=error)}") from error
        if not opening and _primary_code(error) != sqlite3.SQLITE_CORRUPT:
            raise
        raise damaged(path, error) from error
