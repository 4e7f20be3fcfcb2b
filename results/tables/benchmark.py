"""The tables of a benchmark: methods, all pairs, and ranks over studies."""

from __future__ import annotations

from typing import Any

import numpy as np

from results.ledger.arrays import SweepData
from results.ledger.benchmark import Benchmark, Method
from results.metrics import convergence
from results.metrics.comparison import TOO_FEW
from results.metrics.intervals import Estimate, sd_chi2_interval
from results.metrics.tuning import mean_ranks
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
from results.tables.tuning import METHOD, sensitivity_table, short_name, tuning_curve_table
from search_spaces.plain_text import counted

ORIGIN = Column("origin", "Received from")
TUNED = Column("tuned", "Tuned", "%")
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
            texts[study.number] = " ".join(f"{short_name(name)}={_number(value)}" for name, value in values.items())
    if len(set(texts.values())) <= 1:
        return next(iter(texts.values()), None)
    return "; ".join(f"study {number}: {text}" for number, text in texts.items())


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
