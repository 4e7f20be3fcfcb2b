"""Simulated benchmarks that check the verdicts and the bands: ``python -m benchmarks.equal_methods``.

False verdicts: how often equal methods have any verdict better, worse or trains more often, in the tables of the
benchmark, where the best method is chosen from the same runs. Coverage: how often the band of the tuning curve contains
the true median best of k points.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from results.ledger.arrays import SweepData
from results.ledger.benchmark import Benchmark, Method, Point, Study
from results.ledger.configuration_runs import CURVES, ConfigurationRuns
from results.metrics.comparison import BETTER, TRAINS_LESS, TRAINS_MORE, WORSE
from results.metrics.tuning import tuning_band
from results.tables.formats import as_markdown
from results.tables.standings import standings
from results.tables.table import Column, Row, Table
from search_spaces import Configuration

Floats = npt.NDArray[np.float64]

MEAN, SEED_SD, TUNING_SD, VAL_SD, TEST_SD = 34.0, 0.7, 0.5, 0.3, 0.2
"""In percent and pp: accuracy, SD over seeds, over tunings, and errors of the two splits."""

CHANCE, COLLAPSES = 1.0, 0.05
POINTS, POINT_MEAN, POINT_SD = 12, 30.0, 3.0
SWEEPS = 2_000
DIFFERENT = {BETTER, WORSE, TRAINS_MORE, TRAINS_LESS}


@dataclass(frozen=True)
class Case:
    """Simulated benchmarks of one kind: methods, studies, evaluation seeds, true lead of the first, runs at chance."""

    name: str
    methods: int = 2
    studies: int = 1
    seeds: int = 10
    lead: float = 0.0
    collapses: float = 0.0


CASES = (
    Case("2 equal methods, 1 study"),
    Case("6 equal methods, 1 study", methods=6),
    Case("6 equal methods, 5 % collapse", methods=6, collapses=COLLAPSES),
    Case("3 equal methods, 8 studies of 5 seeds", methods=3, studies=8, seeds=5),
    Case("2 methods, the first 1 pp better", lead=1.0),
    Case("6 methods, the first 1 pp better", methods=6, lead=1.0),
)


def runs_of(label: str, val: Floats, test: Floats, first_seed: int, lr: float) -> ConfigurationRuns:
    """Return runs of one epoch with these accuracies ``[n]`` in percent."""
    n = len(val)
    curves = {name: np.zeros((n, 1)) for name in CURVES}
    curves |= {"val_acc": val[:, None], "test_acc": test[:, None]}
    return ConfigurationRuns(
        Configuration("Adam", {"lr": lr}), label, tuple(f"{label}-{first_seed + i}" for i in range(n)),
        tuple(range(first_seed, first_seed + n)), ("done",) * n, np.full(n, np.nan), curves,
    )  # fmt: skip


def simulated(case: Case, rng: np.random.Generator) -> SweepData:
    """Return a benchmark with a point per method and study; the tuning moves the mean of a study by its own amount."""
    methods = []
    for place in range(case.methods):
        studies = []
        for number in range(1, case.studies + 1):
            tuned = rng.normal(0, TUNING_SD) if case.studies > 1 else 0.0
            true = MEAN + tuned + case.lead * (place == 0) + rng.normal(0, SEED_SD, case.seeds)
            lost = rng.random(case.seeds) < case.collapses
            val, test = (
                np.where(lost, CHANCE, true + rng.normal(0, sd, case.seeds)) for sd in (VAL_SD, TEST_SD)
            )  # fmt: skip
            name = f"method {place + 1}"
            evaluation = runs_of(name, val, test, 1000 * number, 0.001 * (place + 1))
            point = Point(0, runs_of(name, val[:1], np.full(1, np.nan), number, 0.001 * (place + 1)), 1)
            studies.append(Study(number, (point,), evaluation, 0))
        methods.append(Method(f"method {place + 1}", tuple(studies)))
    evaluations = tuple(runs for method in methods for runs in method.evaluations)
    return SweepData(
        name="simulated", epochs=1, protocol={}, data_name="cifar100", synthetic=False, devices=("cpu",), threads=(1,),
        pack_sizes=(1,), versions=({},), configurations=evaluations, benchmark=Benchmark(tuple(methods), 1, {}, {}),
    )  # fmt: skip


def different(case: Case, sweeps: int, seed: int = 0) -> float:
    """Return the share of simulated benchmarks with any verdict that two methods differ."""
    rng = np.random.default_rng([seed, CASES.index(case) if case in CASES else 99])
    found = 0
    for _ in range(sweeps):
        compared = standings(simulated(case, rng))
        assert compared is not None
        words = {compared.verdict(place) for place in range(len(compared.pairs))}
        found += bool(words & DIFFERENT)
    return found / sweeps


def band_coverage(sweeps: int, spent: Sequence[int] = (1, 3, 6, 9, 12), seed: int = 0) -> dict[int, float]:
    """Return the share of bands of 12 normal points that contain the true median best of k points, by k."""
    rng = np.random.default_rng(seed)
    true = scipy.stats.norm.ppf(0.5 ** (1 / np.array(spent)), POINT_MEAN, POINT_SD)
    inside = np.zeros(len(spent))
    for _ in range(sweeps):
        low, high = tuning_band(rng.normal(POINT_MEAN, POINT_SD, POINTS))
        places = np.array(spent) - 1
        inside += (low[places] <= true) & (true <= high[places])
    return dict(zip(spent, (inside / sweeps).tolist(), strict=True))


def simulated_table(sweeps: int) -> Table:
    """Return the table of all cases and of the coverage of the bands."""
    rows = [
        Row(
            {
                "case": case.name,
                "found": 100 * different(case, sweeps),
                "limit": "≤ 5" if not case.lead else "the higher, the better",
            }
        )
        for case in CASES
    ]
    rows += [
        Row({"case": f"band of the tuning curve of {POINTS} points, k = {k}", "found": 100 * share, "limit": "≥ 95"})
        for k, share in band_coverage(sweeps).items()
    ]
    return Table(
        "equal_methods",
        f"{sweeps} simulated benchmarks: any verdict that two methods differ, and coverage of the bands",
        (Column("case", "Case"), Column("found", "Found", "%", decimals=1), Column("limit", "Nominal", "%")),
        rows,
    )


def main() -> None:
    """Simulate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=SWEEPS)
    arguments = parser.parse_args()
    began = time.monotonic()
    print(as_markdown(simulated_table(arguments.sweeps)))
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
