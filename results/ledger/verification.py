"""Checks of a ledger when it is opened: its schema, its checksums, and the types and ranges of its values.

The schema is checked first: a view, a trigger or a constraint of another program is not executed.
"""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from results.ledger.checksums import TableChecksum, row_hash, stored_checksums
from results.ledger.schema import CHECKSUMS_SINCE, CREATE, CREATE_CHECKSUMS, CREATE_PHASES, MAX_EPOCHS, PHASES_SINCE
from search_spaces.configuration import Configuration
from search_spaces.errors import LedgerError, UserError
from search_spaces.run import Protocol

Schema = dict[str, str]
"""Name of a table or view → the normalized text of the statement that creates it."""

TABLES = ("meta", "packs", "runs", "attempts", "epochs", "phases")
TYPES = {"TEXT": str, "INTEGER": int, "REAL": float}
MAX_BYTES = 1 << 28
"""Maximum size of one value; a damaged length does not allocate more memory."""


class DamageError(Exception):
    """What is damaged, without the file's name."""


def damaged(path: Path, what: object) -> LedgerError:
    """Return the error for a ledger that cannot be used because of ``what``."""
    again = shlex.join(["sweep", "run", str(path.parent / "sweep.toml"), "--name", path.parent.name])
    return LedgerError(
        f"{path}: is damaged ({shortened(what)}); restore a copy, or move the file to another place and run: {again} "
        "(runs with a checkpoint get their rows back)"
    )


def shortened(value: object, length: int = 100) -> str:
    """Return a value as one line of at most ``length`` characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def schema_of(version: int) -> Schema:
    """Return the schema of this version; version 1 has no checksums, and phases exist since version 3."""
    since = {CREATE_CHECKSUMS: CHECKSUMS_SINCE, CREATE_PHASES: PHASES_SINCE}
    return expected_schema(tuple(text for text in CREATE if version >= since.get(text, 1)))


def tables_of(version: int) -> tuple[str, ...]:
    """Return the tables of this version, without ``checksums``."""
    return TABLES if version >= PHASES_SINCE else TABLES[:-1]


@cache
def expected_schema(statements: tuple[str, ...]) -> Schema:
    """Return the schema that these ``CREATE TABLE`` and ``CREATE VIEW`` statements make."""
    normalized = [_normalized(text) for text in statements]
    return {text.split()[2]: text for text in normalized}


def _normalized(sql: str) -> str:
    """Return a statement without comments, and with one space for each gap."""
    return " ".join(re.sub(r"--[^\n]*", " ", sql).split())


def check_schema(connection: sqlite3.Connection, path: Path, expected: Schema) -> None:
    """Refuse a file with other tables, views, indexes or triggers than ``expected``.

    Raises:
        LedgerError: the first object that is missing, changed, or not a part of a ledger.
    """
    found = {}
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if name not in expected:
            raise damaged(path, f"the {shortened(kind, 20)} {shortened(name, 60)!r} is not a part of a ledger")
        found[name] = _normalized(str(sql))
    for name, text in expected.items():
        if found.get(name) != text:
            raise damaged(path, f"{name!r} is {'changed' if name in found else 'missing'} in the schema")


def check_content(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Check every value of every table, and the checksums where the schema has them.

    Raises:
        LedgerError: the first damage that is found.
    """
    try:
        if version >= CHECKSUMS_SINCE:
            stored = stored_checksums(connection)
            for table in tables_of(version):
                limit = stored.get(table, TableChecksum())
                if _checked_rows(connection, table, limit.entries) != limit:
                    raise DamageError(f"the table {table!r} does not match its checksum")
        else:  # without checksums, damage of the file's structure would hide rows
            (problem,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if problem != "ok":
                raise DamageError(str(problem).splitlines()[-1])
            for table in tables_of(version):
                _checked_rows(connection, table)
        for query in IMPOSSIBLE + (IMPOSSIBLE_PHASES if version >= PHASES_SINCE else ()):
            if row := connection.execute(query).fetchone():
                raise DamageError(", ".join(shortened(value, 40) for value in row))
        for query, check in JSON_VALUES.items():
            for (text,) in connection.execute(query):
                _check_json(text, check)
    except DamageError as damage:
        raise damaged(path, damage) from None
    except (sqlite3.Error, ValueError, MemoryError, OverflowError) as error:
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in PASSED_ON:
            raise
        raise damaged(path, error or "it cannot be read") from error


PASSED_ON = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""Errors that are not a damage of the file."""


def _checked_rows(connection: sqlite3.Connection, table: str, limit: int | None = None) -> TableChecksum:
    """Check the types of a table's values; return its checksum, which is zero without a ``limit`` of rows."""
    columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
    names = [name for _, name, *_ in columns]
    allowed = [
        (TYPES[declared],) if required or key else (TYPES[declared], type(None))
        for _, _, declared, required, _, key in columns
    ]
    known: set[tuple[type, ...]] = set()
    entries, digest = 0, 0
    for row in connection.execute(f"SELECT {', '.join(names)} FROM {table}"):
        types = tuple(map(type, row))
        if types not in known:
            for name, kind, kinds in zip(names, types, allowed, strict=True):
                if kind not in kinds:
                    raise DamageError(f"{table}.{name} has a value of another type")
            known.add(types)
        if limit is not None:
            entries, digest = entries + 1, digest + row_hash(row)
            if entries > limit:
                break
    return TableChecksum(entries, 0).plus(TableChecksum(0, digest))


MEASURED = ("train_loss", "val_loss", "val_acc", "test_loss", "test_acc", "lr", "epoch_seconds")
IMPOSSIBLE = (
    f"SELECT 'an infinite number', run_id FROM epochs WHERE 9e999 IN ({', '.join(f'ABS({name})' for name in MEASURED)})"
    " LIMIT 1",
    f"SELECT 'epoch ' || epoch, run_id FROM epochs WHERE epoch NOT BETWEEN 1 AND {MAX_EPOCHS} LIMIT 1",
    f"SELECT target_epochs || ' planned epochs', run_id FROM runs WHERE target_epochs NOT BETWEEN 1 AND {MAX_EPOCHS}",
    "SELECT 'seed ' || seed, run_id FROM runs WHERE seed < 0 LIMIT 1",
    "SELECT 'a row of an unknown run or attempt', run_id FROM epochs WHERE run_id NOT IN (SELECT run_id FROM runs) "
    "OR attempt_id NOT IN (SELECT attempt_id FROM attempts) LIMIT 1",
)
IMPOSSIBLE_PHASES = (
    f"SELECT epochs || ' phase epochs', run_id FROM phases WHERE epochs NOT BETWEEN 1 AND {MAX_EPOCHS} LIMIT 1",
    "SELECT 'a phase of an unknown run', run_id FROM phases WHERE run_id NOT IN (SELECT run_id FROM runs) LIMIT 1",
)
"""Queries whose result is a value that no ledger has."""


def _is_configuration(value: Any) -> bool:
    columns = Configuration.from_dict(value).columns()
    return all(type(columns[key]) is str for key in ("optimizer", "scheduler")) and type(columns["warmup"]) in (
        int,
        float,
    )


def _is_protocol(value: Any) -> bool:
    Protocol.from_dict(value)
    return isinstance(value, dict)


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is str for one in value)


def _are_versions(value: Any) -> bool:
    return isinstance(value, dict) and all(type(one) is str for one in value.values())


JSON_VALUES: dict[str, Callable[[Any], bool]] = {
    "SELECT DISTINCT configuration FROM runs": _is_configuration,
    "SELECT DISTINCT protocol FROM runs": _is_protocol,
    "SELECT members FROM packs": _are_ids,
    "SELECT DISTINCT members FROM attempts": _are_ids,
    "SELECT DISTINCT versions FROM attempts": _are_versions,
    "SELECT value FROM meta WHERE key = 'gpu_share'": lambda value: isinstance(value, dict),
}
"""Query → the check of each value of its result, which is JSON."""


def _check_json(text: str, check: Callable[[Any], bool]) -> None:
    try:
        fine = check(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UserError):
        fine = False
    if not fine:
        raise DamageError(f"{shortened(text, 60)!r} is not a value that a ledger stores there")
