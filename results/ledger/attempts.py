"""Writes attempts to the ledger, in the order in which they were made."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields, replace
from typing import Any

from results.ledger.schema import Attempt

LEAST_SECONDS = 0.001
"""Least time between the starts of two attempts at a run, as recorded."""

_COLUMNS = [*(field.name for field in fields(Attempt)), "pack_size"]
_INSERT = f"INSERT INTO attempts ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_LATEST = """
    SELECT MAX(a.started) FROM attempts a WHERE a.started >= ?
    AND EXISTS (SELECT 1 FROM json_each(a.members) m JOIN json_each(?) n ON n.value = m.value)
"""
"""Only of attempts that started at the same time or later are the members read. These are few: those that started
before its first report, and those of machines whose clock is ahead."""


def add_attempt(connection: sqlite3.Connection, attempt: Attempt) -> None:
    """Add an attempt that is new, with a later start than the earlier attempts at its runs have.

    The order of their starts is then that in which they were made, although clocks of machines differ.
    """
    if connection.execute("SELECT 1 FROM attempts WHERE attempt_id = ?", (attempt.attempt_id,)).fetchone():
        return
    (latest,) = connection.execute(_LATEST, (attempt.started, json.dumps(attempt.members))).fetchone()
    if latest is not None:
        attempt = replace(attempt, started=latest + LEAST_SECONDS)
    connection.execute(_INSERT, _values(attempt))


def _values(attempt: Attempt) -> list[Any]:
    as_json = {"members": json.dumps(attempt.members), "versions": json.dumps(dict(attempt.versions), sort_keys=True)}
    return [as_json.get(column, getattr(attempt, column)) for column in _COLUMNS]
