"""Simulated sweeps that check the statistics of the tables: ``python -m benchmarks.statistics``.

Coverage: how often the printed 95 % interval contains the true mean. False "better": how often a comparison of
configurations that are equal has a verdict, in either direction, against a reference that was named before, on fresh
seeds, and for a winner that was chosen from the same runs.

A run has a true accuracy, normal over seeds, and both splits measure it with an error of their images.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import numpy.typing as npt

from results.metrics.comparison import BETTER, WORSE, compare_pairs, holm, verdict
from results.metrics.intervals import mean_t_interval
from results.tables.formats import as_markdown
from results.tables.numbers import estimate_text
from results.tables.table import Column, Row, Table

Floats = npt.NDArray[np.float64]

MEAN, SEED_SD, VAL_SD, TEST_SD = 34.0, 0.7, 0.3, 0.2
"""In percent and pp: accuracy, SD over seeds, and errors of the two splits."""

CONFIGURATIONS, SEEDS = 10, 12
SWEEPS = 2_000


def coverage(n: int, sweeps: int, seed: int = 0) -> float:
    """Return the share of printed intervals ``value ± half`` of n runs that contain the true mean."""
    rng = np.random.default_rng([seed, n])
    inside = 0
    for finals in rng.normal(MEAN, SEED_SD, (sweeps, n)):
        text = estimate_text(mean_t_interval(finals), 2)
        value, half = map(float, str(text).split(" ± "))
        inside += abs(value - MEAN) <= half + 1e-9
    return inside / sweeps


def false_verdicts(sweeps: int, seed: int = 0) -> dict[str, float]:
    """Return the share of sweeps of equal configurations with any verdict better or worse, by the kind of comparison.

    ``reference``: the first configuration against all others. ``fresh seeds``: the winner by validation, under new
    seeds. ``same runs``: the winner by validation, on the test split of the runs that it was chosen from.
    """
    rng = np.random.default_rng(seed)
    found = dict.fromkeys(("reference", "fresh seeds", "same runs"), 0)
    for _ in range(sweeps):
        val, test = simulated_finals(rng)
        fresh, _ = simulated_finals(rng)
        winner = int(val.mean(axis=1).argmax())
        found["reference"] += any_verdict(test, 0)
        found["fresh seeds"] += any_verdict(fresh, winner)
        found["same runs"] += any_verdict(test, winner)
    return {name: count / sweeps for name, count in found.items()}


def simulated_finals(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return final accuracies ``[configurations, seeds]`` in percent on validation and on test."""
    true = rng.normal(MEAN, SEED_SD, (CONFIGURATIONS, SEEDS))
    return true + rng.normal(0, VAL_SD, true.shape), true + rng.normal(0, TEST_SD, true.shape)


def any_verdict(finals: Floats, first: int) -> bool:
    """Return whether row ``first`` of ``finals [configurations, seeds]`` is better or worse than any other row."""
    compared = [compare_pairs(finals[first], other) for i, other in enumerate(finals) if i != first]
    adjusted = holm([comparison.p_value for comparison in compared])
    words = [verdict(c, float(p), len(compared)) for c, p in zip(compared, adjusted, strict=True)]
    return BETTER in words or WORSE in words


def simulated_table(sweeps: int, seed: int = 0) -> Table:
    """Return the table of coverage and of false verdicts, in percent."""
    rows = [
        Row(
            {
                "what": f"coverage of the printed interval, n = {n}",
                "found": 100 * coverage(n, sweeps, seed),
                "limit": "≥ 93",
            }
        )
        for n in (5, 10, 20)
    ]
    limits = {"reference": "≤ 5", "fresh seeds": "≤ 5", "same runs": "none: favours the winner"}
    rows += [
        Row({"what": f"false verdict, {name}", "found": 100 * share, "limit": limits[name]})
        for name, share in false_verdicts(sweeps, seed).items()
    ]
    return Table(
        "statistics",
        f"{sweeps:,} simulated sweeps of {CONFIGURATIONS} equal configurations and {SEEDS} seeds",
        (Column("what", "Quantity"), Column("found", "Found", "%", decimals=1), Column("limit", "Limit", "%")),
        rows,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=SWEEPS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.perf_counter()
    print(as_markdown(simulated_table(arguments.sweeps, arguments.seed)))
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
