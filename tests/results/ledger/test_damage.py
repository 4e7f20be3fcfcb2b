"""A damaged or foreign ledger gives its correct rows or one clear error, and never other rows."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from results.ledger.arrays import load_sweep
from results.ledger.checksums import row_hash
from results.ledger.frames import epochs_frame, runs_frame
from results.ledger.ledger import Ledger
from results.ledger.phases import PhaseRow, write_phases
from results.ledger.schema import SCHEMA_VERSION
from results.ledger.verification import TABLES
from results.reports.summary import answer
from search_spaces.errors import LedgerError
from search_spaces.run import Run
from tests.builders import forge_checksums
from tests.results.ledger_sweeps import ADAM, MOMENTUM, climb, write_ledger

OLDER = Path(__file__).parents[2] / "sweep" / "older" / "before" / "ledger.sqlite"
COPIES = 500
Rows = dict[str, list[tuple]]


def content(path: Path) -> Rows:
    """Return all rows of a ledger, by table."""
    with Ledger.open_read_only(path) as ledger:
        tables = TABLES if ledger.rows("PRAGMA table_info(phases)", {}) else TABLES[:-1]
        found = ledger.read(*(f"SELECT * FROM {table} ORDER BY 1, 2" for table in tables))
        ledger.statuses()
    return dict(zip(tables, (result.rows for result in found), strict=True))


@pytest.fixture
def small(path: Path) -> Path:
    write_ledger(path, {MOMENTUM: [climb(30), climb(33)], ADAM: [climb(20)[:4]]}, failed=[(ADAM, 0)])
    return path


def flipped_copies(original: Path, folder: Path, copies: int) -> Iterator[Path]:
    """Yield copies of a ledger with one to four flipped bits in its used bytes."""
    content, random_numbers = original.read_bytes(), random.Random(0)
    used = [place for place, byte in enumerate(content) if byte or place % 4096 < 100]
    for number in range(copies):
        changed = bytearray(content)
        for place in random_numbers.sample(used, random_numbers.choice((1, 1, 2, 4))):
            changed[place] ^= 1 << random_numbers.randrange(8)
        copy = folder / f"copy-{number}.sqlite"
        copy.write_bytes(changed)
        yield copy
        copy.unlink()


def is_one_line(error: LedgerError, path: Path) -> bool:
    line = str(error)
    return line.startswith(f"{path}: ") and "\n" not in line and len(line.replace(str(path.parent), "")) < 400


def test_a_copy_with_flipped_bits_has_the_right_rows_or_is_refused(small: Path, tmp_path: Path) -> None:
    right, refused = content(small), 0
    for copy in flipped_copies(small, tmp_path, COPIES):
        try:
            assert content(copy) == right
        except LedgerError as error:
            assert is_one_line(error, copy)
            refused += 1
    assert refused > COPIES / 2


def test_flipped_bits_in_the_write_ahead_log_lose_later_rows_or_are_refused(path: Path, tmp_path: Path) -> None:
    """The log has checksums of SQLite: rows after a damaged frame are missing, and no row is another one."""
    curves = {MOMENTUM: [climb(30), climb(33)], ADAM: [climb(20)]}
    write_ledger(path, curves)
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT count(*) FROM epochs").fetchall()  # keeps the log
        write_ledger(path, curves)
        log = path.with_name(f"{path.name}-wal").read_bytes()
        before, right = path.read_bytes(), content(path)
    random_numbers, refused = random.Random(0), 0
    for number in range(60):
        copy = tmp_path / f"copy-{number}" / path.name
        copy.parent.mkdir()
        changed = bytearray(log)
        changed[random_numbers.randrange(len(log))] ^= 1 << random_numbers.randrange(8)
        copy.write_bytes(before)
        copy.with_name(f"{path.name}-wal").write_bytes(changed)
        try:
            found = content(copy)
            assert set(found["epochs"]) <= set(right["epochs"])
        except LedgerError as error:
            assert is_one_line(error, copy)
            refused += 1
    assert refused < 60


def test_an_older_ledger_with_flipped_bits_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    """It has no checksums: changed numbers are not found, but nothing ends in another error."""
    for copy in flipped_copies(OLDER, tmp_path, 60):
        try:
            content(copy)
            with Ledger.open_read_only(copy) as ledger:
                runs_frame(ledger)
                epochs_frame(ledger)
            load_sweep(copy)
        except LedgerError as error:
            assert is_one_line(error, copy)


def test_an_older_ledger_is_read_as_it_is_and_gets_checksums_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    shutil.copy(OLDER, path)
    before = content(path)
    assert len(before["epochs"]) == 4
    Ledger.create_or_open(path).close()
    after = content(path)
    meta = dict(after.pop("meta"))
    assert (meta.pop("schema_version"), dict(before.pop("meta")).keys() - meta.keys()) == ("3", {"schema_version"})
    assert after.pop("phases") == []
    assert after == before
    change(path, "UPDATE epochs SET val_acc = val_acc + 1e-9 WHERE epoch = 1")
    assert "checksum" in refusal(path)


def change(path: Path, *statements: str) -> None:
    """Change a file as another program would."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def refusal(path: Path) -> str:
    """Return the line that refuses a ledger for a reader, and for a writer, which changes nothing."""
    before = path.read_bytes()
    lines = []
    for opening in (Ledger.open_read_only, Ledger.create_or_open):
        with pytest.raises(LedgerError) as refused:
            opening(path)
        assert is_one_line(refused.value, path)
        lines.append(str(refused.value))
    assert lines[0] == lines[1]
    assert path.read_bytes() == before
    return lines[0]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE epochs SET val_acc = val_acc + 1 WHERE epoch = 3",
        "UPDATE epochs SET train_loss = NULL WHERE epoch = 3",
        "DELETE FROM epochs WHERE epoch = 10",
        "UPDATE runs SET seed = seed + 1",
        "UPDATE runs SET state = 'pending' WHERE state = 'failed'",
        "UPDATE attempts SET device = 'cuda'",
        "UPDATE meta SET value = 'x' WHERE key = 'created'",
        "DELETE FROM checksums",
        "DELETE FROM checksums WHERE table_name = 'epochs'",
        "UPDATE checksums SET digest = 'zz'",
    ],
)
def test_a_row_that_the_ledger_did_not_write_is_refused(small: Path, statement: str) -> None:
    change(small, statement)
    assert "is damaged" in refusal(small)


@pytest.mark.parametrize("version", [1, SCHEMA_VERSION])
@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE epochs",
        "DROP TABLE packs",
        "DROP VIEW run_statuses",
        "CREATE TRIGGER t AFTER UPDATE ON runs BEGIN DELETE FROM epochs; END",
        "CREATE VIEW more AS SELECT 1",
        "CREATE TABLE more (x)",
        "CREATE INDEX more ON runs (seed)",
    ],
)
def test_a_schema_that_is_not_a_ledgers_is_refused(small: Path, statement: str, version: int) -> None:
    path = small if version == SCHEMA_VERSION else shutil.copy(OLDER, small.with_name("older.sqlite"))
    change(path, statement)
    assert "is damaged" in refusal(path)


ENDLESS = """
CREATE VIEW run_statuses AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
SELECT runs.*, (SELECT MAX(i) FROM n) AS status FROM runs
"""


def test_an_endless_view_is_not_executed(small: Path) -> None:
    change(small, "DROP VIEW run_statuses", ENDLESS)
    assert "'run_statuses' is changed" in refusal(small)


def test_removed_checksums_of_a_new_ledger_are_found(small: Path) -> None:
    """Its version requires them; an older version with the table is refused as well."""
    other = shutil.copy(small, small.with_name("other.sqlite"))
    change(small, "DROP TABLE checksums")
    assert "'checksums' is missing" in refusal(small)
    change(other, "PRAGMA user_version = 1")
    assert "'checksums' is not a part of a ledger" in refusal(other)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET target_epochs = 1000000000",
        "UPDATE runs SET target_epochs = 0",
        "UPDATE runs SET seed = 'x'",
        "UPDATE runs SET seed = -1",
        "UPDATE runs SET configuration = '{'",
        "UPDATE runs SET configuration = '[1]'",
        'UPDATE runs SET configuration = \'{"optimizer": {"lr": 1}}\'',
        'UPDATE runs SET configuration = \'{"optimizer": {"name": 3}}\'',
        "UPDATE runs SET configuration = printf('%.*c', 100000, '[')",
        "UPDATE runs SET protocol = '[]'",
        "UPDATE packs SET members = '{}'",
        "UPDATE attempts SET members = '[1]'",
        "UPDATE attempts SET versions = 'null'",
        "UPDATE epochs SET epoch = epoch + 1000000000",
        "UPDATE epochs SET epoch = -epoch",
        "UPDATE epochs SET val_acc = 9e999",
        "UPDATE epochs SET val_acc = 'high'",
        "UPDATE epochs SET attempt_id = 'x'",
        "UPDATE epochs SET run_id = 'x' || run_id",
        "INSERT INTO meta VALUES ('gpu_share', '{')",
    ],
)
@pytest.mark.parametrize("forged", [False, True])
def test_a_value_that_no_ledger_has_is_one_line(tmp_path: Path, statement: str, forged: bool) -> None:
    """Also if the checksums fit the changed rows."""
    path = tmp_path / "ledger.sqlite"
    shutil.copy(OLDER, path)
    if forged:
        Ledger.create_or_open(path).close()
    change(path, statement)
    if forged:
        forge_checksums(path)
    assert "is damaged" in refusal(path)


def test_every_kind_of_write_keeps_the_checksums(
    path: Path, runs: list[Run], attempt_of: Callable, row_of: Callable
) -> None:
    """The ledger is opened and checked again after each of them; a number that is not a float is stored as one."""
    ids = [run.run_id for run in runs]
    rows = [row_of(run, epoch, val_acc=20) for run in runs for epoch in (1, 2)]
    writes: list[Callable[[Ledger], object]] = [
        lambda ledger: ledger.plan(runs, 3, data_name="cifar100", synthetic=False),
        lambda ledger: ledger.plan_packs([("pack-1", ids[:2]), ("pack-2", ids[2:])], "2"),
        lambda ledger: ledger.start("pack-1", ids[:2]),
        lambda ledger: ledger.record([attempt_of(runs, started=5)], rows, {}),
        lambda ledger: ledger.record([attempt_of(runs, started=5)], rows, {ids[0]: 2}),
        lambda ledger: ledger.attempt_failed("pack-1", "error"),
        lambda ledger: ledger.record([attempt_of(runs, "attempt-2", pack_id="pack-3")], rows[:1], {}),
        lambda ledger: ledger.split_pack("pack-2", [("pack-4", ids[2:3]), ("pack-5", ids[3:])]),
        lambda ledger: ledger.fail(ids, "error"),
        lambda ledger: ledger.retry(ids),
        lambda ledger: ledger.interrupt(),
        lambda ledger: ledger.complete("pack-3"),
        lambda ledger: ledger.keep_spec("a"),
        lambda ledger: ledger.keep_spec("b"),
        lambda ledger: ledger.keep_packing("cpu", "{}"),
        lambda ledger: ledger.keep_gpu_share({"share": 1, "runs": 2}),
        lambda ledger: write_phases(ledger, ["tuning"], [PhaseRow(ids[0], "tuning", 1, "Adam", 0, 3)]),
    ]
    for write in writes:
        with Ledger.create_or_open(path) as ledger:
            write(ledger)
        content(path)
    with Ledger.create_or_open(path) as ledger:
        for write in writes:
            write(ledger)
            content(path)


def test_a_report_that_fails_leaves_the_checksums(path: Path, runs: list[Run], attempt_of: Callable) -> None:
    with Ledger.create_or_open(path) as ledger:
        ledger.plan(runs, 3, data_name="cifar100", synthetic=False)
        with pytest.raises(ZeroDivisionError):
            ledger.record([attempt_of(runs)], (1 / 0 for _ in range(1)), {})  # type: ignore[misc]
        ledger.keep_spec("a")
    content(path)


@pytest.mark.parametrize(
    ("one", "other"),
    [(("ab", "c"), ("a", "bc")), ((1, None), (None, 1)), ((1,), (1.0,)), (("1",), (1,)), ((b"a",), ("a",))],
)
def test_rows_that_differ_have_other_hashes(one: tuple, other: tuple) -> None:
    assert row_hash(one) != row_hash(other)


def planned(path: Path, run: Run, seeds: int, epochs: int) -> None:
    members = [Run(run.configuration, seed, run.protocol, "d" * 16) for seed in range(seeds)]
    with Ledger.create_or_open(path) as ledger:
        ledger.plan(members, epochs, data_name="cifar100", synthetic=False)


def test_results_that_are_too_large_for_arrays_are_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ledger(path, {MOMENTUM: [climb(30), climb(33)], ADAM: [[]]})
    monkeypatch.setattr("results.ledger.arrays.MAX_CELLS", 20)
    assert len(load_sweep(path).configurations) == 2
    monkeypatch.setattr("results.ledger.arrays.MAX_CELLS", 19)
    with pytest.raises(LedgerError) as refused:
        load_sweep(path)
    assert is_one_line(refused.value, path)
    assert "2 runs of 10 epochs" in str(refused.value)


def test_runs_that_have_not_begun_take_no_memory(path: Path, runs: list[Run]) -> None:
    """As many epochs as a terabyte of arrays has."""
    planned(path, runs[0], 20_000, 10**6)
    sweep = load_sweep(path)
    assert sweep.configurations[0].curves["val_acc"].shape == (20_000, 10**6)
    assert sweep.best is None
    assert answer(sweep) == ["No answer: no run has a result yet."]
