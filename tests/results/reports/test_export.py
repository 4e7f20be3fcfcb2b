from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.ledger.arrays import load_sweep
from results.ledger.frames import epochs_frame, runs_frame
from results.ledger.ledger import Ledger
from results.reports import export as exporting
from results.reports.export import FRAME_WRITERS, export, write_csv, write_json
from results.reports.registry import report_tables
from results.tables.formats import ID_PREFIXES, TABLE_WRITERS
from search_spaces.errors import LedgerError, SweepFolderError, UnknownNameError
from tests.results.ledger_sweeps import TunedMethod, write_benchmark

READERS = {
    "csv": lambda path: pd.read_csv(path, dtype="str"),  # as spelled: not all pandas read floats exactly
    "parquet": pd.read_parquet,
    "json": lambda path: pd.DataFrame(json.loads(path.read_text())),
}
any_floats = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1)


@pytest.fixture
def ledger_path(tmp_path, runs, attempt_of, row_of) -> Path:
    path = tmp_path / "ledger.sqlite"
    rows = [row_of(run, epoch, val_acc=math.pi * epoch, lr=0.1 / 3) for run in runs[:3] for epoch in (1, 2, 3)]
    with Ledger.create_or_open(path) as ledger:
        ledger.plan(runs, 3, data_name="cifar100", synthetic=False)
        ledger.record([attempt_of(runs[:3])], rows, {})
    return path


def test_every_writer_has_a_reader_here():
    """A format that is added is tested."""
    assert READERS.keys() == FRAME_WRITERS.keys()


@pytest.mark.parametrize("name", FRAME_WRITERS)
def test_an_exported_frame_holds_what_the_frame_holds(ledger_path, tmp_path, name):
    """Floats to the last bit, the missing as missing, in the same order."""
    files = export(ledger_path, tmp_path / "tables", [name])[:2]
    assert files == [tmp_path / "tables" / f"runs.{name}", tmp_path / "tables" / f"epochs.{name}"]
    with Ledger.open_read_only(ledger_path) as ledger:
        frames = [runs_frame(ledger), epochs_frame(ledger)]
    for path, frame in zip(files, frames, strict=True):
        again = READERS[name](path)
        assert list(again.columns) == list(frame.columns)
        for column in frame:
            assert list(again[column].isna()) == list(frame[column].isna())
            values = frame[column].dropna().tolist()
            letter = ID_PREFIXES.get(column, "")
            expected = [f"{letter}{value}" for value in values] if name == "csv" else values
            assert again[column].dropna().tolist() == expected


@pytest.mark.parametrize("name", TABLE_WRITERS)
def test_every_table_of_the_sweep_is_written_in_every_format(ledger_path, tmp_path, name):
    """Beside the frames where the format has them; each file is what its own writer makes of its table."""
    out = tmp_path / "tables"
    files = export(ledger_path, out, [name])
    tables = report_tables(load_sweep(ledger_path))
    assert {"consolidated", "convergence", "fairness"} < tables.keys()
    frames = ["runs", "epochs"] if name in FRAME_WRITERS else []
    assert [path.name for path in files] == [f"{noun}.{name}" for noun in [*frames, *tables]]
    assert sorted(out.iterdir()) == sorted(files)
    for noun, table in tables.items():
        TABLE_WRITERS[name](table, tmp_path / "by hand")
        assert (out / f"{noun}.{name}").read_bytes() == (tmp_path / "by hand").read_bytes()


def test_a_benchmark_has_the_runs_of_its_tuning_in_separate_files(tmp_path):
    """4 points × 2 seeds × 4 epochs; 3 evaluation and 2 untuned runs. The final accuracies are those of the design."""
    points = [[[30.0, 31.0], [33.0, None], [32.0, 32.5], [29.0, 28.0]]]
    write_benchmark(tmp_path / "ledger.sqlite", {"=a": TunedMethod(points, [[33.0, 33.5, 33.2]], [25.0, 26.0])})
    export(tmp_path / "ledger.sqlite", tmp_path, ["csv", "md"])
    names = ("runs", "epochs", "tuning_runs", "tuning_epochs", "phases")
    runs, epochs, tuning, tuning_epochs, phases = (pd.read_csv(tmp_path / f"{name}.csv") for name in names)
    of_tuning = phases[phases["phase"] == "tuning"]
    assert (len(runs), len(tuning), len(epochs), len(tuning_epochs)) == (5, 8, 20, 32)
    assert set(tuning["run_id"]) == set(of_tuning["run_id"])
    assert set(runs["run_id"]) == set(phases[phases["phase"] != "tuning"]["run_id"])
    assert list(tuning.columns) == list(runs.columns)
    finals = of_tuning.merge(tuning, on="run_id").sort_values(["point", "seed"])["final_val_acc"]
    assert list(finals) == [30.0, 31.0, 33.0, 1.0, 32.0, 32.5, 29.0, 28.0]
    assert set(phases["method"]) == {"'=a"}


def test_the_target_reaches_the_tables(ledger_path, tmp_path):
    """The runs reach 3·π %: a target below it is reached at epoch 1, 2 or 3, one above it never."""
    tables = []
    for target in (3.0, 6.0, 9.0, 99.0):
        export(ledger_path, tmp_path, ["csv"], target=target)
        tables.append((tmp_path / "convergence.csv").read_text())
    assert len(set(tables)) == 4


def test_parquet_keeps_the_types(ledger_path, tmp_path):
    """A missing whole number does not turn its column into floats."""
    runs_file, epochs_file, *_ = export(ledger_path, tmp_path, ["parquet"])
    with Ledger.open_read_only(ledger_path) as ledger:
        pd.testing.assert_frame_equal(pd.read_parquet(runs_file), runs_frame(ledger))
        pd.testing.assert_frame_equal(pd.read_parquet(epochs_file), epochs_frame(ledger))


@given(values=any_floats)
def test_csv_gives_back_every_float_exactly(tmp_path_factory, values):
    """Denormal or huge, to the bit."""
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    write_csv(pd.DataFrame({"x": values, "n": range(len(values))}), path)
    assert [float(text).hex() for text in READERS["csv"](path)["x"]] == [x.hex() for x in values]


@given(values=any_floats)
def test_json_gives_back_every_float_exactly(tmp_path_factory, values):
    """Denormal or huge, to the bit."""
    path = tmp_path_factory.mktemp("json") / "x.json"
    write_json(pd.DataFrame({"x": values}), path)
    assert [record["x"].hex() for record in json.loads(path.read_text())] == [x.hex() for x in values]


@pytest.mark.parametrize("name", FRAME_WRITERS)
def test_an_empty_ledger_gives_frames_without_rows(tmp_path, name):
    """Two whole files, which their readers accept."""
    Ledger.create_or_open(tmp_path / "ledger.sqlite").close()
    files = export(tmp_path / "ledger.sqlite", tmp_path / "tables", [name])
    assert [path.stem for path in files[:2]] == ["runs", "epochs"]
    for path in files[:2]:
        assert len(READERS[name](path)) == 0


def test_an_empty_ledger_gives_tables_without_rows(tmp_path):
    """All but the fairness lint, which always has one row per check."""
    Ledger.create_or_open(tmp_path / "ledger.sqlite").close()
    written = export(tmp_path / "ledger.sqlite", tmp_path / "tables", ["json"])[2:]
    rows = {path.stem: json.loads(path.read_text())["rows"] for path in written}
    checks = [row["values"] for row in rows.pop("fairness")]
    assert {"consolidated", "convergence"} < rows.keys()
    assert set(map(len, rows.values())) == {0}
    assert {check["finding"] for check in checks} == {"ok"}


def test_an_empty_table_still_has_its_header(tmp_path):
    """The columns are there before the first number is."""
    Ledger.create_or_open(tmp_path / "ledger.sqlite").close()
    runs_file, *_ = export(tmp_path / "ledger.sqlite", tmp_path, ["csv"])
    assert runs_file.read_text().startswith("run_id,optimizer,scheduler,warmup,configuration_id,seed,status,")


def test_an_unknown_format_is_answered_with_the_known_ones(ledger_path, tmp_path):
    """Before any file is written, also beside valid formats."""
    with pytest.raises(UnknownNameError, match=r"unknown format 'exel'; valid: csv, html, json, md, parquet, tex$"):
        export(ledger_path, tmp_path / "tables", ["csv", "exel"])
    assert not (tmp_path / "tables").exists()


def test_a_missing_ledger_leaves_no_folder_behind(tmp_path):
    """The reason is the ledger's own line."""
    with pytest.raises(LedgerError, match="there is no ledger"):
        export(tmp_path / "ledger.sqlite", tmp_path / "tables", ["csv"])
    assert not (tmp_path / "tables").exists()


def test_a_place_that_is_no_folder_is_named(ledger_path, tmp_path):
    """A file exists at the folder's path."""
    (tmp_path / "tables").write_text("mine")
    with pytest.raises(SweepFolderError, match="tables: cannot be written"):
        export(ledger_path, tmp_path / "tables", ["csv"])
    assert (tmp_path / "tables").read_text() == "mine"


@pytest.mark.parametrize("writers", ["FRAME_WRITERS", "TABLE_WRITERS"])
def test_a_writer_that_breaks_leaves_the_old_file_whole(ledger_path, tmp_path, monkeypatch, writers):
    """It wrote to a temporary file, which is removed."""
    out = tmp_path / "tables"
    export(ledger_path, out, ["csv"])
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert {"runs.csv", "epochs.csv", "consolidated.csv"} < before.keys()

    def breaks(content: object, path: Path) -> None:
        path.write_text("half a")
        raise RuntimeError("cut off")

    monkeypatch.setitem(getattr(exporting, writers), "csv", breaks)
    with pytest.raises(RuntimeError, match="cut off"):
        export(ledger_path, out, ["csv"])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
