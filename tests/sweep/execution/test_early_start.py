"""When Ray starts before PyTorch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from results.ledger.ledger import Ledger
from search_spaces.catalogue import space_names
from search_spaces.errors import UserError
from sweep.config.spec import Resources, Spec
from sweep.config.toml import read_spec
from sweep.execution.ray import early_start, local_start
from sweep.execution.ray.early_start import start_early
from sweep.execution.ray.local_start import workers_to_start
from sweep.folder.lease import Lease
from sweep.folder.lease_places import FolderLease
from sweep.folder.paths import SweepFolder
from tests.results.ledger_sweeps import MOMENTUM, climb, write_ledger
from tests.sweep.sweeps import spec


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens to Ray: its own start is tested in test_ray_is_local.py."""
    events: list[str] = []

    @contextmanager
    def session(address: str, workers: int) -> Iterator[None]:
        events.append(f"{address} starts")
        yield
        events.append("ends")

    monkeypatch.setattr(early_start, "ray_session", session)
    return events


def start(asked: Spec, runs_dir: Path) -> list[str]:
    told: list[str] = []
    with ExitStack() as started:
        start_early(asked, runs_dir, started, told.append)
    return told


def test_ray_starts_early_for_a_new_sweep_on_this_machine(tmp_path: Path, sessions: list[str]) -> None:
    (told,) = start(spec(), tmp_path)
    assert "starting Ray" in told
    assert sessions == ["local starts", "ends"]


@pytest.mark.parametrize("name", space_names())
def test_ray_starts_early_for_every_named_space_and_benchmark(name: str, tmp_path: Path, sessions: list[str]) -> None:
    start(read_spec(name, {}), tmp_path)
    assert sessions == ["local starts", "ends"]


def test_ray_does_not_start_for_an_invalid_configuration(tmp_path: Path, sessions: list[str]) -> None:
    asked = spec().model_copy(update={"configurations": [{"optimizer": {"name": "SGD", "lr": 0.1}, "warm": 1}]})
    with pytest.raises(UserError, match="warm"):
        start(asked, tmp_path)
    assert sessions == []


def test_ray_does_not_start_for_a_folder_of_data_that_is_missing(tmp_path: Path, sessions: list[str]) -> None:
    folder = tmp_path / "images"
    asked = spec().model_copy(update={"data": str(folder)})
    start(asked, tmp_path / "runs")
    assert sessions == []
    folder.mkdir()
    start(asked, tmp_path / "runs")
    assert sessions == ["local starts", "ends"]


def test_ray_starts_early_only_where_runs_are_left_that_nobody_trains(tmp_path: Path, sessions: list[str]) -> None:
    folder = SweepFolder(tmp_path, "tiny")
    folder.create()
    write_ledger(folder.ledger, {MOMENTUM: [climb(30, 3)]}, epochs=3)
    start(spec(), tmp_path)
    assert sessions == []
    with Ledger.create_or_open(folder.ledger) as ledger:
        (ids,) = ledger.read("SELECT run_id FROM runs")
        ledger.start("pack", [ids.rows[0][0]])
    write_ledger(folder.ledger, {MOMENTUM: [climb(30, 3)]}, epochs=4)
    with Ledger.open_read_only(folder.ledger) as ledger:
        assert "done" not in ledger.statuses().values()
    with Lease(FolderLease(folder.lock)):
        start(spec(), tmp_path)
        assert sessions == []
    start(spec(), tmp_path)
    assert sessions == ["local starts", "ends"]


def test_a_damaged_ledger_is_left_to_the_driver_to_report(tmp_path: Path, sessions: list[str]) -> None:
    folder = SweepFolder(tmp_path, "tiny")
    folder.create()
    folder.ledger.write_text("no ledger")
    assert start(spec(), tmp_path) == []
    assert sessions == []


def test_no_worker_starts_for_a_cluster_or_in_the_folder_of_a_sweep(
    tmp_path: Path, sessions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start(spec(**{"cluster.address": "auto"}), tmp_path)
    folder = SweepFolder(tmp_path, "other")
    folder.create()
    write_ledger(folder.ledger, {MOMENTUM: [climb(30, 3)]}, epochs=3)
    monkeypatch.chdir(folder.path)
    start(spec(), tmp_path)
    assert sessions == []


def test_ray_does_not_start_for_a_tracker_that_does_not_exist(tmp_path: Path, sessions: list[str]) -> None:
    tracking = spec().tracking.model_copy(update={"trackers": ["nothing"]})
    with pytest.raises(UserError, match="nothing"):
        start(spec().model_copy(update={"tracking": tracking}), tmp_path)
    assert sessions == []


@pytest.mark.parametrize(
    ("cpus", "resources", "runs", "workers"),
    [
        (4, {}, 16, 4),  # one for each CPU
        (4, {}, 3, 3),  # a trial has at least one run
        (4, {"cpus_per_trial": 2}, 16, 2),
        (4, {"cpus_per_trial": 8}, 16, 1),
        (4, {"max_concurrent": 1}, 16, 1),
        (64, {}, 1000, 8),
        (4, {}, None, 4),  # a benchmark: its runs are not known yet
    ],
)
def test_as_many_workers_import_torch_as_trials_run_at_a_time_and_at_most_eight(
    cpus: int, resources: dict[str, Any], runs: int | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_start, "available_cpus", lambda: cpus)
    assert workers_to_start(Resources(**resources), runs) == workers
