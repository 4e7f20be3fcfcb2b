"""The tables of the tuning of a benchmark: expected best accuracy by points spent, and sensitivity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from results.ledger.arrays import SweepData
from results.ledger.benchmark import Benchmark, Method
from results.ledger.configuration_runs import Floats
from results.metrics.tuning import Crossing, crossings, sensitivity, tuning_band, tuning_curve
from results.tables.table import Column, Row, Table, Value
from search_spaces.plain_text import counted

METHOD = Column("method", "Method")
BAND_NOTE = (
    "Band: 95 % interval of the median best of k points, for any distribution. It has no upper limit where k is above "
    "about a fifth of the points: few points do not show how much better others can be."
)


def short_name(name: str) -> str:
    """Return the name of a hyperparameter without that of its table."""
    return name.removeprefix("optimizer.").removeprefix("scheduler.")


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
                rows.append(Row({"method": method.name, "hyperparameter": short_name(name), **cells}))
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
