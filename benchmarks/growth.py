"""Cost per run by pack size and sweep size: ``python -m benchmarks.growth --data FOLDER``; two tables and figures.

``pack_size``: in one process with one thread, without Ray, packs of 1, 2, 4, 8 and 16 runs of one seed take some
training steps each, alternating within every round; the result is the median over the rounds.

``run_count``: complete sweeps of 10 to 1,000 runs in packs of 1, 4 and 8 (:mod:`benchmarks.run_count`). With
``--json FILE`` the sweeps may be measured in several calls: those in the file are not measured again. With
``--in-process`` the sweeps train a linear model without Ray: the table alone, also for 10,000 runs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure

from benchmarks.run_count import PACKS, RUNS, draw_sweeps, measure_sweeps, number, tabulate_sweeps
from results.figures.label_layout import write_notes
from results.figures.registry import write_figures
from results.figures.style import PALETTE, SINGLE_COLUMN, drawing_style
from results.tables.formats import as_markdown
from results.tables.table import Column, Row, Table
from search_spaces import Configuration, Protocol, Run
from trainables.data.dataset import DataSet, load_data
from trainables.models.kernels import TORCH
from trainables.optim.optimizers import complete_optimizer
from trainables.runtime.malloc import keep_freed_memory
from trainables.training.batches import Batches
from trainables.training.pack import Pack

SIZES = (1, 2, 4, 8, 16)
WARM_UP_STEPS = 3
FOLDER = Path(__file__).parent.parent / "docs" / "figures"


def make_pack(size: int, batches: Batches, fingerprint: str, kernels: str = TORCH) -> Pack:
    """Return a pack of ``size`` runs of SGD with momentum, which differ in their learning rates."""
    runs = []
    for k in range(size):
        params = complete_optimizer("SGD", {"lr": 0.01 * (k + 1) / size, "momentum": 0.9}, "growth")
        runs.append(Run(Configuration("SGD", params), 0, Protocol(), fingerprint))
    return Pack(runs, batches.steps, torch.device("cpu"), kernels=kernels)


def measure(data: DataSet, rounds: int, steps: int) -> dict[int, list[float]]:
    """Return the milliseconds of a run-step by pack size, one number a round."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as in a worker
    batches = Batches(data, [0], Protocol(), torch.device("cpu"))
    packs = {size: make_pack(size, batches, data.fingerprint) for size in SIZES}
    milliseconds: dict[int, list[float]] = {size: [] for size in SIZES}
    steps = min(steps, batches.steps)
    for pack in packs.values():
        for step in range(min(WARM_UP_STEPS, steps)):
            pack.train_step(batches.batch(1, step))
    for _ in range(rounds):
        for size, pack in packs.items():
            began = time.perf_counter()
            for step in range(steps):
                pack.train_step(batches.batch(1, step))
            milliseconds[size].append(1000 * (time.perf_counter() - began) / (steps * size))
    return milliseconds


def tabulate(milliseconds: dict[int, list[float]], steps: int, data: DataSet) -> Table:
    """Return medians, minima and maxima, and the time of each size relative to a pack of one."""
    one = statistics.median(milliseconds[1])
    rows = [
        Row(
            {
                "pack_size": size,
                "run_step": statistics.median(values),
                "least": min(values),
                "most": max(values),
                "share": statistics.median(values) / one,
            }
        )
        for size, values in milliseconds.items()
    ]
    columns = [
        Column("pack_size", "Runs in the pack"), Column("run_step", "Step of one run, median", "ms"),
        Column("least", "Minimum", "ms"), Column("most", "Maximum", "ms"), Column("share", "Relative to a pack of one"),
    ]  # fmt: skip
    rounds = len(milliseconds[1])
    notes = [f"One thread, batch 128, SGD with momentum; {rounds} rounds of {steps} steps, all sizes alternating."]
    if data.synthetic:
        notes.append("Synthetic data: these numbers do not apply to CIFAR-100.")
    return Table("pack_size", "Training step of one run by pack size", columns, rows, notes, data.name)


def draw_growth(table: Table) -> Figure:
    """Draw the medians over the pack size, on a scale of powers of two, with a band from the minimum to the maximum."""
    sizes, medians, least, most = (
        [number(row, key) for row in table.rows] for key in ("pack_size", "run_step", "least", "most")
    )
    with drawing_style():
        figure = Figure(figsize=(SINGLE_COLUMN, 2.2), layout="constrained")
        write_notes(figure, table.notes)
        axes = figure.add_subplot()
        axes.fill_between(sizes, least, most, color=PALETTE[0], alpha=0.16, linewidth=0)
        axes.plot(sizes, medians, color=PALETTE[0], marker="o")
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.set_ylim(bottom=0)
        axes.set(xlabel=table.columns[0].title, ylabel="A run's training step (ms)")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar100", help="of the packs: cifar100, a folder, or synthetic")
    parser.add_argument("--rounds", type=int, default=11, help="of the packs; 0 skips them")
    parser.add_argument("--steps", type=int, default=10, help="of each size in a round")
    parser.add_argument("--runs", type=int, nargs="*", default=list(RUNS), help="of the sweeps; no number skips them")
    parser.add_argument("--packs", type=int, nargs="*", default=list(PACKS), help="of the sweeps")
    parser.add_argument("--in-process", action="store_true", help="the sweeps without Ray, with a linear model")
    parser.add_argument("--json", type=Path, help="file of the measured sweeps; those in it are not measured again")
    parser.add_argument("--figures", type=Path, default=FOLDER, help="the folder for pack_size.png and run_count.png")
    asked = parser.parse_args(arguments)
    if asked.rounds:
        data = load_data(asked.data)
        _show(tabulate(measure(data, asked.rounds, asked.steps), asked.steps, data), draw_growth, asked.figures)
    if sweeps := measure_sweeps(asked.runs, asked.packs, asked.json, asked.in_process):
        table = tabulate_sweeps(sweeps)
        if asked.in_process:
            print(as_markdown(table), flush=True)
        else:
            _show(table, draw_sweeps, asked.figures)


def _show(table: Table, draw: Callable[[Table], Figure], folder: Path) -> None:
    print(as_markdown(table))
    print(*write_figures({table.name: draw(table)}, folder, ["png"]), flush=True)


if __name__ == "__main__":
    main()
