"""A sweep compared with a standard Ray Tune loop: ``python -m benchmarks.throughput --data FOLDER``.

Three ways to train the four optimizers of the study at four learning rates each, two trials with one CPU thread each
at a time, alternating within every round:

(a) the standard loop of ``benchmarks/stock_loop.py`` as a function trainable of Ray Tune, with the fastest
    ``num_workers`` of a probe, one configuration per trial;
(b) ``sweep`` in packs of one;
(c) ``sweep`` with ``pack = "auto"``.

(b) and (c) have ``kernels = "auto"``: compiled gradients of the convolutions where they are measured to be faster.

In a round (a) trains two new runs for one epoch, one per slot; (b) and (c) extend their sweep by two epochs from its
checkpoints: (c) all sixteen runs, (b) every second run, which gives the same rate in less time. The result is
run-epochs per hour, from the start of the epoch of the first trial to the end of the last trial. It includes evaluation
on validation and test images, reports, the ledger and (b, c) checkpoints, and excludes the start of Ray and the loading
of the data. (b) and (c) include a change of trials after every two epochs; (a) has none, although each of its trials
would start a process.

The floor is the FLOPs of a run-epoch divided by the rate of two processes that multiply matrices in the cache at the
same time, measured just before and just after (c).
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

from benchmarks.stock_loop import Job, probe_stock, train_stock
from search_spaces.labels import configuration_labels
from trainables.data.dataset import DataSet, load_data
from trainables.models.lenet import SHAPES

SPACE = "optimizers"
RATES, ADAMS_RATES = [0.005, 0.01, 0.02, 0.04], [0.0005, 0.001, 0.002, 0.004]
COMPARED = 2
"""Every so many rates are trained by (b), and by all three to compare what they learn."""
EPOCHS = 2
"""That a round adds to the runs of (b) and (c)."""
SLOTS = 2
SEEDS = 1
WORKERS = (0, 1, 2)
POSITIONS = {"conv1": 28 * 28, "conv2": 10 * 10}
"""Where on the image a layer's kernel is applied; a dense layer is applied once."""
MATRIX_SIDES = (128, 256, 512)
"""Three matrices of 512² float32 are 3 MiB; the fastest size counts."""
RATE_SECONDS = 0.4
ACCURACY_EPOCHS = 3
LEARNED_PERCENT = 3.0
"""Validation accuracy from which a configuration has left chance, 1 %, behind."""
TOLERANCE_PP = 2.0
KERNELS = "auto"
"""Of (b) and (c): PyTorch's, or the compiled ones where a measurement finds them faster."""
PACKS: dict[str, int | str] = {"b": 1, "c": "auto"}
NAMES = {"a": "stock Ray Tune loop", "b": "sweep, packs of one", "c": "sweep, pack auto"}


def configurations(step: int = 1) -> list[dict[str, Any]]:
    """Return the study's four optimizers at every ``step``-th rate, the last one among them."""
    rates, adams = RATES[step - 1 :: step], ADAMS_RATES[step - 1 :: step]
    sgd = {"name": "SGD", "lr": rates}
    momentum = {**sgd, "momentum": 0.9}
    return [{"optimizer": [sgd, momentum, {**momentum, "nesterov": True}, {"name": "Adam", "lr": adams}]}]


def layer_macs() -> dict[str, int]:
    """Return the multiply-adds of each layer in one image's forward pass."""
    return {
        name.removesuffix(".weight"): math.prod(shape) * POSITIONS.get(name.removesuffix(".weight"), 1)
        for name, shape in SHAPES.items()
        if name.endswith(".weight")
    }


def evaluation_flops(images: int) -> int:
    """Return the FLOPs of ``images`` forward passes; a multiply-add counts as two."""
    return 2 * sum(layer_macs().values()) * images


def training_flops(images: int) -> int:
    """Return the FLOPs of ``images`` forward and backward passes.

    The backward pass forms two products of the forward one's size in every layer, for the weights and for the layer's
    input; nobody asks for the gradient of the images, conv1's input.
    """
    return 3 * evaluation_flops(images) - 2 * layer_macs()["conv1"] * images


def run_epoch_flops(data: DataSet) -> int:
    """Return the FLOPs of one run's epoch as it is measured here: training, and evaluation on validation and test."""
    return training_flops(len(data.train_labels)) + evaluation_flops(len(data.val_labels) + len(data.test_labels))


def fit(trainable: Callable[..., None], jobs: Sequence[Job], data: DataSet, place: Path) -> tuple[list[Any], float]:
    """Run a function trainable for every job, as Tune's manual says; return their last results and the end."""
    from ray import tune

    class Ends(tune.Callback):
        at = 0.0

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.at = time.time()

    ends = Ends()
    results = tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, data=data), {"cpu": 1}),
        param_space={"job": tune.grid_search(list(jobs))},
        tune_config=tune.TuneConfig(max_concurrent_trials=SLOTS),
        run_config=tune.RunConfig(storage_path=str(place / "stock"), verbose=0, callbacks=[ends]),
    ).fit()
    if results.errors:
        raise SystemExit(f"a trial of the standard loop failed: {results.errors[0]}")
    return [result.metrics for result in results], ends.at


class Multiplier:
    """Multiplies matrices on one thread; a Ray actor, so that two run at the same time."""

    def giga_flops(self) -> float:
        """Return the rate of float32 ``torch.mm`` in GFLOP/s, at the fastest of the sizes."""
        torch.set_num_threads(1)
        best = 0.0
        for side in MATRIX_SIDES:
            left, right, product = torch.rand(side, side), torch.rand(side, side), torch.empty(side, side)
            count, began = 0, time.perf_counter()
            while (seconds := time.perf_counter() - began) < RATE_SECONDS:
                torch.mm(left, right, out=product)
                count += 1
            best = max(best, 2 * side**3 * count / seconds / 1e9)
        return best


class Bench:
    """Everything measured in one Ray session, on one data set."""

    def __init__(self, source: str, place: Path) -> None:
        import ray

        import sweep.driver.pack_size as packing

        packing.PROBE_PAYS_FROM_SECONDS = 0.0  # each round is short, but the sweep goes on for many
        self.source, self.place = source, place
        self.data = load_data(source)
        self.num_workers, self.probe = 0, dict[int, float]()
        self._multipliers = [ray.remote(num_cpus=0)(Multiplier).remote() for _ in range(SLOTS)]
        self.machine_rate()  # their processes are there from now on
        choices = self._spec("c", 1).expanded()
        labels = configuration_labels(choices)
        self.labels = [labels[choice.configuration_id] for choice in choices]
        self.jobs: list[Job] = [  # configuration by configuration, as the ledger numbers them
            {"optimizer": choice.optimizer, "params": dict(choice.optimizer_params), "seed": seed}
            for choice in choices
            for seed in range(SEEDS)
        ]

    def machine_rate(self) -> float:
        """Return the GFLOP/s of two processes at once, one thread each."""
        import ray

        return float(sum(ray.get([multiplier.giga_flops.remote() for multiplier in self._multipliers])))

    def choose_workers(self) -> None:
        """Keep the ``num_workers`` whose steps take least while both slots are busy."""
        for workers in WORKERS:
            jobs = [{**job, "num_workers": workers} for job in self.jobs[:SLOTS]]
            results, _ = fit(probe_stock, jobs, self.data, self.place)
            self.probe[workers] = max(result["ms"] for result in results)
        self.num_workers = min(self.probe, key=lambda workers: self.probe[workers])

    def train_stock(self, jobs: Sequence[Job], epochs: int) -> tuple[list[Any], float]:
        """Train ``jobs`` with the stock loop; return their last results and the run-epochs per hour."""
        asked = [{**job, "epochs": epochs, "num_workers": self.num_workers} for job in jobs]
        results, ended = fit(train_stock, asked, self.data, self.place)
        return results, len(jobs) * epochs * 3600 / (ended - min(result["began"] for result in results))

    def _spec(self, way: str, epochs: int) -> Any:
        from sweep.config.toml import read_spec

        return read_spec(
            SPACE,
            {
                "name": f"way-{way}", "data": self.source, "epochs": epochs, "seeds": SEEDS,
                "configurations": configurations(COMPARED if way == "b" else 1),
                "resources.pack": PACKS[way], "resources.max_concurrent": SLOTS, "resources.cpus_per_trial": 1.0,
                "resources.kernels": KERNELS,
            },
        )  # fmt: skip

    def _ledger(self, way: str) -> Any:
        from results.ledger.ledger import Ledger
        from sweep.folder.paths import SweepFolder

        return Ledger.open_read_only(SweepFolder(self.place / "runs", f"way-{way}").ledger)

    def extend(self, way: str, epochs: int) -> float:
        """Extend the sweep of ``way`` by :data:`EPOCHS`, to ``epochs``; return the run-epochs per hour."""
        from rich.console import Console

        from sweep.driver.driver import drive

        began = time.time()
        outcome = drive(self._spec(way, epochs), self.place / "runs", Console(file=io.StringIO()))
        if outcome is None or not outcome.all_done:
            raise SystemExit(f"the sweep {way} did not finish all runs: {outcome}")
        with self._ledger(way) as ledger:
            (attempts,) = ledger.read("SELECT started, ended FROM attempts")
        starts, ends = zip(*(row for row in attempts.rows if row[0] > began), strict=True)
        trained = EPOCHS * len(outcome.statuses)
        return trained * 3600 / float(max(ends) - min(starts))

    def val_accuracy(self, way: str, epoch: int) -> list[float]:
        """Return the mean validation accuracy in percent of each configuration of ``way`` after ``epoch``."""
        with self._ledger(way) as ledger:
            found = ledger.rows(
                """
                SELECT AVG(val_acc) FROM epochs JOIN runs USING (run_id) WHERE epoch = :epoch
                GROUP BY ordinal ORDER BY ordinal
                """,
                {"epoch": epoch},
            )
        return [accuracy for (accuracy,) in found]

    def round(self, number: int) -> dict[str, float]:
        """Measure (a), (b) and (c) in turn, the ``number``-th time (from 1)."""
        pair = [self.jobs[(SLOTS * (number - 1) + i) % len(self.jobs)] for i in range(SLOTS)]
        _, a = self.train_stock(pair, 1)
        b = self.extend("b", EPOCHS * number)
        before = self.machine_rate()
        c = self.extend("c", EPOCHS * number)
        rate = (before + self.machine_rate()) / 2
        share = 100 * c / 3600 * run_epoch_flops(self.data) / (rate * 1e9)
        return {"a": a, "b": b, "c": c, "c/a": c / a, "c/b": c / b, "giga_flops": rate, "share_percent": share}

    def accuracy(self, trained: int) -> dict[str, Any]:
        """Train (a), (b), (c), of which the sweeps have ``trained`` rounds, and compare what they learned."""
        for way in PACKS:
            if trained * EPOCHS < ACCURACY_EPOCHS:
                self.extend(way, ACCURACY_EPOCHS)
        compared = slice(COMPARED - 1, None, COMPARED)
        results, rate = self.train_stock(self.jobs[compared], ACCURACY_EPOCHS)
        found = {"a": [result["val_acc"] for result in results], "b": self.val_accuracy("b", ACCURACY_EPOCHS)}
        found["c"] = self.val_accuracy("c", ACCURACY_EPOCHS)[compared]
        labels = self.labels[compared]
        learned = [i for i in range(len(labels)) if all(found[way][i] > LEARNED_PERCENT for way in found)]
        means = {way: statistics.fmean(found[way][i] for i in learned) for way in found} if learned else {}
        return {
            "configurations": labels, "percent": found, "learned": [labels[i] for i in learned],
            "means": means, "stock_with_changes_of_trials": rate,
            "same": bool(means) and max(means.values()) - min(means.values()) <= TOLERANCE_PP,
        }  # fmt: skip


ROUND_COLUMNS = {
    "a": "(a) stock", "b": "(b) pack 1", "c": "(c) pack auto", "c/a": "c/a", "c/b": "c/b",
    "giga_flops": "GFLOP/s", "share_percent": "(c) of the floor, %",
}  # fmt: skip


def report(found: Mapping[str, Any]) -> str:
    """Return the measurements as Markdown."""
    rounds, summary = found["rounds"], found["summary"]
    lines = []
    if rounds:
        lines += [
            "Run-epochs per hour; training, evaluation, reports and (b, c) checkpoints are included:",
            "",
            f"| round | {' | '.join(ROUND_COLUMNS.values())} |",
            f"|{' ---: |' * (1 + len(ROUND_COLUMNS))}",
        ]
        named = [(str(i), row) for i, row in enumerate(rounds, 1)]
        named += [
            (key, {column: summary[column][key] for column in ROUND_COLUMNS}) for key in ("median", "least", "most")
        ]
        lines += [f"| {name} | {' | '.join(f'{row[key]:.3g}' for key in ROUND_COLUMNS)} |" for name, row in named]
    probe = ", ".join(f"{workers}: {ms:.1f}" for workers, ms in found["probe_ms"].items())
    lines += [
        "",
        f"(a) uses num_workers = {found['num_workers']}; a step of it in the probe, ms by num_workers: {probe}.",
        f"A run-epoch is {found['flops'] / 1e9:.1f} GFLOP, of which {found['training_flops'] / 1e9:.1f} are training. "
        f"The floor is this number divided by the rate of {SLOTS} processes that multiply float32 matrices together.",
    ]
    if accuracy := found.get("accuracy"):
        lines += ["", f"| validation accuracy after {ACCURACY_EPOCHS} epochs, % | {' | '.join(NAMES.values())} |"]
        lines += ["| :--- | ---: | ---: | ---: |"]
        columns = [accuracy["percent"][way] for way in NAMES]
        for label, *values in zip(accuracy["configurations"], *columns, strict=True):
            lines.append(f"| {label} | {' | '.join(f'{value:.2f}' for value in values)} |")
        if accuracy["means"]:
            means = " | ".join(f"{accuracy['means'][way]:.2f}" for way in NAMES)
            lines.append(f"| mean of those that learned ({len(accuracy['learned'])}) | {means} |")
        verdict = "agree" if accuracy["same"] else "DO NOT agree" if accuracy["means"] else "cannot be compared"
        lines += ["", f"Means over the configurations above {LEARNED_PERCENT:g} % {verdict} within "
                  f"{TOLERANCE_PP:g} pp. (a) with its changes of trials: "
                  f"{accuracy['stock_with_changes_of_trials']:.3g} run-epochs per hour."]  # fmt: skip
    return "\n".join(lines)


def measure(source: str, rounds: int, place: Path, with_accuracy: bool) -> dict[str, Any]:
    """Measure ``rounds`` rounds in one Ray session."""
    from sweep.execution.ray.session import ray_session

    with ray_session("local"):
        bench = Bench(source, place)
        bench.choose_workers()
        tell(f"a step of (a) takes, ms by num_workers: {bench.probe}")
        rows = []
        for number in range(1, rounds + 1):
            rows.append(bench.round(number))
            tell(f"round {number}: " + ", ".join(f"{key} {value:.4g}" for key, value in rows[-1].items()))
        extra = {"accuracy": bench.accuracy(rounds)} if with_accuracy else {}
    summary = {
        key: {"median": statistics.median(values), "least": min(values), "most": max(values)}
        for key in ROUND_COLUMNS
        if (values := [row[key] for row in rows])
    }
    return {
        "rounds": rows, "summary": summary, "num_workers": bench.num_workers, "probe_ms": bench.probe,
        "flops": run_epoch_flops(bench.data), "training_flops": training_flops(len(bench.data.train_labels)), **extra,
    }  # fmt: skip


def tell(line: str) -> None:
    """Print progress to stderr."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar100", help="cifar100, a folder, or synthetic")
    parser.add_argument("--rounds", type=int, default=5, help="0: only the accuracies")
    parser.add_argument("--accuracy", action="store_true", help="also compare the accuracies of all three")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="throughput-", ignore_cleanup_errors=True) as place:
        os.environ["RAY_TMPDIR"] = f"{place}/ray"
        (Path(place) / "ray").mkdir()
        with redirect_stdout(sys.stderr):  # Ray and Tune print to stdout, which must hold the result only
            found = measure(arguments.data, arguments.rounds, Path(place), arguments.accuracy)
    print(json.dumps(found) if arguments.json else report(found))


if __name__ == "__main__":
    main()
