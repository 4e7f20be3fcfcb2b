"""The study on one GPU, section by section: ``python -m benchmarks.gpu --data FOLDER``, or ``benchmarks/gpu.sh``.

Every section runs in a separate process and appends each row to a file when it is measured, so an interrupted call
keeps its rows. The sections:

- ``exact``: the same bits from CUDA graphs and from eager kernels, and from an interrupted and resumed training; a
  diverging member does not change the bits of the others.
- ``candidates``: conv2 of K models by every candidate in :mod:`benchmarks.gpu_convolutions`, forward and backward.
- ``packs``: a step of packs of 1, 8, 24, 48 and 120 runs, as CUDA graphs and eager.
- ``choice``: a whole step of packs of 1, 8, 24 and 120 runs with each kind of kernels that a sweep can choose.
- ``precision``: a step of a pack of 24 runs in float32 and in TF32, and the error of conv2 against float64.
- ``profile``: the kernels with the largest share of the time of a step, for packs of 24 and 120 runs.
- ``reuse``: memory of one process after 1, 2 and 40 packs, one after the other.
- ``shares``: run-steps per second of 1, 2 and 4 processes that share the GPU, each within its share of the memory.
- ``sweep``: the complete study through Ray, packed, and a part of it unpacked, four runs at a time.

Without a GPU it prints one line and measures nothing. ``--cpu`` runs every section on a CPU, in a small size.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_convolutions import CANDIDATES, gradients, inputs, matrix_product, one_by_one
from benchmarks.gpu_exactness import (
    divergence_is_contained,
    measure_steps,
    resume_is_exact,
    study_runs,
    study_spec,
)
from search_spaces import Run
from search_spaces.errors import SpecError
from trainables.data.dataset import DataSet, load_data
from trainables.models.lenet import CONVOLUTIONS, convolution_for
from trainables.profiling.gpu_kernels import medians
from trainables.profiling.probe import StepTimer
from trainables.runtime.devices import (
    deterministic,
    device_name,
    hold_to_share,
    library_versions,
    training_device,
    use_precision,
)
from trainables.training.batches import Batches
from trainables.training.cuda_graphs import WARM_UPS, Graphs, NoGraphs, graphs_of
from trainables.training.loop import TrainOptions, train
from trainables.training.messages import Assignment
from trainables.training.pack import Pack

EPOCHS, SEEDS = 50, 5
ROUNDS, STEPS = 5, 100
UNPACKED_SHARE = 0.25
UNPACKED_EPOCHS = 2
PACKS_IN_A_PROCESS = 40
TARGET_SECONDS, TARGET_RATIO = 60.0, 8.0
SMALL = "synthetic:n_train=6000,n_test=1000,seed=0"
NO_GPU = "benchmarks.gpu: PyTorch finds no GPU; nothing was measured"

Row = tuple[str, str, str]
"""What was measured, the value, and the target (or an empty text)."""


def training_seconds(spec: Any, runs_dir: Path) -> tuple[float, dict[str, float] | None]:
    """Train a sweep; return the seconds from the start of the first trial to the end of the last, and the probe."""
    from rich.console import Console

    from results.ledger.ledger import Ledger
    from sweep.driver.driver import drive

    outcome = drive(spec, runs_dir, Console(file=io.StringIO()))
    if outcome is None or not outcome.all_done:
        raise SystemExit(f"the sweep {spec.name} did not finish all runs: {outcome}")
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        (answer,) = ledger.read("SELECT MIN(started), MAX(ended) FROM attempts")
        probed = ledger.gpu_share()
    ((began, ended),) = answer.rows
    return float(ended - began), probed


def extrapolated(seconds: float, run_epochs: int, asked: int) -> float:
    """Return the seconds of ``asked`` run-epochs where ``run_epochs`` took ``seconds``."""
    return seconds * asked / run_epochs


class Bench:
    """The sections, and the data, runs, device and sizes that they use."""

    def __init__(self, source: str, epochs: int, seeds: int, cpu: bool) -> None:
        self.source, self.epochs, self.seeds, self.cpu = source, epochs, seeds, cpu
        self.device = training_device(wants_gpu=not cpu)
        deterministic(self.device)
        self.rounds, self.steps = (1, 2) if cpu else (ROUNDS, STEPS)

    @property
    def graphs(self) -> Graphs:
        return graphs_of(self.device) or NoGraphs()

    def data(self) -> DataSet:
        """Return a small data set with images of the same shape: a step takes the same time."""
        return load_data("synthetic:n_train=400,n_test=100,seed=0" if self.cpu else SMALL, val_fraction=0.5)

    def runs(self, data: DataSet, count: int) -> list[Run]:
        """Return the first ``count`` runs of the study; 24 have one seed."""
        return study_runs(self.source, data, self.epochs, -(-count // 24))[:count]

    def exact(self) -> Iterator[Row]:
        yes = {True: "yes", False: "NO"}
        data = self.data()
        runs = self.runs(data, 2 if self.cpu else 24)
        found = measure_steps(runs, data, self.device, self.graphs, 1, self.steps)
        yield f"{len(runs)} runs: CUDA graphs and eager give the same bits", yes[found["same_bits"]], "yes"
        with tempfile.TemporaryDirectory() as place:
            same = resume_is_exact(runs, data, self.device, Path(place))
        yield f"{len(runs)} runs: interrupted and resumed, the same bits", yes[same], "yes"
        same = divergence_is_contained(runs, data, self.device)
        yield f"{len(runs)} runs: one diverges, the bits of the others stay", yes[same], "yes"
        if not self.cpu:
            both = self.runs(data, 48)[20:28]  # two seeds
            found = measure_steps(both, data, self.device, self.graphs, 1, self.steps)
            yield "8 runs of two seeds: CUDA graphs and eager give the same bits", yes[found["same_bits"]], "yes"

    def candidates(self) -> Iterator[Row]:
        for K in (2,) if self.cpu else (1, 8, 24, 120):
            x, weight = inputs(K, 4 if self.cpu else 128, self.device)
            exact = (x.detach().double().requires_grad_(), weight.detach().double().requires_grad_())
            reference = gradients(one_by_one, *exact)
            for name, convolution in CANDIDATES.items():
                try:
                    ours = gradients(convolution, x, weight)
                    error = max(float((a - b).norm() / b.norm()) for a, b in zip(ours, reference, strict=True))
                    forward = self.milliseconds(convolution, x, weight)
                    both = self.milliseconds(gradients, convolution, x, weight)
                except RuntimeError as failure:
                    yield f"conv2 of {K} models, {name}", f"failed: {failure!s:.80}", ""
                    continue
                text = f"{forward:.3f} + {both - forward:.3f} ms, error {error:.0e}"
                yield f"conv2 of {K} models, {name}, forward + backward", text, ""

    def milliseconds(self, work: Callable[..., Any], *arguments: Any) -> float:
        """Return the median of ``rounds`` × 10 calls, warm."""
        times = []
        for number in range(3 + 2 * self.rounds):
            self.wait()
            began = time.perf_counter()
            for _ in range(5):
                work(*arguments)
            self.wait()
            if number >= 3:
                times.append(200 * (time.perf_counter() - began))
        return statistics.median(times)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def packs(self) -> Iterator[Row]:
        data = self.data()
        for count in (2,) if self.cpu else (1, 8, 24, 48, 120):
            runs = self.runs(data, count)
            found = measure_steps(runs, data, self.device, self.graphs, min(3, self.rounds), self.steps)
            rate = 1000 * count / found["captured_ms"]
            peak = torch.cuda.max_memory_reserved(self.device) / 2**30 if not self.cpu else 0.0
            both = f"{found['captured_ms']:.2f} / {found['eager_ms']:.2f} ms"
            text = f"{both}, {rate:.0f} run-steps per second, {peak:.2f} GiB"
            yield f"a step of {count} runs, CUDA graphs / eager", text, ""
            seconds = 120 * 50 * 352 / rate
            yield "the study (120 runs, 50 epochs) at that rate, training alone", f"{seconds:.0f} s", "60 s"

    def choice(self) -> Iterator[Row]:
        data = self.data()
        for count in (2,) if self.cpu else (1, 8, 24, 120):
            runs = self.runs(data, min(count, 24))
            timers = {name: StepTimer(data, runs, not self.cpu, name) for name in CONVOLUTIONS}
            found = medians(timers, lambda name: timers[name].seconds(count, 1))  # noqa: B023
            usual = convolution_for(self.device, count)
            for name in CONVOLUTIONS:
                text = f"{1000 * found[name]:.2f} ms" if name in found else "out of memory"
                yield f"a step of {count} runs, {name}{' (without a measurement)' * (name == usual)}", text, ""

    def precision(self) -> Iterator[Row]:
        data = self.data()
        plain = self.runs(data, 2 if self.cpu else 24)
        x, weight = inputs(len(plain), 4 if self.cpu else 128, self.device)
        exact = (x.detach().double().requires_grad_(), weight.detach().double().requires_grad_())
        reference = gradients(one_by_one, *exact)
        for precision in ("float32", "tf32"):
            try:
                use_precision(self.device, precision)
            except SpecError as refused:
                yield f"a step of {len(plain)} runs in {precision}", f"refused: {refused}", ""
                continue
            ours = gradients(matrix_product, x, weight)
            error = max(float((a - b).norm() / b.norm()) for a, b in zip(ours, reference, strict=True))
            runs = [replace(run, protocol=replace(run.protocol, precision=precision)) for run in plain]
            found = measure_steps(runs, data, self.device, self.graphs, min(3, self.rounds), self.steps)
            text = f"{found['captured_ms']:.2f} / {found['eager_ms']:.2f} ms, error {error:.0e}"
            yield f"a step of {len(runs)} runs in {precision}, CUDA graphs / eager", text, ""
        use_precision(self.device, "float32")

    def profile(self) -> Iterator[Row]:
        from torch.profiler import ProfilerActivity, profile

        data = self.data()
        for count in (2,) if self.cpu else (24, 120):
            runs = self.runs(data, count)
            batches = Batches(data, [run.seed for run in runs], runs[0].protocol, self.device)
            pack = Pack(runs, batches.steps, self.device, NoGraphs())
            for step in range(4):
                pack.train_step(batches.batch(1, step % batches.steps))
            kind = ProfilerActivity.CPU if self.cpu else ProfilerActivity.CUDA
            with profile(activities=[kind]) as seen:
                for step in range(3):
                    pack.train_step(batches.batch(1, step % batches.steps))
                self.wait()
            key = "self_cpu_time_total" if self.cpu else "self_device_time_total"
            events = sorted(seen.key_averages(), key=lambda event: -getattr(event, key))
            whole = sum(getattr(event, key) for event in events)
            for event in events[:14]:
                part = getattr(event, key)
                yield f"{count} runs: {event.key[:90]}", f"{part / 3000:.3f} ms, {100 * part / whole:.0f} %", ""

    def reuse(self) -> Iterator[Row]:
        import gc

        data = self.data()
        runs = self.runs(data, 2 if self.cpu else 24)
        held = []
        for _ in range(2 if self.cpu else PACKS_IN_A_PROCESS):
            list(train(Assignment("gpu", runs, 1, frozenset()), data, self.device, TrainOptions()))
            gc.collect()
            if not self.cpu:
                free, whole = torch.cuda.mem_get_info(self.device)
                held.append((whole - free) / 2**20)
        if held:
            text = f"{held[0]:.0f}, {held[1]:.0f}, {held[-1]:.0f} MiB"
            what = f"memory of the GPU in use after 1, 2 and {PACKS_IN_A_PROCESS} packs in one process"
            yield what, text, "no growth"

    def shares(self) -> Iterator[Row]:
        for processes in (1,) if self.cpu else (1, 2, 4):
            for count in (2,) if self.cpu else (24,):
                context = multiprocessing.get_context("spawn")
                answers, start = context.Queue(), context.Barrier(processes)
                arguments = (self.source, self.epochs, count, 1 / processes, self.cpu, start, answers)
                children = [context.Process(target=_share, args=arguments) for _ in range(processes)]
                for child in children:
                    child.start()
                found = [answers.get(timeout=120) for _ in children]
                for child in children:
                    child.join()
                rate = sum(rate for rate, _, _ in found)
                used, allowed = max(peak for _, peak, _ in found), found[0][2]
                text = f"{rate:.0f} run-steps per second; {used / 2**20:.0f} of {allowed / 2**20:.0f} MiB"
                yield f"{processes} process(es), a pack of {count} each: rate; peak memory and share", text, ""

    def sweep(self) -> Iterator[Row]:
        data = load_data(self.source)
        runs = study_runs(self.source, data, self.epochs, self.seeds)
        one_seed = len([run for run in runs if run.seed == runs[0].seed])
        gpus: Any = 0 if self.cpu else "auto"
        place = Path(os.environ.get("SWEEP_GPU_RUNS") or tempfile.mkdtemp(prefix="gpu-"))
        packed = study_spec("packed", self.source, self.epochs, self.seeds, pack=one_seed, gpus_per_trial=gpus)
        seconds, probed = training_seconds(packed, place / "runs")
        shape = f"{len(runs)} runs × {self.epochs} epochs"
        yield (
            f"{shape}, packs of {one_seed}, gpus_per_trial {gpus}",
            f"{seconds:.0f} s {probed or ''}",
            f"{TARGET_SECONDS:.0f} s",
        )
        part = study_spec(
            "unpacked", self.source, UNPACKED_EPOCHS, 1, pack=1, gpus_per_trial=0 if self.cpu else UNPACKED_SHARE
        )
        part_seconds, _ = training_seconds(part, place / "runs")
        whole = extrapolated(part_seconds, one_seed * UNPACKED_EPOCHS, len(runs) * self.epochs)
        yield f"{shape}, unpacked at {UNPACKED_SHARE} (from {UNPACKED_EPOCHS} epochs of one seed)", f"{whole:.0f} s", ""
        yield "unpacked over packed", f"{whole / seconds:.1f}", f">= {TARGET_RATIO:.0f}"


def _share(source: str, epochs: int, count: int, gpus: float, cpu: bool, start: Any, answers: Any) -> None:
    """Train a pack of ``count`` runs with a share ``gpus`` of the GPU; send its rate, peak and limit."""
    bench = Bench(source, epochs, 1, cpu)
    hold_to_share(bench.device, gpus)
    data = bench.data()
    runs = bench.runs(data, count)
    batches = Batches(data, [run.seed for run in runs], runs[0].protocol, bench.device)
    pack = Pack(runs, batches.steps, bench.device, bench.graphs)
    full = max(1, batches.examples // runs[0].protocol.batch_size)

    def steps(number: int) -> None:
        for step in range(number):
            pack.step_in_epoch = step % full
            pack.train_step(batches.batch(1, step % full))
        bench.wait()

    steps(2 * WARM_UPS)
    start.wait()
    began = time.perf_counter()
    taken = 2 if cpu else 1000
    steps(taken)
    rate = taken * count / (time.perf_counter() - began)
    peak, limit = 0, 0
    if not cpu:
        peak = torch.cuda.max_memory_reserved(bench.device)
        limit = int(torch.cuda.get_device_properties(bench.device).total_memory * gpus)
    answers.put((rate, peak, limit))


SECTIONS = ("exact", "packs", "choice", "precision", "profile", "candidates", "reuse", "shares", "sweep")


def run_section(name: str, bench: Bench, out: Path) -> None:
    """Measure one section; append each row to ``out`` when it is measured."""
    for row in getattr(bench, name)():
        with out.open("a") as file:
            file.write(json.dumps([name, *row]) + "\n")
        print(f"{name}: {' | '.join(row)}", file=sys.stderr, flush=True)


def table(out: Path) -> str:
    """Return the rows of a file as a Markdown table."""
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    lines = ["| section | what | measured | target |", "| :--- | :--- | ---: | ---: |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar100", help="cifar100, a folder, or synthetic")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--cpu", action="store_true", help="run every section on a CPU, in a small size")
    parser.add_argument("--out", type=Path, default=Path("gpu-results.jsonl"))
    parser.add_argument("--section-seconds", type=float, default=150.0, help="time limit of a section")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("sections", nargs="*", default=list(SECTIONS), help=f"of: {', '.join(SECTIONS)}")
    given = parser.parse_args()
    if unknown := [name for name in given.sections if name not in SECTIONS]:
        parser.error(f"unknown section {unknown[0]}; the sections are {', '.join(SECTIONS)}")
    if not given.cpu and not torch.cuda.is_available():
        print(NO_GPU, file=sys.stderr)
        raise SystemExit(2)
    if given.in_this_process:
        with redirect_stdout(sys.stderr):  # Ray prints to stdout
            run_section(given.sections[0], Bench(given.data, given.epochs, given.seeds, given.cpu), given.out)
        return
    arguments = [
        "--data",
        given.data,
        "--epochs",
        str(given.epochs),
        "--seeds",
        str(given.seeds),
        "--out",
        str(given.out),
    ]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # subprocess.run then ends the section
    device = training_device(wants_gpu=not given.cpu)
    given.out.write_text(json.dumps(["device", device_name(device), str(library_versions()), ""]) + "\n")
    for name in given.sections:
        command = [
            sys.executable,
            "-m",
            "benchmarks.gpu",
            "--in-this-process",
            *arguments,
            *["--cpu"] * given.cpu,
            name,
        ]
        began = time.monotonic()
        try:
            code: object = subprocess.run(command, timeout=given.section_seconds, check=False).returncode
        except subprocess.TimeoutExpired:
            code = "stopped at its time limit"
        print(f"{name}: exit {code} after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(table(given.out))


if __name__ == "__main__":
    main()
