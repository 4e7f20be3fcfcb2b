"""Whole sweeps: trained, recorded, skipped the second time, resumed, failed, packed onto GPUs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sweep.execution.ray.nodes
from results.ledger.ledger import Ledger
from search_spaces import Run
from search_spaces.errors import SpecError
from sweep.driver.driver import Outcome
from sweep.execution.ray.nodes import alive_nodes
from sweep.folder.paths import SweepFolder
from tests.sweep.sweeps import DATA, frames, run, spec
from trainables.data.dataset import load_data
from trainables.runtime.devices import training_device
from trainables.training.loop import TrainOptions, train
from trainables.training.messages import Assignment


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, str]:
    """A sweep with all its files and its output; tests that change it use a copy."""
    return run(spec(), tmp_path_factory.mktemp("trained"), outputs=True)


def attempts(outcome: Outcome) -> dict[tuple[str, int], str]:
    """Run id and epoch → the attempt that trained it."""
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        (answer,) = ledger.read("SELECT run_id, epoch, attempt_id FROM epochs")
    return {(run_id, epoch): attempt_id for run_id, epoch, attempt_id in answer.rows}


def test_a_sweep_trains_every_run_once_and_then_nothing(trained: tuple[Outcome, str]) -> None:
    """The second time is idempotent: no pack is trained."""
    outcome, said = trained
    runs, epochs = frames(outcome)
    assert outcome.all_done
    assert len(runs) == 8
    assert set(runs["status"]) == {"done"}
    assert len(epochs) == 16
    assert epochs["test_acc"].notna().all()
    assert [tuple(seeds) for _, seeds in runs.groupby("configuration_id")["seed"]] == [(0, 1)] * 4
    assert "not CIFAR-100" in said
    again, said = run(spec(), outcome.folder.runs_dir)
    assert "nothing to train" in said
    pd.testing.assert_frame_equal(frames(again)[1], epochs)
    written = {path.name for path in outcome.folder.tables.iterdir()}
    assert {"runs.csv", "epochs.csv", "convergence.csv", "convergence.md", "fairness.md"} <= written
    assert "Adam lr=0.003" in outcome.folder.report.read_text()
    assert (outcome.folder.figures / "validation_accuracy.png").stat().st_size > 10_000
    exported = pd.read_csv(outcome.folder.tables / "epochs.csv")
    assert list(exported["val_loss"]) == list(epochs["val_loss"])


@pytest.mark.usefixtures("one_thread")
def test_a_sweep_gives_the_bits_of_the_training_loop(trained: tuple[Outcome, str]) -> None:
    """A pack of a sweep, and the same pack through the loop alone; test_in_process.py compares it with Ray."""
    outcome, _ = trained
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        packs = ledger.packs("2")
        (answer,) = ledger.read("SELECT run_id, configuration, seed, protocol, data_fingerprint FROM runs")
    tables = {
        run_id: {
            "configuration": json.loads(configuration), "seed": seed, "protocol": json.loads(protocol),
            "data_fingerprint": fingerprint,
        }
        for run_id, configuration, seed, protocol, fingerprint in answer.rows
    }  # fmt: skip
    members = next(iter(packs.values()))
    runs = [Run.from_dict(tables[run_id]) for run_id in members]
    assert [run.run_id for run in runs] == members
    assignment = Assignment("here", runs, 2, frozenset({1, 2}))
    reports = list(train(assignment, load_data(DATA), training_device(False), TrainOptions()))
    epochs = frames(outcome)[1].set_index(["run_id", "epoch"])
    for row in (row for report in reports for row in report.rows):
        recorded = epochs.loc[(row.run_id, row.epoch)]
        for column in ("train_loss", "train_acc", "val_loss", "val_acc", "test_loss", "test_acc", "lr"):
            assert recorded[column] == getattr(row, column), column


def test_more_epochs_extend_what_does_not_depend_on_them(trained: tuple[Outcome, str], tmp_path: Path) -> None:
    """Four constant-rate runs continue to epoch 3; the four cosine runs become new runs, and the old ones are kept.

    They do not start again: epochs 1 and 2 are still those of the first attempt.
    """
    outcome, _ = trained
    shutil.copytree(outcome.folder.path, tmp_path / "tiny")
    before = frames(outcome)[1]
    trained_by = attempts(outcome)
    outcome, _ = run(spec(epochs=3), tmp_path)
    runs, _ = frames(outcome)
    assert len(runs) == 8
    assert outcome.all_done
    kept = before[before["scheduler"] == "none"]["run_id"].unique()
    assert set(kept) < set(runs["run_id"])
    assert len(set(before["run_id"]) & set(runs["run_id"])) == len(kept) == 4
    now_by = attempts(outcome)
    assert {key: now_by[key] for key in trained_by} == trained_by
    for run_id in kept:
        assert now_by[run_id, 1] == now_by[run_id, 2] != now_by[run_id, 3]
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        assert ledger.read("SELECT COUNT(*) FROM runs")[0].rows == [(12,)]


def test_a_trial_that_raises_is_retried_and_then_failed_while_the_others_continue(tmp_path: Path) -> None:
    text = f"""
data = "{DATA}"
epochs = 1
seeds = 1
[resources]
pack = 1
retries = 1
[[configurations]]
optimizer = [{{name = "tests.sweep.broken_optimizer:Broken", lr = 0.1}}, {{name = "SGD", lr = 0.1}}]
"""
    outcome, said = run(spec(text, "broken"), tmp_path)
    runs, _ = frames(outcome)
    assert list(runs["status"]) == ["failed", "done"]
    assert runs["error"][0] == "ArithmeticError: no such step"
    assert "ArithmeticError: no such step" in said
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        assert ledger.read("SELECT attempts FROM runs ORDER BY ordinal")[0].rows == [(2,), (1,)]
        ((pack_id,),) = ledger.read("SELECT pack_id FROM runs WHERE state = 'failed'")[0].rows
    log = outcome.folder.pack_log(pack_id)
    assert str(log) in said
    assert 'raise ArithmeticError("no such step")' in log.read_text()


def test_a_failure_stays_until_a_retry_is_requested(tmp_path: Path) -> None:
    text = f"""
data = "{DATA}"
epochs = 1
seeds = 1
[resources]
retries = 0
[[configurations]]
optimizer = {{name = "tests.sweep.broken_optimizer:BreaksOnce", lr = 0.1, marker = "{tmp_path / "marker"}"}}
"""
    outcome, _ = run(spec(text, "once"), tmp_path)
    assert list(frames(outcome)[0]["status"]) == ["failed"]
    outcome, said = run(spec(text, "once"), tmp_path)
    assert list(frames(outcome)[0]["status"]) == ["failed"]
    assert not outcome.all_done
    assert "0 done before, nothing to train" in said
    assert f"1 failed before; to retry: sweep resume once --retry-failed --runs-dir {tmp_path}" in said
    outcome, said = run(spec(text, "once"), tmp_path, retry_failed=True)
    assert list(frames(outcome)[0]["status"]) == ["done"]
    assert "failed before" not in said


def test_a_diverging_run_is_a_result(tmp_path: Path) -> None:
    text = f"""
data = "{DATA}"
epochs = 2
seeds = 1
[resources]
pack = 2
[[configurations]]
optimizer = {{name = "SGD", lr = [0.05, 1e30]}}
"""
    outcome, said = run(spec(text, "wild"), tmp_path)
    runs, _ = frames(outcome)
    assert list(runs["status"]) == ["done", "diverged"]
    assert list(runs["diverged_epoch"].fillna(0)) == [0, 1]
    assert outcome.all_done
    assert "diverged: SGD lr=1e+30, seed 0 in epoch 1" in said


@pytest.mark.slow
@pytest.mark.ray
def test_a_quarter_of_a_gpu_places_four_trials_on_it_and_never_five(ray: Any, tmp_path: Path) -> None:
    text = f"""
data = "{DATA}"
epochs = 3
seeds = 6
[resources]
pack = 1
gpus_per_trial = 0.25
cpus_per_trial = 0.1
[[configurations]]
optimizer = {{name = "SGD", lr = 0.05}}
"""
    outcome, _ = run(spec(text, "fractions"), tmp_path, ray=True)
    assert outcome.all_done
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        (answer,) = ledger.read("SELECT gpus, started, ended FROM attempts")
    assert len(answer.rows) == 6
    assert {gpus for gpus, _, _ in answer.rows} == {"0"}
    assert max(sum(start <= moment < end for _, start, end in answer.rows) for _, moment, _ in answer.rows) <= 4


@pytest.mark.ray
def test_what_the_cluster_could_never_place_is_refused_in_one_line(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"gpus_per_trial: asked 2 GPU a trial, the cluster has 1"):
        run(spec(**{"resources.gpus_per_trial": 2}), tmp_path, ray=True)


@pytest.mark.slow
@pytest.mark.ray
def test_a_share_is_probed_only_where_torch_finds_a_gpu_and_kept_for_a_resume(ray: Any, tmp_path: Path) -> None:
    """Ray's GPUs here are only numbers. A refusal leaves nothing; with a recorded share there is no second probe."""
    asked = {"resources.gpus_per_trial": "auto"}
    with pytest.raises(SpecError, match=r"gpus_per_trial: 'auto', but PyTorch finds no GPU"):
        run(spec(name="shared", **asked), tmp_path, ray=True)
    assert not (tmp_path / "shared").exists()
    folder = SweepFolder(tmp_path, "shared")
    folder.create()
    with Ledger.create_or_open(folder.ledger) as ledger:
        ledger.keep_gpu_share({"runs": 100, "share": 0.25})
    outcome, _ = run(spec(name="shared", epochs=1, **asked), tmp_path, ray=True)
    assert outcome.all_done
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        assert {gpus for (gpus,) in ledger.rows("SELECT gpus FROM attempts WHERE ended IS NOT NULL", {})} == {"0"}
    assert 'gpus_per_trial = "auto"' in outcome.folder.spec.read_text()


@pytest.mark.ray
def test_a_cluster_without_a_gpu_has_no_share_of_one(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray reports its nodes here without their GPU."""
    nodes = alive_nodes()
    assert [node["Resources"].pop("GPU") for node in nodes] == [1]
    monkeypatch.setattr(sweep.execution.ray.nodes, "alive_nodes", lambda: nodes)
    with pytest.raises(SpecError, match=r"resources\.gpus_per_trial: asked 'auto', the cluster has 0 GPU; 0 "):
        run(spec(**{"resources.gpus_per_trial": "auto"}), tmp_path, ray=True)
    assert not list(tmp_path.iterdir())
