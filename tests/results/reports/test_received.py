"""Published benchmarks: the same tables as their ledger, and their methods beside those of another benchmark."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy

from results.figures.registry import make_figures
from results.ledger.arrays import SweepData
from results.ledger.ledger import Ledger
from results.reports.baseline import EPOCHS, FACTS, baseline_of, read_folder, write_baseline
from results.reports.export import export
from results.reports.received import keep_received, load_with_received, with_received
from results.reports.registry import report_tables
from results.reports.summary import answer
from results.tables.benchmark import BENCHMARK_TABLES
from search_spaces.errors import SweepFolderError
from search_spaces.run import TRAINING_VERSION
from tests.builders import forge_checksums
from tests.results.ledger.test_damage import change
from tests.results.ledger_sweeps import TunedMethod, benchmark_of, write_benchmark
from tests.results.tables.test_benchmark import holm_by_hand
from tests.results.tables.test_benchmark_lint import SPEC

RNG = np.random.default_rng(31)
PUBLISHED = SPEC.replace("[[methods]]", "tuning_epochs = 4\n[[methods]]", 1)


def tuned(mean: float, points: int = 6, seeds: int = 8) -> TunedMethod:
    values = [float(value) for value in (mean + RNG.normal(0, 0.4, seeds)).round(2)]
    curve = [[[float(round(mean - 1 - abs(k - 2) + RNG.normal(0, 0.1), 2))] for k in range(points)]]
    return TunedMethod(curve, [values], [25.0, 26.0], [[round(value - 0.5, 2) for value in values]])


OWN = {"a": tuned(33.0), "b": tuned(34.0)}
THEIRS = {"a": tuned(33.2, points=9), "b": tuned(32.0, points=9, seeds=10)}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theirs") / "theirs"
    write_ledger(folder, THEIRS)
    write_baseline(folder / "ledger.sqlite", folder / "published")
    return folder / "published"


def write_ledger(folder: Path, methods: dict[str, TunedMethod]) -> None:
    folder.mkdir(parents=True)
    write_benchmark(folder / "ledger.sqlite", methods, spec=PUBLISHED)


@pytest.fixture
def sweep(tmp_path: Path, published: Path) -> SweepData:
    write_ledger(tmp_path / "own", OWN)
    keep_received([replace(read_folder(published), name="theirs")], tmp_path / "own")
    return load_with_received(tmp_path / "own" / "ledger.sqlite", "bench")


def test_a_published_benchmark_has_the_tables_of_its_ledger(tmp_path: Path, published: Path) -> None:
    of_ledger = report_tables(benchmark_of(tmp_path, THEIRS, spec=PUBLISHED))
    of_files = report_tables(replace(read_folder(published).sweep, name="bench"))
    assert set(of_ledger) == set(of_files)
    for name in (*BENCHMARK_TABLES, "consolidated", "convergence", "stability"):
        pd.testing.assert_frame_equal(of_ledger[name].frame(), of_files[name].frame())


def test_a_published_benchmark_names_no_folder_and_no_host(tmp_path: Path) -> None:
    spec = f'data = "/home/somebody/cifar"\n{PUBLISHED}'
    write_benchmark(tmp_path / "ledger.sqlite", THEIRS, spec=spec)
    session = {"host": "h", "command": ["sweep", "/home/somebody"], "platform": "Linux", "cpus": 2, "git_commit": "c"}
    (tmp_path / "provenance.json").write_text(json.dumps([session]))
    files = write_baseline(tmp_path / "ledger.sqlite", tmp_path / "out")
    assert not any(b"somebody" in path.read_bytes() for path in files)
    found = read_folder(tmp_path / "out")
    assert found.facts["sessions"][0]["cpus"] == 2
    assert found.spec.splitlines()[0] == 'data = "cifar100"'


def test_received_methods_change_no_number_of_the_benchmark(tmp_path: Path, sweep: SweepData) -> None:
    alone = benchmark_of(tmp_path / "alone", OWN, spec=PUBLISHED)
    assert answer(sweep) == answer(alone)
    before, after = report_tables(alone), report_tables(sweep)
    for name, table in before.items():
        own = after[name].frame().iloc[: len(table.rows)].drop(columns="origin", errors="ignore")
        plain = [frame.astype(object).where(frame.notna(), None) for frame in (own, table.frame())]
        pd.testing.assert_frame_equal(*plain)


def test_received_methods_are_marked_and_compared_under_the_common_seeds(sweep: SweepData) -> None:
    """With scipy on the designed accuracies: 8 pairs, a separate family of 2 × 2 pairs."""
    tables = report_tables(sweep)
    rows = {str(row.values["method"]): row.values for row in tables["benchmark"].rows}
    assert list(rows) == ["b", "a", "a (theirs)", "b (theirs)"]
    assert [values["origin"] for values in rows.values()] == [None, None, "theirs", "theirs"]
    pairs = [(own, other) for own in "ba" for other in "ab"]
    differences = {
        (own, other): np.array(OWN[own].tests[0]) - np.array(THEIRS[other].tests[0][:8]) for own, other in pairs
    }
    raw = [
        scipy.stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
        for d in differences.values()
    ]
    adjusted = dict(zip(pairs, holm_by_hand(raw), strict=True))
    for other in "ab":
        values: dict[str, Any] = rows[f"{other} (theirs)"]
        interval = scipy.stats.ttest_1samp(differences["b", other], 0).confidence_interval()
        assert (values["difference"].low, values["difference"].high) == pytest.approx((interval.low, interval.high))
        assert values["p_holm"] == pytest.approx(adjusted["b", other])
        assert values["tuned"].value == pytest.approx(np.mean(THEIRS[other].tests[0]))
    assert len(tables["benchmark_pairs"].rows) == 1 + 4
    assert {row.values["method"] for row in tables["tuning_curve"].rows} == set(rows)
    note = next(note for note in tables["benchmark"].notes if "theirs" in note)
    assert "36 run-epochs" in note
    assert "24" in note


def test_received_methods_are_in_both_figures_and_in_every_exported_file(sweep: SweepData, tmp_path: Path) -> None:
    figures = make_figures(sweep, only=("tuning_curves", "evaluation"))
    curves = {str(line.get_label()) for line in figures["tuning_curves"].axes[0].get_lines()}
    rows = [label.get_text() for label in figures["evaluation"].axes[0].get_yticklabels()]
    assert {"a (theirs)", "b (theirs)"} < curves
    assert rows == ["b (theirs)", "a (theirs)", "a", "b"]
    export(tmp_path / "own" / "ledger.sqlite", tmp_path / "out", ["csv"])
    for name in ("benchmark", "benchmark_pairs", "tuning_curve"):
        assert "a (theirs)" in (tmp_path / "out" / f"{name}.csv").read_text()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("batch_size", 999, "batch_size: 128.*999"), ("data", "other", "data: d+.*other"),
     ("training_version", 0, f"training_version: {TRAINING_VERSION}.*0"), ("epochs", 30, "epochs: 4.*30")],
)  # fmt: skip
def test_a_received_benchmark_that_is_not_comparable_is_a_note_with_both_values(
    key: str, value: object, words: str, tmp_path: Path, published: Path
) -> None:
    baseline = read_folder(published)
    facts = json.loads(json.dumps(baseline.facts))
    (facts["protocol"] if key in facts["protocol"] else facts)[key] = value
    sweep = benchmark_of(tmp_path, OWN, spec=PUBLISHED)
    found = report_tables(with_received(sweep, [replace(baseline, facts=facts)], TRAINING_VERSION))["benchmark"]
    assert len(found.rows) == 2
    assert pd.Series(found.notes).str.contains(f"not shown: {words}").sum() == 1


def test_a_benchmark_with_a_run_without_a_result_is_not_published(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "ledger.sqlite", OWN, spec=PUBLISHED)
    change(
        tmp_path / "ledger.sqlite", "DELETE FROM epochs WHERE epoch = 4 AND run_id IN (SELECT MIN(run_id) FROM runs)"
    )
    forge_checksums(tmp_path / "ledger.sqlite")
    with (
        Ledger.open_read_only(tmp_path / "ledger.sqlite") as ledger,
        pytest.raises(SweepFolderError, match=r"1 run of .* without a result"),
    ):
        baseline_of(ledger)


def test_a_damaged_baseline_is_one_line(tmp_path: Path, published: Path) -> None:
    for path in published.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    pd.read_parquet(tmp_path / EPOCHS).drop(columns="val_acc").to_parquet(tmp_path / EPOCHS)
    with pytest.raises(SweepFolderError, match="no baseline"):
        _ = read_folder(tmp_path).sweep
    (tmp_path / FACTS).write_text("{")
    with pytest.raises(SweepFolderError, match="no baseline"):
        read_folder(tmp_path)
