"""A checksum for every table of a ledger: every write updates it, and opening a ledger checks it.

The checksum of a table is the number of its rows, and the sum of the hashes of its rows modulo 2^64. A sum does not
depend on the order of the rows, so a write adds the hashes of its new rows and subtracts those of the rows that it
replaces. A changed, a missing and an additional row change it. It finds damage, not forgery: whoever can write the file
can also compute its checksums.

Temporary triggers of the writing connection count every changed row. They are not stored in the file.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

MODULUS = 1 << 64
NUMBERS = {int: "q", float: "d"}


class TableChecksum(NamedTuple):
    """The number of a table's rows, and the sum of their hashes modulo 2^64."""

    entries: int = 0
    digest: int = 0

    def plus(self, other: TableChecksum) -> TableChecksum:
        """Return the checksum of both together; a negative number of rows stands for removed rows."""
        return TableChecksum(self.entries + other.entries, (self.digest + other.digest) % MODULUS)


class LedgerConnection(sqlite3.Connection):
    """A connection with the changes of the current transaction, by table."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.changes: dict[str, TableChecksum] = {}

    def count(self, table: str, sign: int, *row: Any) -> None:
        """Count one added (``sign`` 1) or removed (-1) row."""
        self.changes[table] = self.changes.get(table, TableChecksum()).plus(TableChecksum(sign, sign * row_hash(row)))


def row_hash(row: Sequence[Any]) -> int:
    """Return a hash of 64 bits of a row's values and their types."""
    names, pack, numbers, texts = _layout(tuple(map(type, row)))
    content = [row[place].encode() if type(row[place]) is str else row[place] for place in texts]
    packed = pack(*[row[place] for place in numbers], *map(len, content))
    return int.from_bytes(hashlib.blake2b(b"".join((names, packed, *content)), digest_size=8).digest(), "little")


@cache
def _layout(types: tuple[type, ...]) -> tuple[bytes, Callable[..., bytes], list[int], list[int]]:
    """Return the names of the types, the packing of numbers and lengths of texts, and the places of both in a row."""
    numbers = [place for place, kind in enumerate(types) if kind in NUMBERS]
    texts = [place for place, kind in enumerate(types) if kind in (str, bytes)]
    packing = struct.Struct("<" + "".join(NUMBERS[types[place]] for place in numbers) + "q" * len(texts))
    return ",".join(kind.__name__ for kind in types).encode(), packing.pack, numbers, texts


def checksum(rows: Iterable[Sequence[Any]]) -> TableChecksum:
    """Return the checksum of a table with these rows."""
    entries, digest = 0, 0
    for row in rows:
        entries, digest = entries + 1, digest + row_hash(row)
    return TableChecksum(entries, digest % MODULUS)


def watch_changes(connection: LedgerConnection, tables: Mapping[str, Sequence[str]]) -> None:
    """Count every change of ``tables``, given with their columns, in ``connection.changes``."""
    connection.execute("PRAGMA recursive_triggers = ON")  # INSERT OR REPLACE fires the trigger of its deletion
    connection.create_function("count_change", -1, connection.count)
    for table, columns in tables.items():
        added, removed = (
            f"SELECT count_change('{table}', {sign}, {', '.join(f'{row}.{column}' for column in columns)});"
            for sign, row in ((1, "NEW"), (-1, "OLD"))
        )
        for event, body in (("INSERT", added), ("DELETE", removed), ("UPDATE", removed + added)):
            name = f"{table}_{event.lower()}"
            connection.execute(f"CREATE TEMP TRIGGER {name} AFTER {event} ON main.{table} BEGIN {body} END")


def stored_checksums(connection: sqlite3.Connection) -> dict[str, TableChecksum]:
    """Return the checksum of each table as stored in the ledger.

    Raises:
        ValueError: a stored checksum is not a number.
    """
    rows = connection.execute("SELECT table_name, entries, digest FROM checksums")
    return {table: TableChecksum(int(entries or 0), int(str(digest), 16)) for table, entries, digest in rows}


def store_checksums(connection: sqlite3.Connection, checksums: Mapping[str, TableChecksum]) -> None:
    """Write these checksums, and leave those of other tables."""
    connection.executemany(
        "INSERT OR REPLACE INTO checksums VALUES (?, ?, ?)",
        [(table, total.entries, f"{total.digest:016x}") for table, total in checksums.items()],
    )


def store_changes(connection: LedgerConnection) -> None:
    """Update the stored checksums by the changes of the current transaction."""
    changes, connection.changes = connection.changes, {}
    if changes:
        stored = stored_checksums(connection)
        store_checksums(
            connection, {table: stored.get(table, TableChecksum()).plus(change) for table, change in changes.items()}
        )
