"""The effect of pack size, pass size and threads on results: ``python -m benchmarks.switches --data FOLDER``.

The members of a pack, the size of a pass and the number of threads change the order of additions, and so the bits of a
run. The same runs are trained with each setting, and the differences of their final accuracies are compared with those
between seeds. A switch is within seed noise if the mean difference over all runs is within three standard errors of 0,
and no run differs by more than the largest difference between the seeds of its configuration.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from itertools import combinations

import torch

import trainables.training.pack as training
from results.tables.formats import as_markdown
from results.tables.table import Column, Row, Table
from search_spaces import Configuration, Protocol, Run
from trainables.data.dataset import DataSet, load_data
from trainables.optim.optimizers import complete_optimizer
from trainables.runtime.malloc import keep_freed_memory
from trainables.training.loop import train
from trainables.training.messages import Assignment

CHOICES = (
    ("SGD", {"lr": 0.01, "momentum": 0.9}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"lr": 0.001}),
)
"""The optimizers of the study that exceed chance within a few epochs."""
SWITCHES = {  # runs in a pack, examples in a pass, threads
    "as trained": (len(CHOICES), training.MICRO_BATCH, 1),
    "packs of one": (1, training.MICRO_BATCH, 1),
    "passes of 32": (len(CHOICES), 32, 1),
    "two threads": (len(CHOICES), training.MICRO_BATCH, 2),
}


def runs_of(seed: int, fingerprint: str) -> list[Run]:
    return [
        Run(Configuration(name, complete_optimizer(name, params, "switches")), seed, Protocol(), fingerprint)
        for name, params in CHOICES
    ]


def accuracies(data: DataSet, seeds: Sequence[int], epochs: int, switch: str) -> list[list[float]]:
    """Return the validation accuracies in percent after the last epoch, a list for each configuration."""
    size, micro_batch, threads = SWITCHES[switch]
    torch.set_num_threads(threads)
    kept, training.MICRO_BATCH = training.MICRO_BATCH, micro_batch
    found: list[list[float]] = [[] for _ in CHOICES]
    for seed in seeds:
        runs = runs_of(seed, data.fingerprint)
        for start in range(0, len(runs), size):
            pack = Assignment("switches", runs[start : start + size], epochs, frozenset())
            *_, last = train(pack, data, torch.device("cpu"))
            for k, row in enumerate(last.rows):
                found[start + k].append(row.val_acc)
        print(f"{switch}, seed {seed}: {[f'{values[-1]:.2f}' for values in found]}", file=sys.stderr, flush=True)
    training.MICRO_BATCH = kept
    return found


def compare(before: list[list[float]], after: list[list[float]]) -> dict[str, float | bool]:
    """Return the effect of a switch on the accuracies in percentage points, and whether it is within seed noise."""
    differences = [y - x for one, other in zip(before, after, strict=True) for x, y in zip(one, other, strict=True)]
    error = statistics.stdev(differences) / len(differences) ** 0.5
    apart = [max(abs(x - y) for x, y in combinations(values, 2)) for values in before]
    moved = [max(abs(y - x) for x, y in zip(one, other, strict=True)) for one, other in zip(before, after, strict=True)]
    mean = statistics.fmean(differences)
    within = abs(mean) <= 3 * error and max(moved) <= max(apart)
    return {"mean": mean, "error": error, "moved": max(moved), "apart": max(apart), "within": within}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar100", help="cifar100, a folder, or synthetic")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    if asked.seeds < 2 or asked.epochs < 1:
        parser.error("at least two seeds and one epoch")
    keep_freed_memory()
    data = load_data(asked.data)
    found = {switch: accuracies(data, range(asked.seeds), asked.epochs, switch) for switch in SWITCHES}
    first, *others = SWITCHES
    rows = [Row({"switch": switch, **compare(found[first], found[switch])}) for switch in others]
    columns = [
        Column("switch", "Switch"), Column("mean", "Mean difference", "pp"), Column("error", "Standard error", "pp"),
        Column("moved", "Largest difference of a run", "pp"), Column("apart", "Largest difference of two seeds", "pp"),
        Column("within", "Within seed noise"),
    ]  # fmt: skip
    means = ", ".join(f"{statistics.fmean(values):.2f}" for values in found[first])
    notes = [
        f"{len(CHOICES)} configurations × {asked.seeds} seeds, {asked.epochs} epochs; means as trained: {means} %."
    ]
    print(
        as_markdown(
            Table("switches", "Effect of pack size, pass size and threads on rounding", columns, rows, notes, data.name)
        )
    )
    if not all(row.values["within"] for row in rows):
        raise SystemExit("a switch changes results more than seeds do")


if __name__ == "__main__":
    main()
