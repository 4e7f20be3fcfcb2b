"""The tables of a benchmark: methods, all pairs, tuning curves, sensitivity, and ranks over studies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from results.ledger.arrays import SweepData
from results.ledger.benchmark import Benchmark, Method
from results.ledger.configuration_runs import Floats
from results.metrics import convergence
from results.metrics.comparison import TOO_FEW
from results.metrics.intervals import Estimate, sd_chi2_interval
from results.metrics.tuning import Crossing, crossings, mean_ranks, sensitivity, tuning_band, tuning_curve
from results.tables.benchmark_lint import diverged_share
from results.tables.comparison import COMPARISON_COLUMNS, PAIRS, SPLIT_NAMES, comparison_values, notes_on_tests
from results.tables.standings import (
    TOO_FEW_STUDIES,
    Pair,
    Standings,
    evaluation_mean,
    received_standings,
    seed_means,
    standings,
)
from results.tables.summary import target_note, to_target
from results.tables.table import Column, Row, Table, Value
from search_spaces.plain_text import counted

METHOD = Column("method", "Method")
ORIGIN = Column("origin", "Received from")
TUNED = Column("tuned", "Tuned", "%")
BAND_NOTE = (
    "Band: 95 % interval of the median best of k points, for any distribution. It has no upper limit where k is above "
    "about a fifth of the points: few points do not show how much better others can be."
)
P_BETTER = Column("p_better", "P(best better)", "%", decimals=0, of="pairs")


def benchmark_table(sweep: SweepData) -> Table | None:
    """One row per method, the best first: tuned and untuned accuracy, and the difference from the best method."""
    benchmark = sweep.benchmark
    if benchmark is None:
        return None
    found = standings(sweep)
    ranked = list(found.methods) if found else []
    others = [method for method in benchmark.methods if all(method is not one for one in ranked)]
    rows = [
        Row(_row(sweep, benchmark, method, found), (*method.run_ids, *_untuned_ids(method)))
        for method in [*ranked, *others]
    ]
    received = received_standings(sweep, found) if found else None
    if received is not None:
        rows += [Row(_row(sweep, benchmark, m, received), m.run_ids) for m in received.methods if m.origin]
    split = found.split if found else "val"
    columns = (
        METHOD, *([ORIGIN] if received else []), Column("chosen", "Chosen values"), TUNED,
        Column("tuned_val", "Tuned, validation", "%", where="files"),
        Column("runs", "Runs", where="text"), Column("n_done", "Runs with a result", where="files"),
        Column("n_planned", "Planned runs", where="files"), Column("n_studies", "Studies", where="files"),
        Column("untuned", "Untuned", "%"), Column("difference", "Best − method", "pp", of="pairs"), P_BETTER,
        Column("p_value", "p", decimals=3, least=0.001, where="files"),
        Column("p_holm", "p (Holm)", decimals=3, least=0.001), Column("verdict", "Verdict on the best"),
        to_target(sweep), Column("hits", "Hits", where="text"), Column("seed_sd", "Seed SD", "pp"),
        Column("diverged_in_tuning", "Diverged in tuning", "%", decimals=0),
        Column("tuning_run_epochs", "Cost of tuning", "run-epochs", decimals=0),
        Column("run_epochs", "Cost in all", "run-epochs", decimals=0),
    )  # fmt: skip
    return Table(
        "benchmark",
        f"Benchmark {sweep.name}: {SPLIT_NAMES[split]} accuracy of each method's best point under new seeds",
        columns,
        rows,
        [*_protocol_notes(benchmark, found), target_note(sweep), *benchmark.notes, *sweep.caveats()],
    )


def _row(sweep: SweepData, benchmark: Benchmark, method: Method, found: Standings | None) -> dict[str, Value]:
    done = sum(runs.n_done for runs in method.evaluations)
    planned = sum(len(s.evaluation.run_ids) for s in method.studies if s.evaluation is not None)
    tuning = sum(point.run_epochs for point in method.points)
    values: dict[str, Value] = {
        "method": method.name,
        "origin": method.origin or None,
        "chosen": chosen_text(method),
        "runs": f"{done} of {planned}",
        "n_done": done,
        "n_planned": planned,
        "n_studies": len(method.evaluated),
        "diverged_in_tuning": 100 * diverged_share(method) if method.points else None,
        "tuning_run_epochs": tuning,
        "run_epochs": tuning + benchmark.epochs * (planned + len(_untuned_ids(method))),
    }
    if found is None or all(method is not one for one in found.methods):
        return values
    values["tuned"] = evaluation_mean(method, found.split)
    values["tuned_val"] = evaluation_mean(method, "val")
    if method.untuned is not None and method.untuned.counted.any():
        values["untuned"] = method.untuned.mean(found.split)
    values |= _speed(sweep, method)
    values["seed_sd"] = _seed_sd(method)
    if method is not found.best:
        pair, adjusted, words = found.of_best(method)
        cells = _comparison_cells(found, pair, adjusted, words)
        values |= {key: cells.get(key) for key in ("difference", "p_value", "p_holm", "verdict")}
        values["p_better"] = pair.probability
    return values


def _comparison_cells(found: Standings, pair: Pair, adjusted: float, words: str) -> dict[str, Value]:
    as_seeds = TOO_FEW if words == TOO_FEW_STUDIES else words
    return {**comparison_values(pair.comparison, adjusted, len(found.pairs), as_seeds), "verdict": words}


def _untuned_ids(method: Method) -> tuple[str, ...]:
    return method.untuned.run_ids if method.untuned is not None else ()


def _speed(sweep: SweepData, method: Method) -> dict[str, Value]:
    """Return the median epochs to the target over all evaluation runs, and the runs that reach it."""
    if not np.isfinite(sweep.target):
        return {}
    times = np.concatenate(
        [
            convergence.epochs_to_target(runs.accuracy(), sweep.target, diverged=runs.diverged)
            for runs in method.evaluations
        ]
    )
    return {
        "epochs_to_target": convergence.median_with_misses(times),
        "hits": f"{convergence.hits(times)} of {len(times)}",
    }


def _seed_sd(method: Method) -> Value:
    """Return the SD over seeds on validation; of several studies, pooled within studies, without an interval."""
    runs = method.evaluations
    if len(runs) == 1:
        sd = sd_chi2_interval(runs[0].final)
        return sd if runs[0].trained.all() else Estimate(sd.value, np.nan, np.nan, sd.n)
    squares = sum(float(((one.final - one.final.mean()) ** 2).sum()) for one in runs)
    freedom = sum(len(one.final) - 1 for one in runs)
    return float(np.sqrt(squares / freedom)) if freedom > 0 else None


def chosen_text(method: Method) -> str | None:
    """Return the selected values of the hyperparameters, by study where several differ."""
    texts = {}
    for study in method.studies:
        if study.selected is not None:
            values = method.chosen(study.selected.runs.configuration)
            texts[study.number] = " ".join(f"{_short(name)}={_number(value)}" for name, value in values.items())
    if len(set(texts.values())) <= 1:
        return next(iter(texts.values()), None)
    return "; ".join(f"study {number}: {text}" for number, text in texts.items())


def _short(name: str) -> str:
    return name.removeprefix("optimizer.").removeprefix("scheduler.")


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _protocol_notes(benchmark: Benchmark, found: Standings | None) -> list[str]:
    points = {len(study.points) for method in benchmark.methods for study in method.studies}
    seeds = {len(point.runs.run_ids) for method in benchmark.methods for point in method.points}
    spent = f"{counted(max(points), 'point')} per method" if points else "No tuning"
    notes = [
        f"Tuning: {spent}, {counted(max(seeds, default=0), 'seed')} each, judged on validation only. "
        f"Evaluation: the best point of each method for {counted(benchmark.epochs, 'epoch')} under new seeds."
    ]
    if found is None:
        return [*notes, "No method has a result in the evaluation yet, or none learned more than chance."]
    if found.several_studies:
        notes.append(
            f"{counted(len(benchmark.studies), 'study').replace('studys', 'studies')}: tuned accuracy and differences "
            "are means of the study means m_s, with the interval mean ± t(97.5 %, S − 1)·√(SD²(m)/S). It contains the "
            "variance of the tuning (Bouthillier et al. 2021)."
        )
    else:
        notes.append("One study: the intervals contain the variance of the seeds, not that of the tuning.")
    notes += [
        f"The best method is the one with the highest mean validation accuracy in the evaluation: {found.best.name}. "
        "The p values are corrected for all pairs of methods, so this choice does not favour it; the intervals of the "
        "differences are those of single pairs.",
        "P(best better): the share of seeds under which the best method is better, a tie counts ½, with the exact "
        "interval of Clopper and Pearson.",
        *_notes_on_tests(found),
    ]
    return notes


def _notes_on_tests(found: Standings) -> list[str]:
    comparisons = [pair.comparison for pair in found.pairs]
    if found.several_studies:
        return notes_on_tests(comparisons, found.level, "means of a study", "studies")
    return notes_on_tests(comparisons, found.level)


def pairs_table(sweep: SweepData) -> Table | None:
    """All pairs of methods: difference, test, corrected p, verdict, equivalence and the seeds needed."""
    found = standings(sweep)
    if found is None or not found.pairs:
        return None
    rows = [*_pair_rows(found), *_pair_rows(received_standings(sweep, found))]
    better = Column("p_better", "P(first better)", "%", decimals=0, of="pairs")
    unit = "study means" if found.several_studies else "runs"
    return Table(
        "benchmark_pairs",
        f"All pairs of methods of {sweep.name}: {SPLIT_NAMES[found.split]} accuracy, pairs of {unit} under equal seeds",
        (METHOD, Column("other", "Compared with"), PAIRS, better, *COMPARISON_COLUMNS),
        rows,
        [
            "Positive difference: the first method is better.",
            *_notes_on_tests(found),
            *(sweep.benchmark.notes if sweep.benchmark else ()),
            *sweep.caveats(),
        ],
    )


def _pair_rows(found: Standings | None) -> list[Row]:
    if found is None:
        return []
    rows = []
    for place, pair in enumerate(found.pairs):
        cells = _comparison_cells(found, pair, found.adjusted[place], found.verdict(place))
        names: dict[str, Value] = {"method": pair.first.name, "other": pair.second.name, "p_better": pair.probability}
        rows.append(Row(names | cells, pair.run_ids))
    return rows


def curves_of(benchmark: Benchmark) -> dict[str, tuple[Floats, Floats, Floats, Method]]:
    """Return the tuning curve of each method with its band: ``([k], [k], [k])`` up to the points of one study."""
    found = {}
    for method in benchmark.shown:
        scores = np.array([point.score for point in method.points])
        scores = scores[np.isfinite(scores)]
        length = min(max((len(study.points) for study in method.studies), default=0), len(scores))
        if length:
            low, high = tuning_band(scores)
            found[method.name] = (tuning_curve(scores)[:length], low[:length], high[:length], method)
    return found


def tuning_curve_table(sweep: SweepData) -> Table | None:
    """Expected best validation accuracy by points spent: one row per method and number of points."""
    if sweep.benchmark is None:
        return None
    curves = curves_of(sweep.benchmark)
    rows = []
    for name, (curve, low, high, method) in curves.items():
        cost = float(np.mean([point.run_epochs for point in method.points]))
        rows += [
            Row({"method": name, "points": k + 1, "n_points": len(method.points), "run_epochs": cost * (k + 1),
                 "expected_best": float(curve[k]), "low": float(low[k]), "high": float(high[k])},
                tuple(run_id for point in method.points for run_id in point.runs.counted_ids))
            for k in range(len(curve))
        ]  # fmt: skip
    if not rows:
        return None
    return Table(
        "tuning_curve",
        f"Expected best validation accuracy of {sweep.name} by points spent on tuning",
        (
            METHOD, Column("points", "Points spent"), Column("run_epochs", "Cost", "run-epochs", decimals=0),
            Column("n_points", "Points of the method", where="files"),
            Column("expected_best", "Expected best val. acc.", "%"),
            Column("low", "Median best at least", "%", infinite="no limit"),
            Column("high", "at most", "%", infinite="no limit"),
        ),
        rows,
        [
            "Expected best: the mean of the best over all subsets of k of a method's points (Lourie et al. 2023).",
            BAND_NOTE,
            *_sampling_notes(sweep.benchmark),
            *crossing_notes(sweep.benchmark),
            *sweep.benchmark.notes,
            *sweep.caveats(),
        ],
    )  # fmt: skip


def _sampling_notes(benchmark: Benchmark) -> list[str]:
    notes = []
    if benchmark.design.get("sampler") in ("tpe", "grid"):
        notes.append(
            f"The points of {benchmark.design['sampler']} are not independent, so the curve describes the same points "
            "in a random order."
        )
    if any(point.stopped for method in benchmark.methods for point in method.points):
        notes.append("A point that was stopped early has the accuracy of its last rung.")
    return notes


def crossing_notes(benchmark: Benchmark) -> list[str]:
    """Return one sentence on which method is expected to be best with few and with many points."""
    curves = {name: curve for name, (curve, *_) in curves_of(benchmark).items()}
    if len(curves) < 2:
        return []
    found: list[Crossing] = crossings(curves)
    if not found:
        return ["The curves do not cross: their order does not depend on the budget."]
    named = "; ".join(f"{c.after} passes {c.before} at {counted(c.points, 'point')}" for c in found)
    return [f"Crossings of the curves, whose bands may overlap there: {named}."]


def sensitivity_table(sweep: SweepData) -> Table | None:
    """Effect of each hyperparameter in tuning: one row per method and hyperparameter."""
    if sweep.benchmark is None:
        return None
    rows = []
    for method in sweep.benchmark.shown:
        scores = np.array([point.score for point in method.points])
        for name, values in method.hyperparameters.items():
            cells = _sensitivity(values, scores)
            if cells:
                rows.append(Row({"method": method.name, "hyperparameter": _short(name), **cells}))
    if not rows:
        return None
    return Table(
        "sensitivity",
        f"Sensitivity of the validation accuracy to each hyperparameter in the tuning of {sweep.name}",
        (
            METHOD, Column("hyperparameter", "Hyperparameter"), Column("points", "Points"),
            Column("effect", "Range of the bin means", "pp", decimals=1),
            Column("share", "Share of the variance", "%", decimals=0),
            Column("share_by_chance", "Share by chance", "%", decimals=0),
            Column("spearman", "Spearman's ρ"), Column("best_low", "Best bin from", general=True),
            Column("best_high", "to", general=True),
        ),
        rows,
        [
            "Points are sorted into at most three bins of equal size by the value. Share of the variance: η² of a "
            "one-way analysis of variance of the bins (Fisher 1925); without any effect, its mean is the share by "
            "chance. ρ is near 0 where the best value is in the middle of the range.",
            *sweep.benchmark.notes,
            *sweep.caveats(),
        ],
    )  # fmt: skip


def _sensitivity(values: list[Any], scores: Floats) -> Mapping[str, Value]:
    numeric = all(isinstance(value, int | float) for value in values)
    codes = {text: code for code, text in enumerate(sorted({str(value) for value in values}))}
    column = np.array([float(value) if numeric else float(codes[str(value)]) for value in values])
    found = sensitivity(column, scores)
    if found is None:
        return {}
    return {
        "points": found.n,
        "effect": found.effect,
        "share": 100 * found.share,
        "share_by_chance": 100 * found.share_by_chance,
        "spearman": found.spearman if numeric else None,
        "best_low": found.best[0] if numeric else None,
        "best_high": found.best[1] if numeric else None,
    }


def ranks_table(sweep: SweepData) -> Table | None:
    """Rank of each method by validation accuracy, with the mean over studies; None without two evaluated methods."""
    found = standings(sweep)
    benchmark = sweep.benchmark
    if benchmark is None or found is None or len(found.methods) < 2:
        return None
    means = [seed_means(benchmark, method, "val") for method in found.methods]
    complete = {len(column) for column in means} == {len(benchmark.studies)}
    if not complete:
        return None
    estimates = mean_ranks(np.array(means).T)
    firsts = np.argmax(np.array(means), axis=0)
    rows = [
        Row({"method": method.name, "mean_rank": rank, "first": int((firsts == place).sum()),
             "studies": len(benchmark.studies)}, method.run_ids)
        for place, (method, rank) in enumerate(zip(found.methods, estimates, strict=True))
    ]  # fmt: skip
    return Table(
        "ranks",
        f"Ranks of the methods of {sweep.name} by mean validation accuracy in the evaluation of each study",
        (
            METHOD, Column("mean_rank", "Mean rank", of="studies"), Column("first", "Studies in which it is first"),
            Column("studies", "Studies"),
        ),
        rows,
        ["Rank 1 has the highest accuracy; ties share the mean rank. The interval is Student's t over the studies.",
         *sweep.caveats()],
    )  # fmt: skip


BENCHMARK_TABLES = {
    "benchmark": benchmark_table,
    "benchmark_pairs": pairs_table,
    "tuning_curve": tuning_curve_table,
    "sensitivity": sensitivity_table,
    "ranks": ranks_table,
}
"""Table → the function that makes it; None for a sweep that is no benchmark."""
