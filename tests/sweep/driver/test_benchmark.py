"""`sweep benchmark`: tuned with equal budgets, selected by validation, evaluated under new seeds, resumed."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import results.metrics.sequential
from results.ledger.arrays import load_sweep
from results.ledger.ledger import Ledger
from results.ledger.phases import read_phases
from results.metrics.tuning import best_point
from search_spaces.errors import LedgerError
from sweep.config.spec import Spec
from sweep.config.toml import parse_spec
from sweep.driver.benchmark import Results, drive_benchmark
from sweep.driver.driver import DriveOptions, Outcome, read_resolved
from sweep.folder.paths import SweepFolder
from tests.builders import forge_checksums
from tests.results.ledger.test_damage import change
from trainables.training import loop

IN_PROCESS = DriveOptions(in_process=True)
HEAD = """
data = "synthetic:n_train=200,n_test=100,seed=0"
epochs = 3
[protocol]
batch_size = 50
val_fraction = 0.5
[resources]
pack = 2
cpus_per_trial = 1
[benchmark]
budget = 2
tuning_epochs = 2
evaluation_seeds = 2
"""
SGD = """
[[methods]]
name = "SGD"
optimizer = {name = "SGD", lr = {loguniform = [1e-9, 1e9]}}
"""
ADAM = """
[[methods]]
name = "Adam"
optimizer = {name = "Adam", lr = {loguniform = [1e-9, 1.0]}}
scheduler = {name = "CosineAnnealingLR"}
"""
THIRD = """
[[methods]]
name = "RMSprop"
optimizer = {name = "RMSprop", lr = {loguniform = [1e-9, 1.0]}}
"""


def spec(text: str = HEAD + SGD + ADAM, **overrides: Any) -> Spec:
    return parse_spec(text, where="tiny.toml", name="tiny", overrides=overrides)


def benchmark(asked: Spec, runs_dir: Path, options: DriveOptions = IN_PROCESS) -> tuple[Outcome | None, str]:
    screen = io.StringIO()
    outcome = drive_benchmark(asked, runs_dir, Console(file=screen, width=300), options)
    return outcome, screen.getvalue()


def content(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What a benchmark measured: no times, no hosts."""
    with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
        runs, epochs, phases, spec = ledger.read(
            "SELECT run_id, seed, configuration, target_epochs, planned, status FROM run_statuses ORDER BY 1",
            "SELECT run_id, epoch, train_loss, train_acc, val_loss, val_acc, test_loss, test_acc, lr, pack_size "
            "FROM epochs ORDER BY 1, 2",
            "SELECT * FROM phases ORDER BY 1, 2, 3, 4, 5",
            "SELECT value FROM meta WHERE key = 'spec'",
        )
    return {"runs": runs.rows, "epochs": epochs.rows, "phases": phases.rows, "spec": spec.rows}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, str]:
    outcome, said = benchmark(spec(), tmp_path_factory.mktemp("whole"))
    assert outcome is not None
    return outcome, said


def phases_of(outcome: Outcome) -> pd.DataFrame:
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        frame = read_phases(ledger)
        seeds = dict(ledger.rows("SELECT run_id, seed FROM runs", {}))
    return frame.assign(seed=frame["run_id"].map(seeds))


def test_every_method_is_tuned_selected_and_evaluated_under_the_same_new_seeds(whole: tuple[Outcome, str]) -> None:
    outcome, said = whole
    assert outcome.all_done
    found = phases_of(outcome)
    tuning, evaluation, untuned = (found[found["phase"] == word] for word in ("tuning", "evaluation", "untuned"))
    for method in ("SGD", "Adam"):
        points = list(tuning[tuning["method"] == method]["point"])
        assert points == list(range(len(points)))
        assert len(points) in (2, 3)  # 3 after a range was widened
        assert list(evaluation[evaluation["method"] == method]["seed"]) == [10_000, 10_001]
        assert list(untuned[untuned["method"] == method]["seed"]) == [10_000, 10_001]
    assert tuning["method"].value_counts().nunique() == 1
    assert set(tuning["seed"]) == {0}
    assert (set(tuning["epochs"]), set(evaluation["epochs"])) == ({2}, {3})
    assert set(untuned["point"]) == {-1}
    assert said.count("selected in study 1") == 2


def test_the_selected_point_has_the_highest_final_validation_accuracy(whole: tuple[Outcome, str]) -> None:
    """By a plain loop over the ledger; a diverged run counts as chance, 1 %."""
    outcome, _ = whole
    found = phases_of(outcome)
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        final = dict(ledger.rows("SELECT run_id, val_acc FROM epochs WHERE epoch = 2", {}))
        lost = {run_id for (run_id,) in ledger.rows("SELECT run_id FROM runs WHERE diverged_epoch <= 2", {})}
    for method in ("SGD", "Adam"):
        best, highest = -1, -1.0
        for row in found[(found["phase"] == "tuning") & (found["method"] == method)].itertuples():
            accuracy = 1.0 if row.run_id in lost else final[row.run_id]
            if accuracy > highest:
                best, highest = row.point, accuracy
        chosen = set(found[(found["phase"] == "evaluation") & (found["method"] == method)]["point"])
        assert chosen == {best}


def test_a_point_that_diverges_under_one_seed_counts_as_chance() -> None:
    """Its mean with chance for the lost run, 34 %, is above that of the other point."""
    accuracies = {("a", 3): 50.0, ("b", 3): 51.0, ("c", 3): 30.0, ("d", 3): 31.0, ("e", 3): 32.0}
    known = Results(accuracies, {"lost": 2}, chance=1.0)
    scores = [known.score(run_ids, 3) for run_ids in (["a", "b", "lost"], ["c", "d", "e"])]
    assert scores == [1.0, 31.0]
    assert best_point(np.array([34.0, 31.0]), np.array([True, False])) == 1
    assert known.score(["a", "pending"], 3) is None


def test_test_is_never_evaluated_in_the_tuning_and_once_in_the_evaluation(whole: tuple[Outcome, str]) -> None:
    outcome, _ = whole
    tuning = set(phases_of(outcome).query("phase == 'tuning'")["run_id"])
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        rows = ledger.rows("SELECT run_id, epoch FROM epochs WHERE test_acc IS NOT NULL", {})
    assert not tuning & {run_id for run_id, _ in rows}
    assert {epoch for _, epoch in rows} == {3}
    data = load_sweep(outcome.folder.ledger)
    assert data.epochs == 3
    assert sum(len(group.run_ids) for group in data.configurations) == 4  # two methods under two seeds
    assert data.benchmark is not None
    assert [len(method.untuned.run_ids) for method in data.benchmark.methods if method.untuned] == [2, 2]


def test_the_schedule_of_a_selected_point_has_the_length_of_the_evaluation(whole: tuple[Outcome, str]) -> None:
    outcome, _ = whole
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        rows = ledger.rows(
            "SELECT DISTINCT p.phase, json_extract(r.configuration, '$.scheduler.T_max') FROM phases p "
            "JOIN runs r USING (run_id) WHERE p.method = 'Adam' ORDER BY 1", {},
        )  # fmt: skip
    assert rows == [("evaluation", 3), ("tuning", 2), ("untuned", 3)]


def test_the_same_command_again_and_a_resume_train_nothing(
    whole: tuple[Outcome, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, _ = whole
    before = content(outcome.folder.path)
    monkeypatch.setattr("sweep.driver.driver.train_packs", lambda *_: pytest.fail("trains"))
    for asked in (spec(), read_resolved(outcome.folder, {})):
        again, _ = benchmark(asked, outcome.folder.runs_dir)
        assert again is not None
        assert again.all_done
        after = content(outcome.folder.path)
        assert {**after, "spec": 0} == {**before, "spec": 0}


def test_the_data_are_read_once_for_all_phases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables.data import dataset

    read, sources = dataset.load_data, []
    monkeypatch.setattr(dataset, "load_data", lambda source, **rest: (sources.append(source), read(source, **rest))[1])
    outcome, said = benchmark(spec(NARROW, **{"benchmark.budget": 1, "benchmark.tuning_epochs": 1}, epochs=1), tmp_path)
    assert outcome is not None
    assert outcome.all_done
    assert said.count("run-epochs for each") >= 1
    assert len(sources) == 1


class KilledError(BaseException):
    """Ends the driver as a kill does: nothing of it runs to its end."""


@pytest.mark.parametrize("reports", [1, 5, 8])  # in the tuning, its extra points, the evaluation
def test_a_benchmark_that_is_killed_in_any_phase_ends_with_the_same_ledger(
    whole: tuple[Outcome, str], reports: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, left = Ledger.record, iter(range(reports))

    def killed(self: Ledger, *arguments: Any) -> None:
        if next(left, None) is None:
            raise KilledError
        record(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", killed)
        with pytest.raises(KilledError):
            benchmark(spec(), tmp_path)
    folder = SweepFolder(tmp_path, "tiny")
    outcome, _ = benchmark(read_resolved(folder, {}), tmp_path)
    assert outcome is not None
    assert outcome.all_done
    expected = content(whole[0].folder.path)
    assert {**content(folder.path), "spec": 0} == {**expected, "spec": 0}


def test_a_method_added_later_trains_its_own_runs_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: tuple[Outcome, str]
) -> None:
    import shutil

    shutil.copytree(whole[0].folder.path, tmp_path / "tiny")
    before = content(tmp_path / "tiny")
    outcome, _ = benchmark(spec(HEAD + SGD + ADAM + THIRD), tmp_path)
    assert outcome is not None
    after = content(tmp_path / "tiny")
    assert set(before["epochs"]) <= set(after["epochs"])
    assert set(before["phases"]) <= set(after["phases"])
    new = {row[0] for row in after["epochs"]} - {row[0] for row in before["epochs"]}
    found = phases_of(outcome)
    assert set(found[found["run_id"].isin(new)]["method"]) == {"RMSprop"}


def test_a_tuning_run_with_a_test_accuracy_is_refused(tmp_path: Path, whole: tuple[Outcome, str]) -> None:
    import shutil

    shutil.copytree(whole[0].folder.path, tmp_path / "tiny")
    path = tmp_path / "tiny" / "ledger.sqlite"
    change(path, "UPDATE epochs SET test_acc = 50 WHERE epoch = 2 AND run_id IN "
                 "(SELECT run_id FROM phases WHERE phase = 'tuning')")  # fmt: skip
    forge_checksums(path)
    with pytest.raises(LedgerError, match="test accuracy in the tuning"):
        benchmark(spec(), tmp_path)


def test_two_studies_have_their_own_points_and_seeds(tmp_path: Path) -> None:
    outcome, _ = benchmark(spec(**{"benchmark.studies": 2, "benchmark.budget": 1, "epochs": 2}), tmp_path)
    assert outcome is not None
    assert outcome.all_done
    found = phases_of(outcome)
    seeds = {key: sorted(set(group["seed"])) for key, group in found.groupby(["study", "phase"])}
    assert seeds[1, "tuning"] == [0]
    assert seeds[2, "tuning"] == [1]
    assert seeds[1, "evaluation"] == seeds[1, "untuned"] == [10_000, 10_001]
    assert seeds[2, "evaluation"] == seeds[2, "untuned"] == [20_000, 20_001]


NARROW = HEAD + SGD.replace("[1e-9, 1e9]", "[1e-3, 1e-1]") + ADAM.replace("[1e-9, 1.0]", "[1e-4, 1e-2]")
HALVING = {"benchmark.budget": 4, "benchmark.halving": 3, "benchmark.tuning_epochs": 9, "epochs": 9}


@pytest.mark.slow
def test_halving_stops_runs_at_rungs_and_continues_the_others_from_their_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 points: 2 are stopped after 1 epoch, 1 after 3; the last one trains 9. No epoch is trained twice."""
    closed: list[int] = []
    close = loop._close_epoch
    monkeypatch.setattr(
        loop, "_close_epoch", lambda pack, *rest: (closed.append(len(pack.members)), close(pack, *rest))
    )
    outcome, _ = benchmark(spec(NARROW, **HALVING), tmp_path)
    assert outcome is not None
    assert outcome.all_done
    tuning = phases_of(outcome).query("phase == 'tuning'")
    for method in ("SGD", "Adam"):
        base = tuning[(tuning["method"] == method) & (tuning["point"] < 4)]
        assert sorted(base["epochs"]) == [1, 1, 3, 9]
        assert sorted(base["rung"]) == [0, 0, 1, 2]
        assert list(base["stopped"]) == list(base["epochs"] < 9)
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        trained = ledger.epochs_recorded()
        rows = ledger.rows("SELECT COUNT(*) FROM epochs", {})[0][0]
    assert all(trained[row.run_id] == row.epochs for row in tuning.itertuples())
    assert sum(closed) == rows


def test_evaluation_seeds_are_added_look_by_look_and_a_repetition_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks at 2 and 3 seeds. What a look decides is another test; here the first one leaves a comparison."""
    monkeypatch.setattr("sweep.driver.benchmark.standings", lambda data: SimpleNamespace(undecided=["a pair"]))
    monkeypatch.setattr(results.metrics.sequential, "FIRST_LOOK", 2)
    design = {"benchmark.budget": 1, "benchmark.evaluation_seeds": "auto", "benchmark.max_evaluation_seeds": 3}
    asked = spec(**design, epochs=2)
    assert asked.benchmark is not None
    assert asked.benchmark.looks == (2, 3)
    outcome, said = benchmark(asked, tmp_path)
    assert outcome is not None
    found = phases_of(outcome)
    for phase in ("evaluation", "untuned"):
        seeds = found[found["phase"] == phase].groupby("method")["seed"].agg(list)
        assert list(seeds) == [[10_000, 10_001, 10_002]] * 2
    assert "2 of up to 3 seeds: 1 comparison undecided" in said
    monkeypatch.setattr("sweep.driver.driver.train_packs", lambda *_: pytest.fail("trains"))
    benchmark(asked, tmp_path)
    pd.testing.assert_frame_equal(phases_of(outcome), found)


def test_tpe_trains_its_rounds_one_after_the_other(tmp_path: Path) -> None:
    design = {"benchmark.budget": 2, "benchmark.sampler": "tpe", "benchmark.tuning_epochs": 1, "epochs": 1}
    outcome, said = benchmark(spec(NARROW, **design), tmp_path)
    assert outcome is not None
    assert outcome.all_done
    assert "1 run-epochs for each of 2 methods" in said
    assert "2 run-epochs for each of 2 methods" in said
