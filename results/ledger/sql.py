"""A user's SQL query on a ledger: read-only, with a limit for its time and its rows."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from results.ledger.ledger import QueryResult
from results.ledger.sqlite_file import open_for_reading
from search_spaces.errors import SpecError

ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
"""Actions of SQLite that only read."""
REFUSED_FUNCTIONS = ("load_extension", "fts3_tokenizer")
STEPS = 10_000
"""Instructions of SQLite between two looks at the clock."""


def read_query(
    path: Path, sql: str, *, most_rows: int, seconds: float, clock: Callable[[], float] = time.monotonic
) -> tuple[QueryResult, bool]:
    """Return the result of ``sql``, at most ``most_rows`` rows of it, and whether there are more.

    Raises:
        LedgerError: the ledger cannot be read.
        SpecError: the query writes, attaches another file, is no valid SQL, or takes longer than ``seconds``.
    """
    until = clock() + seconds
    with closing(open_for_reading(path)) as connection:
        connection.set_authorizer(_authorize)
        connection.set_progress_handler(lambda: clock() > until, STEPS)
        try:
            cursor = connection.execute(sql)
            found = cursor.fetchmany(most_rows + 1)
        except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError) as error:
            if isinstance(error, sqlite3.OperationalError) and "interrupted" in str(error):
                raise SpecError(
                    "query", f"takes longer than {seconds:g} s", "give --seconds, or a smaller query"
                ) from error
            if "not authorized" in str(error) or "prohibited" in str(error):
                raise SpecError("query", "only reading is allowed", "SELECT … FROM runs, epochs, attempts") from error
            raise SpecError("query", str(error), "SELECT … FROM run_statuses, epochs, attempts, packs") from error
        names = [column[0] for column in cursor.description or ()]
    return QueryResult(names, found[:most_rows]), len(found) > most_rows


def _authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    refused = action == sqlite3.SQLITE_FUNCTION and second in REFUSED_FUNCTIONS
    return sqlite3.SQLITE_OK if action in ALLOWED and not refused else sqlite3.SQLITE_DENY
