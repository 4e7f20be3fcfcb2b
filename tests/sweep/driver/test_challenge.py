"""A published benchmark: written, compared with, and one of its runs trained again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from results.reports.baseline import (
    FACTS,
    RUNS,
    check_comparable,
    prediction_interval,
    read_baselines,
    write_baseline,
)
from results.reports.baseline import (
    SPEC as SPEC_FILE,
)
from results.reports.received import keep_received, load_with_received
from search_spaces import Configuration
from search_spaces.errors import DataError, SpecError, SweepFolderError, UnknownNameError
from search_spaces.run import TRAINING_VERSION, Protocol, Run
from sweep.driver.against import against_lines
from sweep.driver.challenge import OTHER, SAME, WITHIN, challenge
from sweep.driver.driver import Outcome
from sweep.folder.paths import SweepFolder
from tests.results.ledger_sweeps import ADAM, TunedMethod, climb, write_benchmark, write_ledger
from tests.results.tables.test_benchmark_lint import SPEC
from tests.sweep.driver.test_benchmark import ADAM as ADAM_SPACE
from tests.sweep.driver.test_benchmark import HEAD, SGD, benchmark, spec
from tests.sweep.sweeps import call

DESIGN = SPEC.replace("[[methods]]", "tuning_epochs = 4\n[[methods]]", 1)
DATA = "synthetic:n_train=200,n_test=100,seed=0"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    found, _ = benchmark(spec(**{"benchmark.budget": 1, "benchmark.evaluation_seeds": 3}), tmp_path_factory.mktemp("b"))
    assert found is not None
    return found


@pytest.fixture
def published(outcome: Outcome, tmp_path: Path) -> Path:
    write_baseline(outcome.folder.ledger, tmp_path / "mine")
    return tmp_path / "mine"


def changed(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame], file: str = RUNS) -> None:
    change(pd.read_parquet(folder / file)).to_parquet(folder / file)


def test_a_baseline_has_every_run_and_point_with_its_measurements(outcome: Outcome, published: Path) -> None:
    (found,) = read_baselines(str(published))
    assert found.runs["phase"].value_counts()[["evaluation", "untuned"]].to_dict() == {"evaluation": 6, "untuned": 6}
    tuning = found.runs[found.runs["phase"] == "tuning"]
    assert tuning["test_acc"].isna().all()
    assert found.facts["training_version"] == TRAINING_VERSION
    assert (found.facts["epochs"], found.facts["tuning_epochs"]) == (3, 2)
    assert len(json.dumps(found.facts)) < 5000


def test_a_received_baseline_calls_no_function_that_its_spec_does_not_list(published: Path) -> None:
    """``pip`` is installed in every environment, and the run has the id of this configuration."""
    facts = json.loads((published / FACTS).read_text())
    schedule = {"name": "LambdaLR", "lr_lambda": "pip:main"}

    def hostile(runs: pd.DataFrame) -> pd.DataFrame:
        row = runs[runs["phase"] == "evaluation"].iloc[:1].copy()
        table = json.loads(row["configuration"].iloc[0]) | {"scheduler": schedule}
        run = Run(Configuration.from_dict(table), int(row["seed"].iloc[0]), Protocol.from_dict(facts["protocol"]),
                  facts["data"])  # fmt: skip
        return row.assign(run_id=run.run_id, configuration=json.dumps(table), members=json.dumps([run.run_id]))

    changed(published, hostile)
    with pytest.raises(SpecError, match=r"lr_lambda.*'pip:main' .*pip is not listed"):
        challenge(str(published), DATA)


def test_a_changed_run_of_a_baseline_is_refused_and_nothing_is_trained(published: Path) -> None:
    changed(published, lambda runs: runs.assign(seed=runs["seed"] + 1))
    said: list[str] = []
    with pytest.raises(SpecError, match="that of another run"):
        challenge(str(published), DATA, said.append)
    assert not said


def test_a_baseline_without_a_place_is_one_line(outcome: Outcome, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SweepFolderError, match="cannot be written"):
        write_baseline(outcome.folder.ledger, tmp_path / "file")


def test_a_sweep_that_is_no_benchmark_is_no_baseline(tmp_path: Path) -> None:
    write_ledger(tmp_path / "ledger.sqlite", {ADAM: [climb(20)]})
    with pytest.raises(SweepFolderError, match="benchmark"):
        write_baseline(tmp_path / "ledger.sqlite", tmp_path / "out")
    with pytest.raises(UnknownNameError, match="baseline 'nobody'"):
        read_baselines("nobody")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("dropout", 0.5, "dropout: 0.3.*0.5"), ("data", "other", "data: .*other"), ("epochs", 9, "epochs: 3.*9"),
     ("training_version", 0, "training_version: .*0")],
)  # fmt: skip
def test_another_protocol_data_length_or_version_is_refused_with_both_values(
    published: Path, key: str, value: object, words: str
) -> None:
    facts = json.loads((published / FACTS).read_text())
    check_comparable(read_baselines(str(published))[0], facts["protocol"], facts["data"], 3)
    other = json.loads(json.dumps(facts))
    (other["protocol"] if key in facts["protocol"] else other)[key] = value
    (published / FACTS).write_text(json.dumps(other))
    with pytest.raises(SpecError, match=words):
        check_comparable(read_baselines(str(published))[0], facts["protocol"], facts["data"], 3)


def test_the_published_methods_are_beside_the_best_one_here(tmp_path: Path) -> None:
    """The published accuracies are 2 pp lower, so the best method is 2 pp above the same one there."""
    finals = {"a": [33.0, 33.5, 33.1], "b": [34.0, 34.6, 34.1]}
    points = [[[30.0], [31.0]]]
    write_benchmark(tmp_path / "ledger.sqlite", {k: TunedMethod(points, [v]) for k, v in finals.items()}, spec=DESIGN)
    write_baseline(tmp_path / "ledger.sqlite", tmp_path / "mine")
    lower = {key: TunedMethod(points, [[value + 2 for value in values]]) for key, values in finals.items()}
    folder = SweepFolder(tmp_path, "own")
    folder.create()
    write_benchmark(folder.ledger, lower, spec=DESIGN)
    keep_received(read_baselines(str(tmp_path / "mine")), folder.path)
    best, other = against_lines(folder)
    assert best.startswith("b (mine): test 34.2")
    assert "; b − this: 2.00 (all 3 pairs equal) pp, 3 pairs" in best
    assert "; b − this: 3.03" in other


def test_a_published_run_is_trained_again_to_the_same_bits(published: Path) -> None:
    found = challenge(str(published), DATA)
    assert found.verdict == SAME
    assert found.row["phase"] == "evaluation"
    assert SAME in found.sentence()


@pytest.mark.parametrize(("shift", "verdict"), [(1e-9, WITHIN), (90.0, OTHER)])
def test_a_published_value_that_differs_is_within_its_interval_or_not(
    published: Path, shift: float, verdict: str
) -> None:
    """The seeds' accuracies are replaced by 0, 1 and 2 % above the shift."""

    def change(runs: pd.DataFrame) -> pd.DataFrame:
        return runs.assign(test_acc=runs["seed"].mod(10).astype(float) + shift)

    changed(published, change)
    found = challenge(str(published), DATA)
    assert found.verdict == verdict
    assert found.holds == (verdict == WITHIN)


def test_other_data_are_refused(published: Path) -> None:
    with pytest.raises(SpecError, match="data"):
        challenge(str(published), "synthetic:n_train=200,n_test=100,seed=1")


@pytest.mark.parametrize(
    ("key", "words"), [('labels = "coarse"', "labels = 'coarse'"), ("max_images = 250", "300 images")]
)
def test_labels_and_the_largest_number_of_images_are_those_of_the_baseline(
    published: Path, key: str, words: str
) -> None:
    """The data have 200 training and 100 test images, and one kind of labels."""
    before = (published / SPEC_FILE).read_text().splitlines()
    kept = [line for line in before if not line.startswith(("labels", "max_images"))]
    (published / SPEC_FILE).write_text("\n".join([key, *kept]))
    said: list[str] = []
    with pytest.raises(DataError, match=words):
        challenge(str(published), DATA, said.append)
    assert not said


def test_the_prediction_interval_is_that_of_the_textbook() -> None:
    """n = 3, mean 2, SD 1, t(0.975, 2) = 4.3027: 2 ± 4.3027·√(4/3)."""
    assert prediction_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.96830, 2 + 4.96830), abs=1e-4)


def test_a_baseline_and_its_challenge_from_the_command_line(
    outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(outcome.folder.path, tmp_path / "runs" / "tiny")
    assert call(["baseline", "tiny", "out"], tmp_path, monkeypatch, capfd).returncode == 0
    refused = call(["challenge", "nobody"], tmp_path, monkeypatch, capfd)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "nobody" in refused.stderr


def test_against_another_protocol_is_one_line_and_exit_2_before_anything_is_trained(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.toml").write_text((HEAD + SGD + ADAM_SPACE).replace("batch_size = 50", "batch_size = 25"))
    words = ["benchmark", "tiny.toml", "--in-process", "--against", published]
    ended = call(words, tmp_path, monkeypatch, capfd)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert "batch_size: 25" in ended.stderr
    assert "50" in ended.stderr
    assert not (tmp_path / "runs").exists()


def test_against_keeps_the_baseline_in_the_folder_and_prints_its_methods(
    outcome: Outcome, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The benchmark is finished, so nothing is trained. No method learned, so a note is printed in place of lines."""
    shutil.copytree(outcome.folder.path, tmp_path / "runs" / "tiny")
    text = HEAD.replace("budget = 2", "budget = 1").replace("evaluation_seeds = 2", "evaluation_seeds = 3")
    (tmp_path / "tiny.toml").write_text(text + SGD + ADAM_SPACE)
    monkeypatch.setattr("sweep.driver.driver.train_packs", lambda *_: pytest.fail("trains"))
    monkeypatch.setattr("sweep.driver.outputs.make_outputs", lambda folder, *_: folder.report)
    words = ["benchmark", "tiny.toml", "--in-process", "--against", published]
    ended = call(words, tmp_path, monkeypatch, capfd)
    assert ended.returncode == 0, ended.stderr
    assert "Received from the published benchmark mine" in ended.stdout
    found = load_with_received(tmp_path / "runs" / "tiny" / "ledger.sqlite").benchmark
    assert found is not None
    assert [method.name for method in found.received] == ["SGD (mine)", "Adam (mine)"]
