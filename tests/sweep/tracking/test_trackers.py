"""Trackers, read back with their own libraries: every number once, also after a kill and after a restart."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.ledger.ledger import Ledger
from search_spaces.errors import SpecError, UnknownNameError
from sweep.folder.paths import SweepFolder
from sweep.tracking import registry
from sweep.tracking.backend import Backend, Written
from sweep.tracking.of_sweep import export_to_trackers, tracking_of
from sweep.tracking.registry import Tracker, check_trackers
from sweep.tracking.tracked_run import Epoch, TrackedRun, recorded_epochs, tracked_runs
from sweep.tracking.tracking import Tracking
from tests.results.ledger_sweeps import ADAM, MOMENTUM, climb, write_ledger
from tests.sweep.sweeps import PATIENCE_SECONDS, SPEC, command, environment
from trainables.runtime.fault_injection import VARIABLE

EPOCHS = 3


@pytest.fixture
def mine(tmp_path: Path) -> SweepFolder:
    """Two configurations under two seeds; the last run has one epoch of three."""
    folder = SweepFolder(tmp_path / "runs", "mine")
    folder.create()
    curves = {MOMENTUM: [climb(30, EPOCHS), climb(31, EPOCHS)], ADAM: [climb(20, EPOCHS), climb(21, EPOCHS)[:1]]}
    write_ledger(folder.ledger, curves, epochs=EPOCHS)
    return folder


def recorded(folder: SweepFolder) -> tuple[list[TrackedRun], list[Epoch]]:
    with Ledger.open_read_only(folder.ledger) as ledger:
        return tracked_runs(ledger, folder.name), recorded_epochs(ledger)


def tensorboard(folder: SweepFolder, run: TrackedRun) -> Any:
    """The scalars of a run as TensorBoard itself reads them: tag → [(step, value)]."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    from sweep.tracking.tensorboard import TensorBoardBackend

    place = TensorBoardBackend(folder.tracking / "tensorboard").place(run)
    events = accumulator.EventAccumulator(str(place), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def warn_never(text: str) -> None:
    raise AssertionError(text)


def expected(epochs: list[Epoch], run: TrackedRun, name: str) -> list[tuple[int, float]]:
    return [(one.epoch, one.values[name]) for one in epochs if one.run_id == run.run_id]


@pytest.mark.slow  # the import of TensorBoard
def test_tensorboard_has_every_number_once_also_after_a_second_export(mine: SweepFolder) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    for _ in range(2):
        export_to_trackers(mine, ["tensorboard"], warn_never)
    runs, epochs = recorded(mine)
    for run in runs:
        scalars = tensorboard(mine, run)
        for name in ("val_acc", "train_loss", "lr"):
            assert [(step, np.float32(value)) for step, value in scalars[name]] == [
                (step, np.float32(value)) for step, value in expected(epochs, run, name)
            ]
    folders = sorted(path.name for path in (mine.tracking / "tensorboard").iterdir())
    assert folders == sorted({f"{run.label} [{run.configuration_id[:8]}]" for run in runs})


@pytest.mark.slow  # the import of TensorBoard
def test_a_torn_event_file_is_completed(mine: SweepFolder) -> None:
    """A writer that was killed in the middle of a record: what is missing is written by the next process."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    export_to_trackers(mine, ["tensorboard"], warn_never)
    for path in (mine.tracking / "tensorboard").rglob("events.*"):
        path.write_bytes(path.read_bytes()[:-30])
    export_to_trackers(mine, ["tensorboard"], warn_never)
    runs, epochs = recorded(mine)
    for run in runs:
        for name, scalars in tensorboard(mine, run).items():
            if name in ("val_acc", "epoch_seconds"):
                # Each of several torn files has lost its last numbers, so the order is not that of the epochs.
                assert sorted(step for step, _ in scalars) == [step for step, _ in expected(epochs, run, name)]


@pytest.fixture(scope="module")
def mlflow_client() -> Any:
    tracking = pytest.importorskip("mlflow.tracking", reason="mlflow is not installed")
    pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed")
    return tracking.MlflowClient


@pytest.mark.slow  # MLflow creates its tables
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # MLflow's own queries
def test_mlflow_has_one_run_for_each_run_also_after_a_second_export(mine: SweepFolder, mlflow_client: Any) -> None:
    for _ in range(2):
        export_to_trackers(mine, ["mlflow"], warn_never)
    client = mlflow_client(tracking_uri=f"sqlite:///{mine.tracking / 'mlflow.db'}")
    kind = client.get_experiment_by_name(mine.name).tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"  # MLflow's name for the page of training runs
    experiment = client.get_experiment_by_name("mine")
    found = {run.data.tags["run_id"]: run for run in client.search_runs([experiment.experiment_id])}
    runs, epochs = recorded(mine)
    assert set(found) == {run.run_id for run in runs}
    assert len(client.search_runs([experiment.experiment_id])) == len(runs)
    for run in runs:
        ours = found[run.run_id]
        assert ours.info.run_name == run.name
        assert (ours.data.tags["configuration"], ours.data.tags["seed"]) == (run.label, str(run.seed))
        assert ours.data.params["optimizer.lr"] == str(run.parameters["optimizer.lr"])
        history = client.get_metric_history(ours.info.run_id, "val_acc")
        assert sorted((one.step, one.value) for one in history) == expected(epochs, run, "val_acc")
        of_run = [epoch for epoch in epochs if epoch.run_id == run.run_id]
        assert ours.info.start_time == int(1000 * (of_run[0].time - of_run[0].values["epoch_seconds"]))
        last = int(1000 * of_run[-1].time)
        assert ours.info.end_time == (last if ours.info.status == "FINISHED" else None)
    assert [found[run.run_id].info.status for run in runs] == ["FINISHED", "FINISHED", "FINISHED", "RUNNING"]


@pytest.mark.slow  # W&B starts its service
def test_wandb_has_one_offline_run_for_each_run_also_after_a_second_export(mine: SweepFolder) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    from wandb.proto import wandb_internal_pb2

    from sweep.tracking.wandb import _log_records

    for _ in range(2):
        export_to_trackers(mine, ["wandb"], warn_never)
    mine.check_links()  # as every later command does
    runs, epochs = recorded(mine)
    for run in runs:
        (path,) = (mine.tracking / "wandb").rglob(f"offline-run-*/run-{run.run_id}.wandb")
        records = []
        for content in _log_records(path):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(content)
            records.append(record)
        (about,) = [record.run for record in records if record.WhichOneof("record_type") == "run"][:1]
        assert (about.run_id, about.project, about.run_group, about.display_name) == (
            run.run_id, "mine", run.label, run.name
        )  # fmt: skip
        config = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in about.config.update}
        assert config["optimizer.lr"] == run.parameters["optimizer.lr"]
        history = [record.history for record in records if record.WhichOneof("record_type") == "history"]
        rows = [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in one.item} for one in history]
        assert [(row["epoch"], row["val_acc"]) for row in rows] == expected(epochs, run, "val_acc")


class Memory:
    """A tracker in memory, which outlives a process."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.content: dict[str, Written] = {}
        self.ended: dict[str, str] = {}
        self.fails = False

    def written(self, run: TrackedRun) -> Written:
        return {epoch: dict(values) for epoch, values in self.content.get(run.run_id, {}).items()}

    def write(self, run: TrackedRun, epoch: Epoch) -> None:
        if self.fails:
            raise OSError("the disk is full\nsecond line")
        self.calls.append((run.run_id, epoch.epoch))
        self.content.setdefault(run.run_id, {}).setdefault(epoch.epoch, {}).update(epoch.values)

    def remove(self, run: TrackedRun) -> None:
        self.content.pop(run.run_id, None)

    def end(self, run: TrackedRun, status: str) -> None:
        self.ended[run.run_id] = status

    def close(self) -> None:
        self.calls.append(("closed", 0))


def follow(memory: Backend, runs: list[TrackedRun], epochs: list[Epoch], said: list[str]) -> None:
    with Tracking({"memory": memory}, runs, said.append) as tracking:
        tracking.record(epochs)


def test_a_resume_writes_what_is_missing_and_nothing_twice(mine: SweepFolder) -> None:
    """The first process is killed after the ledger's commit of the last epoch, before the tracker's write."""
    runs, epochs = recorded(mine)
    memory, said = Memory(), list[str]()
    follow(memory, runs, epochs[:-1], said)
    follow(memory, runs, epochs, said)
    assert [call for call in memory.calls if call[0] != "closed"] == [(one.run_id, one.epoch) for one in epochs]
    assert said == []


def test_an_epoch_of_which_a_part_was_written_is_completed(mine: SweepFolder) -> None:
    runs, epochs = recorded(mine)
    memory = Memory()
    memory.content[epochs[0].run_id] = {1: {"val_acc": epochs[0].values["val_acc"]}}
    follow(memory, runs, epochs[:1], [])
    assert memory.content[epochs[0].run_id][1] == epochs[0].values


def test_a_run_that_is_trained_again_with_other_numbers_replaces_the_old_ones(mine: SweepFolder) -> None:
    runs, epochs = recorded(mine)
    mine_only = [one for one in epochs if one.run_id == runs[0].run_id]
    again = Epoch(mine_only[0].run_id, 1, 5.0, {**mine_only[0].values, "val_acc": 9.5})
    memory = Memory()
    follow(memory, runs, [*mine_only, again], [])
    assert memory.content[runs[0].run_id] == {1: again.values}


def test_a_tracker_that_fails_is_one_warning_and_does_not_disturb_the_others(mine: SweepFolder) -> None:
    runs, epochs = recorded(mine)
    bad, good, said = Memory(), Memory(), list[str]()
    bad.fails = True
    with Tracking({"bad": bad, "good": good}, runs, said.append) as tracking:
        tracking.record(epochs)
    assert said == ["tracking with bad failed (OSError: the disk is full); it gets nothing more"]
    assert sum(len(one) for one in good.content.values()) == len(epochs)


def test_a_tracker_that_cannot_be_opened_is_one_warning(mine: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(folder: Path, sweep: str) -> Backend:
        raise RuntimeError("no")

    monkeypatch.setattr(registry, "TRACKERS", {"bad": Tracker((), "bad", refuses, "bad")})
    monkeypatch.setattr("sweep.tracking.of_sweep.TRACKERS", registry.TRACKERS)
    said: list[str] = []
    with Ledger.open_read_only(mine.ledger) as ledger, tracking_of(mine, ledger, ["bad"], said.append) as tracking:
        assert tracking is not None
    assert said == ["tracking with bad failed (RuntimeError: no); it gets nothing"]


def test_a_missing_package_is_one_line_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"'mlflow' needs mlflow, .*pip install .*'.\[mlflow\]'"):
        check_trackers(["mlflow"])
    with pytest.raises(UnknownNameError, match="valid: mlflow, tensorboard, wandb"):
        check_trackers(["tensorbored"])


@pytest.mark.slow  # two sweeps, and the import of TensorBoard
def test_a_sweep_in_this_process_is_tracked_live_and_resumed_without_a_number_twice(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tests.sweep.sweeps import run, spec

    tracked = spec(name="tracked", **{"tracking.trackers": ["tensorboard"]})
    outcome, text = run(tracked, tmp_path)
    assert "tracking" not in text
    longer = spec(name="tracked", epochs=3, **{"tracking.trackers": ["tensorboard"]})
    outcome, _ = run(longer, tmp_path)
    runs, epochs = recorded(outcome.folder)
    kept = [one for one in runs if len(expected(epochs, one, "val_acc")) == 3]
    assert len(kept) == 8  # four configurations under two seeds
    for one in kept:
        scalars = tensorboard(outcome.folder, one)["val_acc"]
        assert [step for step, _ in scalars] == [1, 2, 3]
        assert [np.float32(value) for _, value in scalars] == [
            np.float32(value) for _, value in expected(epochs, one, "val_acc")
        ]


@pytest.mark.slow  # two processes
def test_a_kill_between_the_commit_to_the_ledger_and_the_write_to_the_tracker_loses_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    """The process is killed after its third commit; its resume continues the same event files."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    (tmp_path / "killed.toml").write_text(SPEC, encoding="utf-8")
    words = command("run", "killed.toml", "--track", "tensorboard")
    codes = []
    for fault in ({VARIABLE: f"row recorded:3:{tmp_path / 'marker'}"}, {}):
        found = subprocess.run(
            words, cwd=tmp_path, env=environment() | fault, capture_output=True, text=True, timeout=PATIENCE_SECONDS,
            check=False,
        )  # fmt: skip
        codes.append(found.returncode)
    assert codes == [-signal.SIGKILL, 0], found.stderr
    folder = SweepFolder(tmp_path / "runs", "killed")
    runs, epochs = recorded(folder)
    assert len(epochs) == 8 * 2
    for run in runs:
        scalars = tensorboard(folder, run)["val_acc"]
        assert [(step, np.float32(value)) for step, value in scalars] == [
            (step, np.float32(value)) for step, value in expected(epochs, run, "val_acc")
        ]
