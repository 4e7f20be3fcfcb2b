"""`sweep export --format optuna`, read back with Optuna."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from results.ledger.ledger import Ledger
from sweep.folder.paths import SweepFolder
from tests.results.ledger_sweeps import ADAM, MOMENTUM, PLAIN, climb, write_ledger

optuna = pytest.importorskip("optuna", reason="optuna is not installed")
EPOCHS = 3


def test_a_study_has_a_trial_for_each_run_with_its_numbers(tmp_path: Path) -> None:
    """One run diverged in epoch 2 and counts as chance, one failed, one has not started."""
    from sweep.tracking.optuna_study import write_study

    folder = SweepFolder(tmp_path / "runs", "mine")
    folder.create()
    curves = {
        MOMENTUM: [climb(30, EPOCHS), climb(31, EPOCHS)],
        ADAM: [climb(20, EPOCHS), climb(20, EPOCHS)],
        PLAIN: [climb(9, EPOCHS)[:1], []],
    }
    ids = write_ledger(folder.ledger, curves, epochs=EPOCHS, diverged={(ADAM, 1): 2}, failed=[(PLAIN, 0)])
    for _ in range(2):  # an older file is replaced
        path = write_study(folder, folder.tracking)
    assert sorted(one.name for one in folder.tracking.iterdir()) == ["optuna.db"]
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{path}")
    trials = {trial.user_attrs["run_id"]: trial for trial in study.trials}
    assert set(trials) == set(ids.values())
    assert len(study.trials) == 6
    assert study.user_attrs["value"] == "final validation accuracy (%)"
    first = trials[ids[MOMENTUM, 0]]
    assert first.value == 30.0
    assert list(first.intermediate_values.values()) == pytest.approx(climb(30, EPOCHS))
    with Ledger.open_read_only(folder.ledger) as ledger:
        (rows,) = ledger.read("SELECT epoch_seconds, COALESCE(eval_seconds, 0) FROM epochs WHERE run_id = "
                              f"'{ids[MOMENTUM, 0]}'")  # fmt: skip
    assert first.duration is not None
    assert first.duration.total_seconds() == pytest.approx(sum(map(sum, rows.rows)) - rows.rows[0][1], abs=1e-3)
    assert first.params["optimizer.lr"] == 0.01
    assert (first.user_attrs["seed"], first.user_attrs["configuration"]) == (0, "SGD lr=0.01 momentum=0.9")
    assert study.best_trial.user_attrs["run_id"] == ids[MOMENTUM, 1]
    assert trials[ids[ADAM, 1]].value == 1.0
    states = [trials[ids[key]].state.name for key in ((ADAM, 0), (ADAM, 1), (PLAIN, 0), (PLAIN, 1))]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "WAITING"]
    lr = first.distributions["optimizer.lr"]
    assert (lr.low, lr.high, lr.log) == (0.001, 0.01, True)
    assert np.isclose(trials[ids[ADAM, 0]].params["optimizer.lr"], 0.001)
