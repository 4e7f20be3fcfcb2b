"""Simulated sweeps whose seeds are added until they are decided: ``python -m benchmarks.until_decided``.

Each simulated sweep compares a reference with two other configurations, look by look, as ``--seeds auto`` does. The
table has the share of sweeps with a wrong verdict (all means are equal), the share that finds a true difference, and
the mean number of seeds, beside those of a sweep that trains the largest number of seeds at once.

Accuracies are normal over seeds: SD 0.7 pp for a run, of which the seed's part is common to all configurations. With
"collapses", 5 % of the runs end at chance.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from results.metrics.comparison import (
    BETTER,
    NO_DIFFERENCE,
    SAME_SHARE,
    TOO_FEW,
    TRAINS_LESS,
    TRAINS_MORE,
    WORSE,
    Comparison,
    compare_pairs,
    holm,
    verdict,
)
from results.metrics.sequential import look_level, looks
from results.tables.formats import as_markdown
from results.tables.table import Column, Row, Table

Floats = npt.NDArray[np.float64]

MEAN, SD, SHARED = 34.0, 0.7, 0.3
"""In percent: mean accuracy; in pp: SD of a run without the seed's part, and SD of the seed's part."""
CHANCE = 1.0
COLLAPSES = 0.05
CONFIGURATIONS = 3
DECIDING = (BETTER, WORSE, TRAINS_MORE, TRAINS_LESS)
OPEN = (TOO_FEW, NO_DIFFERENCE, SAME_SHARE)


@dataclass(frozen=True)
class Case:
    """Simulated sweeps of one kind: the others' true lead over the reference in pp, and the share of runs at chance."""

    name: str
    lead: float
    collapses: float


CASES = (
    Case("all equal", 0.0, 0.0),
    Case("all equal, 5 % collapse", 0.0, COLLAPSES),
    Case("the others 1 pp better", 1.0, 0.0),
    Case("the others 2 pp better", 2.0, 0.0),
)


def simulated(case: Case, seeds: int, rng: np.random.Generator) -> Floats:
    """Return final accuracies ``[configurations, seeds]`` in percent."""
    finals = MEAN + rng.normal(0, SHARED, seeds) + rng.normal(0, SD, (CONFIGURATIONS, seeds))
    finals[1:] += case.lead
    return np.where(rng.random(finals.shape) < case.collapses, CHANCE, finals)


def verdicts(finals: Floats, level: float) -> list[tuple[str, Comparison]]:
    """Return the verdict on the reference, row 0, against each other row, and the comparison."""
    trained = finals > 2 * CHANCE
    compared = [
        compare_pairs(finals[0], other, trained=(trained[0], trained[i + 1]), level=level)
        for i, other in enumerate(finals[1:])
    ]
    adjusted = holm([comparison.p_value for comparison in compared])
    return [(verdict(c, float(p), len(compared), level), c) for c, p in zip(compared, adjusted, strict=True)]


def until_decided(finals: Floats, max_seeds: int) -> tuple[list[str], int]:
    """Return the verdicts of the look that ends the sweep, and its number of seeds."""
    level = look_level(max_seeds)
    words: list[str] = []
    for look in looks(max_seeds):
        found = verdicts(finals[:, :look], level)
        words = [word for word, _ in found]
        if not any(word in OPEN and not comparison.equivalent for word, comparison in found):
            return words, look
    return words, max_seeds


def simulate(case: Case, max_seeds: int, sweeps: int, seed: int = 0) -> dict[str, float]:
    """Return shares and mean seeds of ``sweeps`` simulated sweeps: until decided, and with a fixed number of seeds."""
    rng = np.random.default_rng(seed)
    decided = fixed = 0
    seeds = 0
    for _ in range(sweeps):
        finals = simulated(case, max_seeds, rng)
        words, used = until_decided(finals, max_seeds)
        seeds += used
        decided += any(word in DECIDING for word in words)
        fixed += any(word in DECIDING for word, _ in verdicts(finals, look_level(0)))
    return {"decided": decided / sweeps, "fixed": fixed / sweeps, "seeds": seeds / sweeps}


def simulated_table(max_seeds: int, sweeps: int) -> Table:
    """Return the table of all cases."""
    rows = []
    for case in CASES:
        found = simulate(case, max_seeds, sweeps)
        rows.append(
            Row(
                {
                    "case": case.name,
                    "decided": 100 * found["decided"],
                    "fixed": 100 * found["fixed"],
                    "seeds": found["seeds"],
                    "saved": 100 * (1 - found["seeds"] / max_seeds),
                }
            )
        )
    return Table(
        "until_decided",
        f"{sweeps} simulated sweeps of a reference and {CONFIGURATIONS - 1} other configurations, looks at "
        f"{', '.join(map(str, looks(max_seeds)))} seeds, level of a look {100 * look_level(max_seeds):.2g} %",
        (
            Column("case", "True accuracies"),
            Column("decided", "Any difference found, until decided (%)", decimals=1),
            Column("fixed", f"The same with {max_seeds} seeds at once (%)", decimals=1),
            Column("seeds", "Mean seeds", decimals=1),
            Column("saved", "Seeds saved (%)", decimals=0),
        ),
        rows,
        ["Where all are equal, a difference that is found is an error; its share must be at most 5 %."],
    )


def main() -> None:
    """Simulate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=2_000)
    parser.add_argument("--max-seeds", type=int, default=30)
    arguments = parser.parse_args()
    began = time.monotonic()
    print(as_markdown(simulated_table(arguments.max_seeds, arguments.sweeps)))
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
