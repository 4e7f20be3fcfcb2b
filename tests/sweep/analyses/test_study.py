"""The whole study by one command, and the analyses of its runs, on a small data set."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import sweep
from results.analyses.captures import load_analyses
from results.analyses.file_format import read_analysis
from search_spaces.errors import DataError, SpecError, SweepFolderError, UnknownNameError
from sweep.analyses.study import run_study
from sweep.analyses.trajectories import trace_trajectories
from sweep.driver.driver import Outcome
from tests.builders import attempt_of, row_of
from trainables.training.weight_snapshots import SavedWeights

pytestmark = pytest.mark.slow  # one study takes more than a minute

ROOT = Path(__file__).parents[3]
DATA = "synthetic:n_train=1000,n_test=100,seed=0"
ASKED = {"data": DATA, "epochs": 2, "seeds": 1}

FIGURES = {
    "sma_and_ewma", "ewma_on_gradients", "adam_loss", "adam_accuracy", "adam_train_and_test", "gradients_raw",
    "gradients_smoothed", "gradients_adapted", "gradient_stages", "losses_compared", "lr_range", "scheduler_rates",
    "scheduler_accuracies", "adam_and_sgd", "momentum_and_nesterov", "activations_conv1", "activations_conv2",
    "activations_all", "accuracies_compared", "trajectory_sgd", "trajectory_momentum", "trajectory_nesterov",
    "trajectory_adam", "trajectories",
}  # fmt: skip
"""The study's twelve, those that its repository adds, and those that ours does."""

NAMED = {"trajectory-SGD-lr-0.01-momentum-0.9-nesterov-seed-0", "gradient_stages", "validation_accuracy", "adam_loss"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A small study: 24 runs of two epochs, and all its outputs."""
    return run_study(ASKED, tmp_path_factory.mktemp("runs"), Console(file=io.StringIO()), in_process=True)


def whole(outcome: Outcome) -> sweep.Sweep:
    return sweep.load(outcome.folder.path)


def adam(outcome: Outcome) -> str:
    return str(whole(outcome).runs.query("optimizer == 'Adam'")["run_id"].iloc[0])


def test_the_study_writes_every_figure_every_table_and_the_article(study: Outcome) -> None:
    folder = study.folder
    assert study.all_done
    assert {path.stem for path in folder.article_figures.glob("*.png")} == FIGURES
    assert {path.stem for path in folder.figures.glob("*.png")} >= NAMED - {"adam_loss"}
    tables = {path.stem for path in folder.tables.glob("*.md")}
    assert tables >= {
        "convergence", "stability", "schedulers", "adam", "gradient_ewma", "gradient_stages", "equivalent_windows",
        "gradient_noise", "lr_range", "trajectory", "activations",
    }  # fmt: skip
    text = folder.article.read_text(encoding="utf-8")
    page = folder.article_page.read_text(encoding="utf-8")
    assert "not measured yet" not in text
    assert page.count("<svg") == 24
    for name in FIGURES:
        assert f"figures/article/{name}.png" in text
    assert text.count("from white noise by this filter") <= 1  # the verdict is there once
    assert "2 epochs; the study's protocol has 50" in text


@pytest.mark.slow
def test_the_study_continues_and_uses_its_own_analyses_only(study: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if its last command had ended early, and other commands had written into the folder.

    A range test is missing, and Adam's gradients are of fewer batches: these two are captured again, and nothing else.
    A second run's gradients stay out of the article. Each table, figure and page is written once.
    """
    folder, sgd = study.folder, str(whole(study).runs.query("optimizer == 'SGD'")["run_id"].iloc[0])
    article = folder.article.read_text(encoding="utf-8")
    files = sorted(folder.analyses.rglob("*.parquet"))
    lost = next(path for path in files if "lr-range" in path.parts)
    content = read_analysis(lost)
    sweep.gradients(whole(study), run=sgd, batches=5)
    sweep.gradients(whole(study), run=adam(study), batches=5)
    before = {path: path.stat().st_mtime_ns for path in files}
    lost.unlink()
    screen, written = io.StringIO(), replaced_files(monkeypatch)
    run_study(ASKED, folder.runs_dir, Console(file=screen), in_process=True)
    assert "nothing to train" in screen.getvalue()
    touched = {path for path, at in before.items() if path.stat().st_mtime_ns != at}
    expected = {path for path in files if "lr-range" in path.parts}
    assert touched == expected | {folder.analysis("gradients", f"{adam(study)}.conv1.weight")}
    again = read_analysis(lost)
    assert again.about["label"] == content.about["label"]
    for name, values in content.columns.items():
        np.testing.assert_array_equal(again.columns[name], values)
    after = folder.article.read_text(encoding="utf-8")
    assert after.partition("How to reproduce")[0] == article.partition("How to reproduce")[0]
    assert {path.stem for path in folder.figures.glob("gradient_stages*.png")} == {
        "gradient_stages-Adam-lr-0.001-seed-0", "gradient_stages-SGD-lr-0.01-seed-0",
    }  # fmt: skip
    pages = [folder.report, folder.article, folder.article_page]
    made = [path for place in (folder.tables, folder.figures) for path in place.rglob("*.*")] + pages
    assert folder.tables / "convergence.md" in made
    assert {path: written[path] for path in made if written[path] != 1} == {}
    folder.analysis("gradients", f"{sgd}.conv1.weight").unlink()


def replaced_files(monkeypatch: pytest.MonkeyPatch) -> Counter[Path]:
    """Count from now on the renames that put a file into its place."""
    written, replace = Counter[Path](), Path.replace

    def counted(path: Path, target: Path) -> Path:
        written[Path(target)] += 1
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", counted)
    return written


def test_the_study_analyses_finished_runs_of_one_seed(tmp_path: Path) -> None:
    """Under seed 0 one of the four diverged, under seed 1 one failed and under seed 2 none: those of seed 2."""
    from dataclasses import replace

    from results.ledger.arrays import load_sweep
    from results.ledger.ledger import Ledger
    from search_spaces import Protocol, Run
    from sweep.analyses.study import studied_runs
    from sweep.analyses.targets import Subjects
    from sweep.config.toml import read_spec
    from sweep.planning.plan import resolve_configurations

    spec = read_spec("optimizers", {"epochs": 1, "seeds": 3, "data": DATA})
    configurations = resolve_configurations(spec, 8)
    runs = [Run(one, seed, Protocol(), "d" * 16) for one in configurations for seed in (0, 1, 2)]
    with Ledger.create_or_open(tmp_path / "ledger.sqlite") as ledger:
        ledger.plan(runs, 1, data_name="cifar100", synthetic=False)
        sound = [run for run in runs if run not in (runs[0], runs[4])]
        ledger.record([attempt_of(runs)], [row_of(run, 1) for run in sound], {runs[0].run_id: 1})
        ledger.fail([runs[4].run_id], "no")
    subjects = Subjects(None, spec, None, tuple(runs), {}, ())  # type: ignore[arg-type]
    data = load_sweep(tmp_path / "ledger.sqlite")
    assert {name: run.seed for name, run in studied_runs(data, subjects).items()} == {
        "SGD": 2, "SGD + momentum": 2, "SGD + Nesterov": 2, "Adam": 2,
    }  # fmt: skip
    nothing = replace(data, configurations=())
    assert studied_runs(nothing, subjects) == {}


def test_weights_that_were_not_kept_are_trained_again_to_the_same_bits(study: Outcome, tmp_path: Path) -> None:
    folder, run_id = study.folder, adam(study)
    kept = SavedWeights(folder.weights)
    before = {epoch: kept.read(run_id, epoch) for epoch in kept.epochs(run_id)}
    assert sorted(before) == [0, 1, 2]
    for path in (folder.weights / run_id).iterdir():
        path.unlink()
    told = []
    trace_trajectories(folder, [run_id], grid=3, track=lambda what, done, total: told.append(what))
    assert any("trained again, none were kept" in what for what in told)
    assert not any("differ" in what for what in told)
    for epoch, weights in before.items():
        np.testing.assert_array_equal(kept.read(run_id, epoch), weights)


def test_keeping_weights_is_not_part_of_a_run(study: Outcome) -> None:
    from sweep.config.toml import read_spec
    from sweep.planning.plan import make_runs, resolve_configurations

    ids = []
    for every in (0, 1):
        spec = read_spec("optimizers", {"save_weights_every": every})
        ids.append([run.run_id for run in make_runs(spec, resolve_configurations(spec, 8), "d")])
    assert ids[0] == ids[1]


def test_activations_end_in_the_accuracy_that_the_ledger_has(study: Outcome) -> None:
    """All test images through the checkpoint: the share of correct predictions is the run's test accuracy."""
    found = sweep.activations(whole(study), adam(study), images=100)
    (maps,) = load_analyses(study.folder.analyses).subset(found.files).activations.values()
    recorded = whole(study).epochs.query(f"run_id == '{adam(study)}' and epoch == 2")["test_acc"].iloc[0]
    assert 100 * (maps.predictions == maps.labels).mean() == pytest.approx(recorded)


def test_the_api_gives_frames_and_figures(study: Outcome) -> None:
    from matplotlib.figure import Figure

    loaded = whole(study)
    assert len(loaded.runs) == 24
    assert len(loaded.epochs) == 48
    assert all(isinstance(table, pd.DataFrame) for table in loaded.tables.values())
    assert loaded.tables["convergence"].attrs["notes"][-1].startswith("2 epochs; the study's protocol has 50")
    assert all(isinstance(figure, Figure) for figure in loaded.figures.values())
    assert set(loaded.figures) >= NAMED
    assert loaded.answer == study.answer
    with pytest.raises(SweepFolderError, match=r"no sweep 'nobody' in .*: study"):
        sweep.load(study.folder.runs_dir / "nobody")


def test_mistakes_about_runs_are_one_line(study: Outcome) -> None:
    folder = study.folder
    with pytest.raises(UnknownNameError, match=r"unknown run 'zzz'"):
        sweep.activations(whole(study), "zzz")
    with pytest.raises(SpecError, match=r"--images: 101; 1 to 100 of the test images"):
        sweep.activations(whole(study), adam(study), images=101)
    with pytest.raises(SpecError, match=r"--grid: 2; 3 to 1000"):
        trace_trajectories(folder, [adam(study)], grid=2)
    with pytest.raises(SpecError, match=r"--seed: no run of seed 7 is done; the sweep's seeds are 0"):
        trace_trajectories(folder, seed=7)
    with pytest.raises(DataError, match=r"not the data that the sweep 'study' was trained on"):
        sweep.gradients(whole(study), run=adam(study), data="synthetic:n_train=1000,n_test=100,seed=1")


def test_the_error_for_a_missing_checkpoint_says_how_to_make_one(study: Outcome, tmp_path: Path) -> None:
    folder = study.folder
    aside = tmp_path / "checkpoints"
    folder.checkpoints.rename(aside)
    try:
        with pytest.raises(SweepFolderError, match=r"has no checkpoint; training makes one: sweep run .*sweep\.toml"):
            sweep.activations(whole(study), adam(study))
    finally:
        aside.rename(folder.checkpoints)
