"""Schema of the ledger: its tables, and the records that are stored in them.

History of ``SCHEMA_VERSION`` (SQLite's ``user_version``, also in ``meta``):

1   ``meta``, ``runs``, ``packs``, ``epochs``, ``attempts``, and the view ``run_statuses``.
2   ``checksums``: a checksum for each table, which covers the rows that an older ledger had at its migration.
3   ``phases``: the runs of a benchmark by phase, study, method and point.

To change the schema: increase ``SCHEMA_VERSION``, describe the version here, change ``CREATE`` for new ledgers, and add
to ``MIGRATIONS``, under the previous version, the statements that migrate an old ledger. A ledger is refused if its
schema is not the one of its version (``results.ledger.verification.schema_of``), so ``schema_of`` has to return both
the schema of a new and that of a migrated ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SCHEMA_VERSION = 3

CHECKSUMS_SINCE = 2
"""The first version with checksums. A ledger of this version without them is damaged."""

PHASES_SINCE = 3
"""The first version with the phases of a benchmark."""

READABLE = (1, 2, 3)
"""The versions that can be read without a migration."""

MAX_EPOCHS = 1_000_000
"""Maximum number of epochs of a run, as in a spec."""

KERNELS = "kernels"
"""The key among an attempt's ``versions`` with the kernels of the convolutions. It is missing where they are PyTorch's
on a CPU, and in attempts on a GPU of earlier versions."""

APPLICATION_ID = 0x4C4E5357
"""``LNSW``, in the header of every ledger: identifies it among SQLite files."""

CREATE_CHECKSUMS = """
    CREATE TABLE checksums (
        table_name TEXT PRIMARY KEY,
        entries    INTEGER NOT NULL,  -- number of rows
        digest     TEXT NOT NULL      -- sum of the hashes of the rows, 16 hex digits
    ) WITHOUT ROWID
    """

CREATE_PHASES = """
    CREATE TABLE phases (
        run_id  TEXT NOT NULL REFERENCES runs,
        phase   TEXT NOT NULL CHECK (phase IN ('tuning', 'evaluation', 'untuned')),
        study   INTEGER NOT NULL,  -- from 1
        method  TEXT NOT NULL,     -- its name in the spec
        point   INTEGER NOT NULL,  -- from 0, in the order of drawing; -1 for the untuned point
        epochs  INTEGER NOT NULL,  -- that the run trains in this phase; those of its last rung if it is stopped
        rung    INTEGER NOT NULL,  -- the last rung that the run trains to, from 0; 0 without halving
        stopped INTEGER NOT NULL,  -- 1 if the run is stopped after this rung
        PRIMARY KEY (phase, study, method, point, run_id)
    ) WITHOUT ROWID
    """

CREATE: tuple[str, ...] = (
    CREATE_CHECKSUMS,
    CREATE_PHASES,
    """
    CREATE TABLE meta (
        key   TEXT PRIMARY KEY,  -- created, schema_version, spec (the last written sweep.toml), gpu_share,
                                 -- data (title, classes and sizes, JSON),
                                 -- packing on cpu, packing on gpu (chosen sizes and threads, JSON)
        value TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE runs (
        run_id           TEXT PRIMARY KEY,
        ordinal          INTEGER NOT NULL,  -- of the configuration, in the order of planning
        configuration_id TEXT NOT NULL,
        configuration    TEXT NOT NULL,     -- canonical JSON
        seed             INTEGER NOT NULL,
        protocol         TEXT NOT NULL,     -- canonical JSON
        data_fingerprint TEXT NOT NULL,
        data_name        TEXT NOT NULL,
        synthetic        INTEGER NOT NULL,  -- 0 or 1
        training_version INTEGER NOT NULL,
        target_epochs    INTEGER NOT NULL,  -- of the last plan
        planned          INTEGER NOT NULL,  -- 1 if the current spec contains this run
        state            TEXT NOT NULL DEFAULT 'pending'
                         CHECK (state IN ('pending', 'running', 'failed', 'interrupted')),  -- last reported
        diverged_epoch   INTEGER,           -- the epoch with a loss that is not finite
        error            TEXT,              -- the last line of the last failure
        pack_id          TEXT,
        attempts         INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE packs (
        pack_id TEXT PRIMARY KEY,
        members TEXT NOT NULL,              -- run ids, a JSON list in the order of the stack
        planned INTEGER NOT NULL,           -- order of planning, from 1
        size    TEXT NOT NULL,              -- maximum pack size that it was planned with
        begun   INTEGER NOT NULL DEFAULT 0  -- 1 after its trial started, 2 for a part of a failed pack
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE attempts (
        attempt_id TEXT PRIMARY KEY,
        pack_id    TEXT NOT NULL,
        host       TEXT NOT NULL,
        pid        INTEGER NOT NULL,
        device     TEXT NOT NULL,
        gpus       TEXT NOT NULL,  -- ids assigned by Ray, separated by commas; empty for none
        threads    INTEGER NOT NULL,
        pack_size  INTEGER NOT NULL,
        members    TEXT NOT NULL,  -- run ids, a JSON list in the order of the pack
        versions   TEXT NOT NULL,  -- library to version, and the kernels, a JSON object
        started    REAL NOT NULL,  -- Unix time
        ended      REAL,           -- Unix time; NULL if unknown
        outcome    TEXT,           -- NULL during the attempt
        error      TEXT
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE epochs (
        run_id        TEXT NOT NULL REFERENCES runs,
        epoch         INTEGER NOT NULL,  -- from 1
        train_loss    REAL,              -- NULL if not finite or not measured
        train_acc     REAL,              -- percent, as all accuracies
        val_loss      REAL,
        val_acc       REAL,
        test_loss     REAL,
        test_acc      REAL,
        lr            REAL,              -- mean over the epoch's steps
        lr_first      REAL,
        lr_last       REAL,
        epoch_seconds REAL,              -- the pack's training, without evaluation
        eval_seconds  REAL,
        pack_size     INTEGER NOT NULL,
        attempt_id    TEXT NOT NULL REFERENCES attempts,
        PRIMARY KEY (run_id, epoch)
    ) WITHOUT ROWID
    """,
    # A run's status. A diverged run can have rows after its divergence, so divergence is checked first.
    """
    CREATE VIEW run_statuses AS
    SELECT runs.*, CASE
        WHEN diverged_epoch <= target_epochs THEN 'diverged'
        WHEN EXISTS (SELECT 1 FROM epochs e WHERE e.run_id = runs.run_id AND e.epoch = runs.target_epochs) THEN 'done'
        ELSE state END AS status
    FROM runs
    """,
)

MIGRATIONS: dict[int, tuple[str, ...]] = {1: (CREATE_CHECKSUMS,), 2: (CREATE_PHASES,)}
"""Version → the statements that migrate a ledger of this version to the next one."""


@dataclass(frozen=True)
class EpochRow:
    """Measurements of one epoch of one run; ``None`` if not measured.

    Losses are means per image, accuracies are in percent. ``lr`` is the mean over the epoch's steps, ``lr_first`` and
    ``lr_last`` are those of its first and last step. ``epoch_seconds`` is the wall time of the pack's training
    epoch, ``eval_seconds`` that of its evaluation. ``attempt_id`` is the attempt that trained the epoch; a later
    attempt may report it from a checkpoint.
    """

    run_id: str
    epoch: int
    train_loss: float | None
    train_acc: float | None
    val_loss: float | None
    val_acc: float | None
    test_loss: float | None
    test_acc: float | None
    lr: float | None
    lr_first: float | None
    lr_last: float | None
    epoch_seconds: float
    eval_seconds: float
    pack_size: int
    attempt_id: str


@dataclass(frozen=True)
class Attempt:
    """One process that trains or trained a pack: host, device, versions and outcome.

    ``members`` are the run ids in the order of the pack; ``started`` and ``ended`` are Unix times in seconds;
    ``gpus`` are the ids of the GPUs that Ray assigned, separated by commas;
    ``outcome`` is ``None`` during the attempt, then ``done``, ``failed`` or ``interrupted``.
    """

    attempt_id: str
    pack_id: str
    host: str
    pid: int
    device: str
    threads: int
    members: tuple[str, ...]
    versions: Mapping[str, str]
    started: float
    gpus: str = ""
    ended: float | None = None
    outcome: str | None = None
    error: str | None = None

    @property
    def pack_size(self) -> int:
        """Number of runs that the process trains together."""
        return len(self.members)
