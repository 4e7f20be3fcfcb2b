"""The tables of designed benchmarks, checked with scipy on the same ledger."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy

from results.ledger.ledger import Ledger
from results.ledger.phases import read_phases
from results.reports.registry import REPORT_TABLES, report_tables
from results.tables.benchmark import BENCHMARK_TABLES
from results.tables.registry import OF_CHOSEN_CONFIGURATIONS
from results.tables.standings import standings
from results.tables.table import Row, Table
from tests.results.ledger_sweeps import TunedMethod, benchmark_of

RNG = np.random.default_rng(11)


def finals(mean: float, n: int = 10) -> list[float]:
    return [float(round(value, 2)) for value in mean + RNG.normal(0, 0.5, n)]


def tuned(mean: float, *, points: int = 6, seeds: int = 10, studies: int = 1, untuned: float = 25.0) -> TunedMethod:
    """A method whose best point is the third one."""
    curve = [[[float(round(mean - 1 - abs(k - 2) + RNG.normal(0, 0.1), 2))] for k in range(points)]] * studies
    evaluation = [finals(mean, seeds) for _ in range(studies)]
    tests = [[round(value - 0.5 + float(RNG.normal(0, 0.1)), 2) for value in values] for values in evaluation]
    return TunedMethod(curve, evaluation, finals(untuned, 3), tests)


THREE = {"SGD": tuned(32.0), "momentum": tuned(34.0), "Adam": tuned(33.8)}


def row_of_method(table: Table, name: str) -> Row:
    return next(row for row in table.rows if row.values["method"] == name)


def measured(folder: Path) -> pd.DataFrame:
    """The last accuracies of the runs of each phase, read from the ledger by plain queries."""
    with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
        query = "SELECT r.run_id, seed, val_acc, test_acc FROM runs r JOIN epochs USING (run_id) WHERE epoch = 4"
        runs = pd.DataFrame(ledger.rows(query, {}), columns=["run_id", "seed", "val_acc", "test_acc"])
        return read_phases(ledger).merge(runs, on="run_id")


def test_a_benchmark_has_its_own_tables_and_not_those_of_chosen_configurations(tmp_path: Path) -> None:
    tables = report_tables(benchmark_of(tmp_path, THREE))
    assert set(BENCHMARK_TABLES) <= set(tables)
    assert not set(OF_CHOSEN_CONFIGURATIONS) & set(tables)
    assert [row.values["configuration"] for row in tables["convergence"].rows] == ["Adam", "SGD", "momentum"]


def test_the_numbers_of_the_benchmark_table_are_those_of_scipy_on_the_same_ledger(tmp_path: Path) -> None:
    table = report_tables(benchmark_of(tmp_path, THREE))["benchmark"]
    rows = measured(tmp_path)
    evaluation = rows[rows["phase"] == "evaluation"].sort_values("seed")
    wide = evaluation.pivot_table(index="seed", columns="method", values="test_acc")
    by_val = evaluation.groupby("method")["val_acc"].mean().sort_values(ascending=False)
    assert [row.values["method"] for row in table.rows] == list(by_val.index)
    best = by_val.index[0]
    pairs = list(combinations(by_val.index, 2))
    raw = [
        scipy.stats.permutation_test(
            (wide[a] - wide[b],), np.mean, permutation_type="samples", n_resamples=np.inf
        ).pvalue
        for a, b in pairs
    ]
    holm = dict(zip(pairs, holm_by_hand(raw), strict=True))
    for name in by_val.index:
        row = row_of_method(table, name).values
        mean = scipy.stats.ttest_1samp(wide[name], 0).confidence_interval()
        assert row["tuned"].value == pytest.approx(wide[name].mean())
        assert (row["tuned"].low, row["tuned"].high) == pytest.approx((mean.low, mean.high))
        assert row["seed_sd"].value == pytest.approx(evaluation[evaluation["method"] == name]["val_acc"].std())
        untuned = rows[(rows["phase"] == "untuned") & (rows["method"] == name)]["test_acc"]
        assert row["untuned"].value == pytest.approx(untuned.mean())
        assert (row["tuning_run_epochs"], row["run_epochs"]) == (6 * 4, 6 * 4 + 4 * (10 + 3))
        if name != best:
            differences = wide[best] - wide[name]
            interval = scipy.stats.ttest_1samp(differences, 0).confidence_interval()
            assert (row["difference"].low, row["difference"].high) == pytest.approx((interval.low, interval.high))
            won = scipy.stats.binomtest(int((differences > 0).sum()), 10).proportion_ci()
            assert (row["p_better"].low, row["p_better"].high) == pytest.approx((100 * won.low, 100 * won.high))
            assert row["p_holm"] == pytest.approx(holm[best, name])


def holm_by_hand(p: list[float]) -> list[float]:
    order = sorted(range(len(p)), key=p.__getitem__)
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = highest
    return adjusted


def test_the_selected_point_is_the_best_mean_and_no_diverged_one(tmp_path: Path) -> None:
    method = TunedMethod([[[30.0, 31.0], [33.0, 30.0], [36.0, None], [34.0, 29.0]]], [])
    benchmark = benchmark_of(tmp_path, {"a": method, "b": method}).benchmark
    assert benchmark is not None
    study = benchmark.methods[0].studies[0]
    assert [point.score for point in study.points] == [30.5, 31.5, 18.5, 31.5]
    assert study.selected is not None
    assert study.selected.number == 1


def test_several_studies_have_the_interval_of_their_means(tmp_path: Path) -> None:
    studies = {"a": tuned(33.0, studies=6), "b": tuned(31.0, studies=6)}
    sweep = benchmark_of(tmp_path, studies)
    rows = measured(tmp_path)
    means = rows[rows["phase"] == "evaluation"].pivot_table(index="study", columns="method", values="test_acc")
    table = report_tables(sweep)
    row = row_of_method(table["benchmark"], "a").values
    interval = scipy.stats.ttest_1samp(means["a"], 0).confidence_interval()
    assert (row["tuned"].low, row["tuned"].high) == pytest.approx((interval.low, interval.high))
    paired = scipy.stats.ttest_1samp(means["a"] - means["b"], 0).confidence_interval()
    other = row_of_method(table["benchmark"], "b").values
    assert (other["difference"].low, other["difference"].high) == pytest.approx((paired.low, paired.high))
    assert other["verdict"] == "better"
    assert other["p_holm"] == pytest.approx(2 / 2**6)
    ranks = scipy.stats.rankdata(-means.to_numpy(), axis=1).mean(axis=0)
    assert [row_of_method(table["ranks"], name).values["mean_rank"].value for name in "ab"] == ranks.tolist()


def test_few_studies_are_not_enough_whatever_the_number_of_seeds(tmp_path: Path) -> None:
    found = standings(benchmark_of(tmp_path, {"a": tuned(33.0, studies=3), "b": tuned(31.0, studies=3)}))
    assert found is not None
    assert found.verdict(0) == "too few studies"


def test_tuning_curve_and_sensitivity_are_of_the_tuning_on_validation(tmp_path: Path) -> None:
    tables = report_tables(benchmark_of(tmp_path, THREE))
    rows = measured(tmp_path)
    scores = rows[(rows["phase"] == "tuning") & (rows["method"] == "Adam")].sort_values("point")["val_acc"].to_numpy()
    curve = [row.values["expected_best"] for row in tables["tuning_curve"].rows if row.values["method"] == "Adam"]
    for k, value in enumerate(curve, start=1):
        assert value == pytest.approx(np.mean([max(subset) for subset in combinations(scores, k)]))
    row = row_of_method(tables["sensitivity"], "Adam").values
    f = scipy.stats.f_oneway(scores[:2], scores[2:4], scores[4:]).statistic
    assert row["share"] == pytest.approx(100 * 2 * f / (2 * f + 3))
    assert row["spearman"] == pytest.approx(scipy.stats.spearmanr(range(6), scores).statistic)


def test_the_test_split_changes_no_choice(tmp_path: Path) -> None:
    """Other test accuracies change the measures of the comparison, not the points, the best method or the curves."""
    worse = {name: TunedMethod(m.points, m.evaluation, m.untuned, [[20.0 - v / 2 for v in m.tests[0]]])
             for name, m in THREE.items()}  # fmt: skip
    before, after = (report_tables(benchmark_of(tmp_path / name, methods))
                     for name, methods in (("a", THREE), ("b", worse)))  # fmt: skip
    columns = ["method", "chosen", "tuned_val", "seed_sd", "epochs_to_target", "diverged_in_tuning"]
    frames = [tables["benchmark"].frame() for tables in (before, after)]
    pd.testing.assert_frame_equal(frames[0][columns], frames[1][columns])
    for name in ("tuning_curve", "sensitivity", "ranks"):
        pd.testing.assert_frame_equal(before[name].frame(), after[name].frame())


def test_every_row_names_runs_of_its_method(tmp_path: Path) -> None:
    tables = report_tables(benchmark_of(tmp_path, THREE))
    rows = measured(tmp_path)
    for name in ("benchmark", "tuning_curve", "ranks"):
        for row in tables[name].rows:
            of_method = set(rows[rows["method"] == row.values["method"]]["run_id"])
            assert set(row.run_ids) <= of_method
            assert row.run_ids


def test_the_registry_has_every_table_of_a_benchmark() -> None:
    assert set(BENCHMARK_TABLES) <= set(REPORT_TABLES)
