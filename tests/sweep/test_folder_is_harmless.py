"""Nothing in a sweep's folder can run code or lead out of it: it may come from another person."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from search_spaces.errors import SweepFolderError
from sweep.analyses.captures import map_activations, run_range_tests
from sweep.analyses.targets import of_sweep
from sweep.analyses.trajectories import trace_trajectories
from sweep.driver.outputs import make_outputs
from sweep.folder.paths import SweepFolder
from tests.builders import forge_checksums
from tests.sweep.sweeps import DATA, call, run, spec
from trainables.training.checkpoints import MAGIC

SPEC = f"""
data = "{DATA}"
epochs = 2
seeds = 1
save_weights_every = 1
[[configurations]]
optimizer = {{name = "SGD", lr = 0.05}}
"""

Sweep = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cache_folder: Path) -> SweepFolder:
    """One run, trained in this process, with its checkpoints, weights, analyses, log, tables and figures."""
    outcome, _ = run(spec(SPEC, "s"), tmp_path_factory.mktemp("runs"))
    folder = outcome.folder
    assert outcome.all_done
    (run_id,) = outcome.statuses
    run_range_tests(of_sweep(folder), steps=2)
    map_activations(folder, run_id, images=1)
    trace_trajectories(folder, [run_id], grid=3)
    make_outputs(folder)
    return folder


@pytest.fixture
def copied(trained: SweepFolder, tmp_path: Path) -> SweepFolder:
    shutil.copytree(trained.path, tmp_path / "runs" / "s")
    return SweepFolder(tmp_path / "runs", "s")


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sweep:
    """Run the command line in this process; return its exit code and its output."""

    def words(*arguments: str) -> tuple[int, str]:
        ended = call(arguments, tmp_path, monkeypatch, capfd)
        return ended.returncode, ended.stdout + ended.stderr

    return words


class Malicious:
    """An object that runs code when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


def the_run(folder: SweepFolder) -> str:
    return next(path.name for path in sorted(folder.weights.iterdir()))


def assert_harmless(sweep: Sweep, run: str, marker: Path, verbs: str) -> list[tuple[int, str]]:
    """Run verbs, and check that each ends with a short output, and that no foreign code was run."""
    said = []
    for verb in verbs.split(", "):
        code, text = sweep(*verb.format(run=run).split())
        assert not marker.exists(), verb
        assert code in (0, 1, 2), verb
        assert "Traceback" not in text
        if code == 2:
            *stages, error = text.splitlines()  # the stages of `resume` come before its error
            assert len(stages) <= 4, text
            assert error.startswith("sweep: ")
        said.append((code, text))
    return said


LOOKING = "status, status s, logs s {run}, export s"  # `resume` makes the page, too
READING = "activations s {run} --images 1, trajectory s --run {run} --grid 3"


def test_the_malicious_pickle_is_one(marker: Path) -> None:
    pickle.loads(pickle.dumps(Malicious(marker)))
    assert marker.is_dir()


KINDS = ["sweep.toml", "ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "lock", "provenance.json",
    "checkpoints", "weights", "gradients", "lr-range", "trajectory", "activations", "logs", "report.html"]  # fmt: skip


QUICK = {"sweep.toml", "ledger.sqlite", "checkpoints", "activations"}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in KINDS]
)
def test_a_pickle_in_the_place_of_a_file_is_not_read(
    kind: str, copied: SweepFolder, sweep: Sweep, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawing is left out: it reads no file, and is slow."""
    monkeypatch.setattr("sweep.driver.outputs.save_figures", lambda *_, **__: [])
    monkeypatch.setattr("sweep.driver.outputs.write_figures", lambda *_, **__: [])
    run = the_run(copied)
    places = {"checkpoints": copied.checkpoints, "weights": copied.weights, "logs": copied.logs}
    place = places.get(kind, copied.analyses / kind)
    found = [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else [copied.path / kind]
    if kind == "gradients":
        found = [copied.analysis("gradients", f"{run}.conv1.weight")]
    assert found
    for path in found:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(Malicious(marker)))
    reads = f", {READING}" if kind in ("checkpoints", "weights", "activations", "trajectory") else ""
    said = assert_harmless(sweep, run, marker, f"{LOOKING}, resume s --in-process{reads}")
    told = {"ledger.sqlite": 2, "lock": 0, "logs": 0, "report.html": 0, "ledger.sqlite-wal": 0}
    assert said[1][0] == told.get(kind, said[1][0])


@pytest.mark.slow
def test_pickles_in_the_place_of_all_that_is_derived_are_written_over(
    copied: SweepFolder, sweep: Sweep, marker: Path
) -> None:
    planted = pickle.dumps(Malicious(marker))
    derived = [path for folder in (copied.tables, copied.figures) for path in folder.iterdir()]
    for path in derived:
        path.write_bytes(planted)
    (copied.figures / "momentum_accuracy.svg").write_text("<svg><script>alert('planted')</script></svg>")
    assert {
        code for code, _ in assert_harmless(sweep, the_run(copied), marker, f"{LOOKING}, resume s --in-process")
    } == {0}
    assert not [path for path in derived if path.read_bytes() == planted and path.suffix in (".csv", ".svg", ".png")]
    assert "planted" not in copied.report.read_text(encoding="utf-8")


def test_a_checkpoint_that_is_a_pickle_under_a_checksum_that_fits_is_none(
    copied: SweepFolder, sweep: Sweep, marker: Path
) -> None:
    archive = io.BytesIO()
    torch.save({"epoch": 2, "step_in_epoch": 0, "members": Malicious(marker)}, archive)
    for payload in (pickle.dumps(Malicious(marker)), archive.getvalue()):
        for path in copied.checkpoints.rglob("*.ckpt"):
            path.write_bytes(MAGIC + hashlib.sha256(payload).digest() + payload)
        ((code, text),) = assert_harmless(sweep, the_run(copied), marker, "activations s {run} --images 1")
        assert code == 2
        assert "has no checkpoint; training makes one" in text


def test_an_array_of_objects_is_no_weights(copied: SweepFolder, sweep: Sweep, marker: Path) -> None:
    for path in copied.weights.rglob("*.npy"):
        with path.open("wb") as file:
            np.save(file, np.array([Malicious(marker)], dtype=object), allow_pickle=True)
    ((code, text),) = assert_harmless(sweep, the_run(copied), marker, "trajectory s --run {run} --grid 3")
    assert code == 2
    assert "delete that folder, and the run is trained again" in text


def test_a_pickle_in_the_types_of_a_parquet_file_is_not_read(copied: SweepFolder, sweep: Sweep, marker: Path) -> None:
    """What older versions of Arrow unpickled as soon as the file was opened (CVE-2023-47248)."""
    (path,) = (copied.analyses / "lr-range").glob("*.parquet")
    kept = pq.read_schema(path).metadata
    extension = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Malicious(marker)),
    }
    fields = [pa.field(name, pa.float64(), metadata=extension) for name in ("lr", "loss", "moved")]
    table = pa.table([[0.1, 0.2]] * 3, schema=pa.schema(fields, metadata=kept))
    pq.write_table(table, path)
    assert_harmless(sweep, the_run(copied), marker, "export s, report s")


def changed_ledger(folder: SweepFolder, statement: str, value: str) -> None:
    connection = sqlite3.connect(folder.ledger)
    with connection:
        connection.execute(statement, (value,))
    connection.close()
    forge_checksums(folder.ledger)


@pytest.mark.parametrize(
    "pack_id", ["../../x", "/etc/x", "a/b", "..", "", "x" * 16, "A" * 16, "1" * 17, "1" * 15 + "\n"]
)
def test_a_pack_id_that_leads_out_is_one_line(pack_id: str, copied: SweepFolder, sweep: Sweep, marker: Path) -> None:
    """The file that it would lead to is there, and would be shown."""
    run = the_run(copied)
    (copied.path.parent / "x.log").write_text("SECRET")
    for table in ("attempts", "runs"):
        changed_ledger(copied, f"UPDATE {table} SET pack_id = ?", pack_id)
    for code, text in assert_harmless(sweep, run, marker, "logs s {run}, activations s {run} --images 1"):
        assert code == 2
        assert f"{pack_id!r} is not a run id or pack id" in text.replace("\\\\n", "\\n")
        assert "SECRET" not in text


@pytest.mark.parametrize(
    "stem", ["../../x", "/etc/x", "1" * 16 + "/../x", "1" * 16 + "./x", "1" * 16 + "..\n", "short"]
)
def test_no_analysis_is_named_out_of_its_folder(stem: str, tmp_path: Path) -> None:
    with pytest.raises(SweepFolderError):
        SweepFolder(tmp_path, "s").analysis("gradients", stem)


@pytest.mark.parametrize("link", ["logs", "checkpoints", "tables", "lock", "ledger.sqlite", "weights/deeper"])
@pytest.mark.parametrize("kind", ["absolute", "relative", "dangling", "circle"])
def test_a_link_that_leads_out_is_refused_before_anything_is_read_or_written(
    link: str, kind: str, copied: SweepFolder, sweep: Sweep, marker: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    path = copied.path / link
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    target = {"relative": Path(os.path.relpath(outside, path.parent)), "dangling": outside / "not-there"}.get(
        kind, outside
    )
    if kind == "circle":
        (outside / "a").symlink_to(outside / "b")
        (outside / "b").symlink_to(outside / "a")
        target = outside / "a"
    path.symlink_to(target)
    before = sorted(outside.rglob("*"))
    run = the_run(copied) if link != "weights/deeper" else "0"
    verbs = "logs s {run}, resume s --in-process, export s, report s"
    for code, text in assert_harmless(sweep, run, marker, verbs):
        assert code == 2
        assert "is a link that leads out of the sweep's folder" in text or "no sweep 's'" in text
    with pytest.raises(SweepFolderError, match="leads out of the sweep's folder"):
        copied.create()
    assert sorted(outside.rglob("*")) == before


def test_a_link_that_stays_within_and_a_folder_that_is_one_are_fine(
    copied: SweepFolder, tmp_path: Path, sweep: Sweep, marker: Path
) -> None:
    (copied.path / "newest.html").symlink_to("report.html")
    copied.path.rename(tmp_path / "big-disk")
    copied.path.symlink_to(tmp_path / "big-disk")
    assert {
        code for code, _ in assert_harmless(sweep, the_run(copied), marker, "status s, logs s {run}, export s")
    } == {0}


def test_terminal_escapes_are_shown_as_text(copied: SweepFolder, sweep: Sweep) -> None:
    (log,) = copied.logs.iterdir()
    log.write_bytes(b"plain\n\ttabbed\n\x1b]0;title\x07\x9b2J\xff\n")
    code, text = sweep("logs", "s", the_run(copied))
    assert code == 0
    assert text.splitlines()[:2] == ["plain", "\ttabbed"]
    assert text.splitlines()[2].isprintable()
    assert text.splitlines()[2].startswith("\\x1b]0;title\\x07")
