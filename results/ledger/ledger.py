"""The ledger: all runs, epochs and attempts of a sweep in one SQLite file.

With SQLite's write-ahead log any number of processes can read while one process writes. Every write is one transaction,
so a killed writer leaves complete reports only.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, Self

from results.ledger.attempts import add_attempt
from results.ledger.checksums import LedgerConnection
from results.ledger.schema import Attempt, EpochRow
from results.ledger.sqlite_file import open_for_reading, open_for_writing, transaction
from search_spaces.canonical import canonical_json
from search_spaces.run import TRAINING_VERSION, Run

__all__ = ["Attempt", "EpochRow", "Ledger", "QueryResult"]


class QueryResult(NamedTuple):
    """The result of a query: its column names and its rows."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


class Ledger:
    """The ledger of a sweep, with one writer and many readers.

    A run's status is computed, not stored: ``diverged`` if it diverged at or before its target epoch, ``done`` if the
    ledger has its target epoch, else the last reported state: ``pending``, ``running``, ``failed`` or ``interrupted``.
    """

    def __init__(self, path: Path, connection: LedgerConnection) -> None:
        """Use :meth:`create_or_open` or :meth:`open_read_only`; both check the file."""
        self.path = path
        self._connection = connection

    @classmethod
    def create_or_open(cls, path: Path) -> Self:
        """Open the ledger for writing; create it if it is missing, migrate an older schema.

        Raises:
            LedgerError: the file is not a ledger, has a newer schema, is damaged, or cannot be written.
        """
        return cls(path, open_for_writing(path))

    @classmethod
    def open_read_only(cls, path: Path) -> Self:
        """Open the ledger for reading, also during writes.

        Raises:
            LedgerError: the file is missing, not a ledger, has another schema, is damaged, or cannot be read.
        """
        return cls(path, open_for_reading(path))

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def plan(self, runs: Sequence[Run], epochs: int, *, data_name: str, synthetic: bool) -> None:
        """Set the planned runs to ``runs``, each up to ``epochs``; other runs stay in the ledger, not planned.

        New runs are pending, and also finished runs whose new target exceeds their recorded epochs.
        """
        with self._transaction() as connection:
            ordinals = dict(connection.execute("SELECT configuration_id, MIN(ordinal) FROM runs GROUP BY 1"))
            following = max(ordinals.values(), default=-1) + 1
            for configuration_id in dict.fromkeys(run.configuration.configuration_id for run in runs):
                if configuration_id not in ordinals:
                    ordinals[configuration_id] = following
                    following += 1
            connection.execute("UPDATE runs SET planned = 0")
            connection.executemany(
                """
                INSERT INTO runs (run_id, ordinal, configuration_id, configuration, seed, protocol, data_fingerprint,
                                  data_name, synthetic, training_version, target_epochs, planned)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
                ON CONFLICT (run_id) DO UPDATE SET
                    data_name = excluded.data_name, synthetic = excluded.synthetic,
                    target_epochs = excluded.target_epochs, planned = 1,
                    state = CASE (SELECT s.status FROM run_statuses s WHERE s.run_id = runs.run_id)
                            WHEN 'done' THEN 'pending' WHEN 'diverged' THEN 'pending' ELSE runs.state END
                """,
                (
                    (
                        run.run_id,
                        ordinals[run.configuration.configuration_id],
                        run.configuration.configuration_id,
                        run.configuration.key,
                        run.seed,
                        canonical_json(run.protocol.to_dict()),
                        run.data_fingerprint,
                        data_name,
                        int(synthetic),
                        TRAINING_VERSION,
                        epochs,
                    )
                    for run in runs
                ),
            )

    def record(self, attempts: Sequence[Attempt], rows: Iterable[EpochRow], diverged: Mapping[str, int]) -> None:
        """Write one report in one transaction; writing the same report again changes nothing.

        The members of the last attempt become running, and their errors are cleared; :meth:`fail` records a failure.

        Args:
            attempts: the attempts that trained the rows, the reporting one last. The others have ended: one without
                an outcome, which ended before its first report, was interrupted.
            rows: measurements, one row per run and epoch. Numbers that are not finite become NULL.
            diverged: run id → the epoch (from 1) with a loss that is not finite.
        """
        with self._transaction() as connection:
            measured = list(rows)
            for attempt in attempts:
                add_attempt(connection, attempt)
            connection.executemany(
                "UPDATE attempts SET outcome = 'interrupted' WHERE outcome IS NULL AND attempt_id = ?",
                ((attempt.attempt_id,) for attempt in attempts[:-1]),
            )
            connection.executemany(
                "UPDATE runs SET state = 'running', error = NULL, pack_id = ? WHERE run_id = ?",
                ((attempts[-1].pack_id, run_id) for run_id in attempts[-1].members),
            )
            for row in measured:
                if row.epoch == 1:
                    _delete_rows_of_other_packs(connection, row.run_id, attempts[-1].pack_id)
            connection.executemany(
                _upsert("epochs", _EPOCH_COLUMNS, key="run_id, epoch"),
                (_epoch_values(row) for row in measured),
            )
            connection.executemany(
                "UPDATE runs SET diverged_epoch = ? WHERE run_id = ?",
                ((epoch, run_id) for run_id, epoch in diverged.items()),
            )

    def plan_packs(self, packs: Iterable[tuple[str, Sequence[str]]], size: str) -> None:
        """Store the packs, as pack id and run ids in the order of the stack, so that a resume uses the same packs.

        ``size`` is the maximum pack size that they were planned with.
        """
        with self._transaction() as connection:
            connection.executemany(
                """
                INSERT INTO packs (pack_id, members, size, planned)
                VALUES (?, ?, ?, (SELECT COALESCE(MAX(planned), 0) + 1 FROM packs))
                ON CONFLICT (pack_id) DO UPDATE SET size = excluded.size
                """,
                ((pack_id, json.dumps(run_ids), size) for pack_id, run_ids in packs),
            )

    def split_pack(self, pack_id: str, singles: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Replace a failed pack by packs of one run each, given as pack ids and run ids; a resume uses them."""
        with self._transaction() as connection:
            connection.executemany(
                """
                INSERT INTO packs (pack_id, members, size, planned, begun)
                SELECT ?, ?, size, planned, 2 FROM packs WHERE pack_id = ?
                ON CONFLICT (pack_id) DO UPDATE SET begun = 2
                """,
                [(single_id, json.dumps(run_ids), pack_id) for single_id, run_ids in singles],
            )
            connection.execute("DELETE FROM packs WHERE pack_id = ?", (pack_id,))

    def start(self, pack_id: str, run_ids: Sequence[str]) -> None:
        """Record that a pack starts to train these runs, which is one more attempt for each of them."""
        with self._transaction() as connection:
            connection.execute("UPDATE packs SET begun = MAX(begun, 1) WHERE pack_id = ?", (pack_id,))
            connection.executemany(
                """
                UPDATE runs SET state = 'running', error = NULL, pack_id = ?, attempts = attempts + 1 WHERE run_id = ?
                """,
                ((pack_id, run_id) for run_id in run_ids),
            )

    def complete(self, pack_id: str) -> None:
        """Record that a pack's trial ended without an error."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE attempts SET outcome = 'done', ended = ? WHERE outcome IS NULL AND pack_id = ?",
                (time.time(), pack_id),
            )

    def attempt_failed(self, pack_id: str, error: str) -> None:
        """Record that an attempt at a pack failed and will be repeated."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE attempts SET outcome = 'failed', ended = ?, error = ? WHERE outcome IS NULL AND pack_id = ?",
                (time.time(), error, pack_id),
            )

    def fail(self, run_ids: Iterable[str], error: str) -> None:
        """Record that these runs failed, except done or diverged ones, and close the attempts of their packs.

        The runs store the last line of ``error``, the attempts store all of it.
        """
        failed = [(run_id,) for run_id in run_ids]
        last_line = next(reversed(error.strip().splitlines()), "failed without an error message")
        with self._transaction() as connection:
            connection.executemany(
                """
                UPDATE attempts SET outcome = 'failed', ended = ?, error = ? WHERE outcome IS NULL
                AND pack_id = (SELECT pack_id FROM runs WHERE run_id = ?)
                """,
                ((time.time(), error, *run_id) for run_id in failed),
            )
            connection.executemany(
                """
                UPDATE runs SET state = 'failed', error = ? WHERE run_id = ?
                AND (SELECT s.status FROM run_statuses s WHERE s.run_id = runs.run_id) NOT IN ('done', 'diverged')
                """,
                ((last_line, *run_id) for run_id in failed),
            )

    def interrupt(self) -> list[str]:
        """Record that no run is running; return the ids of the runs that were interrupted.

        Their attempts end as interrupted, without an end time, which is unknown.
        """
        with self._transaction() as connection:
            interrupted = connection.execute(
                "SELECT run_id FROM run_statuses WHERE status = 'running' ORDER BY ordinal, seed, run_id"
            ).fetchall()
            connection.executemany("UPDATE runs SET state = 'interrupted' WHERE run_id = ?", interrupted)
            connection.execute("UPDATE attempts SET outcome = 'interrupted' WHERE outcome IS NULL")
        return [run_id for (run_id,) in interrupted]

    def statuses(self) -> dict[str, str]:
        """Return the status of every planned run, in the order of planning."""
        (result,) = self.read("SELECT run_id, status FROM run_statuses WHERE planned ORDER BY ordinal, seed, run_id")
        return dict(result.rows)

    def finished(self, run_ids: Iterable[str], epochs: int) -> set[str]:
        """Return those of ``run_ids`` that are finished for ``epochs``: done, or diverged before."""
        with self._transaction("BEGIN") as connection:
            found = connection.execute(
                """
                SELECT run_id FROM runs WHERE diverged_epoch <= :epochs
                OR EXISTS (SELECT 1 FROM epochs e WHERE e.run_id = runs.run_id AND e.epoch = :epochs)
                """,
                {"epochs": epochs},
            ).fetchall()
        return {run_id for (run_id,) in found}.intersection(run_ids)

    def failed(self, run_ids: Iterable[str], epochs: int) -> set[str]:
        """Return those of ``run_ids`` that failed and are not finished for ``epochs``."""
        wanted = set(run_ids)
        (result,) = self.read("SELECT run_id FROM runs WHERE state = 'failed'")
        return {run_id for (run_id,) in result.rows if run_id in wanted} - self.finished(wanted, epochs)

    def retry(self, run_ids: Iterable[str]) -> None:
        """Set these failed runs to pending, and clear their errors."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE runs SET state = 'pending', error = NULL WHERE run_id = ? AND state = 'failed'",
                ((run_id,) for run_id in run_ids),
            )

    def targets(self) -> dict[str, tuple[int, bool]]:
        """Return for every run in the ledger its target epochs, and whether it is planned."""
        (result,) = self.read("SELECT run_id, target_epochs, planned FROM runs ORDER BY ordinal, seed, run_id")
        return {run_id: (epochs, bool(planned)) for run_id, epochs, planned in result.rows}

    def keep_spec(self, text: str) -> None:
        """Store the spec as written to the sweep's folder, so that an edit of this file is detected."""
        self.keep("spec", text)

    def kept_spec(self) -> str | None:
        """Return the stored spec; None if there is none, as in a ledger of an earlier version."""
        return self.kept("spec")

    def keep_packing(self, device: str, text: str) -> None:
        """Store the packing for this kind of device, as JSON, so that a resume uses the same."""
        self.keep(f"packing on {device}", text)

    def kept_packing(self, device: str) -> str | None:
        """Return the stored packing for this kind of device, or None."""
        return self.kept(f"packing on {device}")

    def keep_gpu_share(self, found: Mapping[str, float]) -> None:
        """Store the measured GPU share of a pack, so that a resume uses the same."""
        self.keep("gpu_share", json.dumps(dict(found)))

    def gpu_share(self) -> dict[str, float] | None:
        """Return the stored GPU share, or None."""
        text = self.kept("gpu_share")
        return None if text is None else dict(json.loads(text))

    def keep(self, key: str, text: str) -> None:
        """Store ``text`` under a key of ``meta``."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, text))

    def kept(self, key: str) -> str | None:
        """Return the text under a key of ``meta``; None if there is none, as in a ledger of an earlier version."""
        found = self.rows("SELECT value FROM meta WHERE key = :key", {"key": key})
        return str(found[0][0]) if found else None

    def write(self, *statements: tuple[str, Iterable[Sequence[Any]]]) -> None:
        """Execute statements, each with its rows of parameters, in one transaction."""
        with self._transaction() as connection:
            for statement, rows in statements:
                connection.executemany(statement, rows)

    def packs(self, size: str) -> dict[str, list[str]]:
        """Return the members, in their order, of every pack that was started, or planned with this ``size``.

        Started packs come first; within each kind, the latest comes first.
        """
        (result,) = self.read("SELECT pack_id, members, size, begun FROM packs ORDER BY begun DESC, planned DESC")
        return {
            pack_id: json.loads(members)
            for pack_id, members, planned_size, begun in result.rows
            if begun or planned_size == size
        }

    def best_val_acc(self) -> tuple[float, str] | None:
        """Return the highest validation accuracy of the planned runs, in percent, and its run; None without any."""
        (result,) = self.read(
            """
            SELECT val_acc, run_id FROM epochs WHERE val_acc IS NOT NULL
            AND run_id IN (SELECT run_id FROM runs WHERE planned) ORDER BY val_acc DESC, run_id LIMIT 1
            """
        )
        return (result.rows[0][0], result.rows[0][1]) if result.rows else None

    def protocol(self) -> dict[str, Any] | None:
        """Return the protocol of the planned runs, the data's fingerprint as ``data``; None without planned runs."""
        (result,) = self.read("SELECT protocol, data_fingerprint FROM runs WHERE planned LIMIT 1")
        for protocol, fingerprint in result.rows:
            return {**json.loads(protocol), "data": fingerprint}
        return None

    def epochs_recorded(self) -> dict[str, int]:
        """Return the last recorded epoch of every run that has one."""
        (result,) = self.read("SELECT run_id, MAX(epoch) FROM epochs GROUP BY run_id")
        return dict(result.rows)

    def read(self, *queries: str) -> list[QueryResult]:
        """Execute several queries on one snapshot, independent of concurrent writes."""
        results = []
        with self._transaction("BEGIN") as connection:
            for query in queries:
                cursor = connection.execute(query)
                results.append(QueryResult([column[0] for column in cursor.description], cursor.fetchall()))
        return results

    def rows(self, query: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Execute one query with named parameters (``:run``)."""
        with self._transaction("BEGIN") as connection:
            return connection.execute(query, parameters).fetchall()

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        with transaction(self._connection, self.path, begin):
            yield self._connection


_EPOCH_COLUMNS = [field.name for field in fields(EpochRow)]
_values_of = attrgetter(*_EPOCH_COLUMNS)  # faster than dataclasses.astuple, which copies every value


def _epoch_values(row: EpochRow) -> tuple[Any, ...]:
    run_id, epoch, *numbers, pack_size, attempt_id = _values_of(row)
    finite = (None if x is None or not math.isfinite(x) else float(x) for x in numbers)
    return run_id, int(epoch), *finite, pack_size, attempt_id


def _delete_rows_of_other_packs(connection: sqlite3.Connection, run_id: str, pack_id: str) -> None:
    """Delete the rows of a run that restarts in another pack: its rounding differs, so the rows must not be mixed."""
    other = "SELECT 1 FROM epochs e JOIN attempts a USING (attempt_id) WHERE e.run_id = ? AND a.pack_id <> ?"
    if connection.execute(f"{other} LIMIT 1", (run_id, pack_id)).fetchone():
        connection.execute("DELETE FROM epochs WHERE run_id = ?", (run_id,))
        connection.execute("UPDATE runs SET diverged_epoch = NULL WHERE run_id = ?", (run_id,))


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def _upsert(table: str, columns: Sequence[str], key: str) -> str:
    updates = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in key.split(", "))
    return f"{_insert(table, columns)} ON CONFLICT ({key}) DO UPDATE SET {updates}"
