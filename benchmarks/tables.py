"""Time of tables, figures and report by the number of runs: ``python -m benchmarks.tables``.

The ledgers are generated, with 100 seeds per configuration and artificial learning curves. Each size runs in a separate
process, so that its peak memory is measured alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from results.ledger.arrays import load_sweep
from results.ledger.ledger import Attempt, EpochRow, Ledger
from results.reports.export import export
from results.reports.registry import report_tables
from search_spaces import Configuration, Protocol, Run
from sweep.driver.outputs import make_report
from sweep.folder.paths import SweepFolder

SEEDS = 100


def generate(folder: SweepFolder, runs: int, epochs: int) -> None:
    """Fill a ledger with rising, noisy learning curves."""
    rng = np.random.default_rng(0)
    schedulers = ["none", "StepLR", "CosineAnnealingLR", "CyclicLR", "LambdaLR"]
    choices = [
        Configuration(
            "SGD",
            {"lr": float(lr), "momentum": momentum, "dampening": 0, "nesterov": False},
            scheduler,
        )
        for lr in np.geomspace(0.001, 1, max(1, runs // SEEDS // 10))
        for momentum in (0, 0.9)
        for scheduler in schedulers
    ]
    planned = [Run(choice, seed, Protocol(), "generated") for choice in choices for seed in range(SEEDS)][:runs]
    folder.create()
    with Ledger.create_or_open(folder.ledger) as ledger:
        ledger.plan(planned, epochs, data_name="generated", synthetic=True)
        for start in range(0, len(planned), 4):
            members = planned[start : start + 4]
            attempt = Attempt(
                f"a{start}", f"p{start}", "here", 1, "cpu", 1, tuple(r.run_id for r in members), {"torch": "0"}, 0.0
            )
            height = rng.uniform(20, 30)
            rows = [
                EpochRow(
                    run.run_id, epoch, 4.0, 10.0, 3.5, float(height * (1 - 0.9**epoch) + rng.normal(0, 0.5)), 3.5,
                    float(height), 0.01, 0.01, 0.01, 1.0, 0.1, 4, attempt.attempt_id,
                )
                for run in members
                for epoch in range(1, epochs + 1)
            ]  # fmt: skip
            ledger.record([attempt], rows, {})


def measure(folder_path: str, runs: int, epochs: int, out: multiprocessing.Queue) -> None:
    folder = SweepFolder(Path(folder_path), f"runs{runs}")
    began = time.perf_counter()
    report_tables(load_sweep(folder.ledger))
    tables = time.perf_counter() - began
    began = time.perf_counter()
    export(folder.ledger, folder.tables, ["csv", "md"])
    exported = time.perf_counter() - began
    began = time.perf_counter()
    page = make_report(folder)
    report = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out.put((tables, exported, report, page.stat().st_size / 2**20, peak))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 2500, 5000])
    parser.add_argument("--epochs", type=int, default=50)
    arguments = parser.parse_args()
    print("| runs | rows | tables s | export csv,md s | report with figures s | page MiB | peak MiB |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as place:
        for runs in arguments.runs:
            generate(SweepFolder(Path(place), f"runs{runs}"), runs, arguments.epochs)
            out = context.Queue()
            process = context.Process(target=measure, args=(place, runs, arguments.epochs, out))
            process.start()
            tables, exported, report, page, peak = out.get()
            process.join()
            rows = runs * arguments.epochs
            print(
                f"| {runs} | {rows} | {tables:.1f} | {exported:.1f} | {report:.1f} | {page:.1f} | {peak:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
