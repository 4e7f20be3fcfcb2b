"""Ideas for a faster training step on a CPU, each against the current implementation: ``python -m benchmarks.ideas``.

Each idea alternates with the implementation that it would replace: one thread, medians of CPU seconds. Other programs
affect these through the caches only. A ratio below 1 is a gain. Two ideas run in other processes: huge pages (a
setting of the C library that is read at its start), and threads against processes, which compares wall time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

import trainables.training.pack as training
from benchmarks.convolution_ideas import DataGradient, PooledConvolution, one_write, profile
from benchmarks.growth import make_pack
from results.tables.formats import as_markdown
from results.tables.table import Column, Row, Table
from search_spaces import Protocol
from trainables.data import augmentation
from trainables.data.dataset import DataSet, load_data
from trainables.models.compiled_convolutions import CompilerError, library
from trainables.models.kernels import COMPILED, TORCH
from trainables.models.lenet import SHAPES
from trainables.runtime.malloc import keep_freed_memory
from trainables.training.batches import Batches, Split
from trainables.training.pack import Pack

RUNS = 8
POOL_CHUNK = 8
EVALUATED = 2000
"""Images in one measurement of an evaluation."""
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
CPU = torch.device("cpu")

Work = Callable[[], object]


def alternate(works: dict[str, Work], rounds: int, repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    """Return the median seconds of one call of each, all of them in turn within every round."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            began = clock()
            for _ in range(repeats):
                work()
            seconds[name].append((clock() - began) / repeats)
    return {name: statistics.median(values) for name, values in seconds.items()}


class Step:
    """Training steps and evaluations of a pack, with whatever size of micro-batch and evaluation batch."""

    def __init__(self, data: DataSet, runs: int = RUNS, kernels: str = TORCH) -> None:
        self.batches = Batches(data, [0], Protocol(), CPU)
        self.pack: Pack = make_pack(runs, self.batches, data.fingerprint, kernels)
        self.split = Split.of(data.test_images[:EVALUATED], data.test_labels[:EVALUATED], CPU)
        self.number = 0

    def train(self, micro_batch: int = training.MICRO_BATCH) -> None:
        kept, training.MICRO_BATCH = training.MICRO_BATCH, micro_batch
        self.pack.train_step(self.batches.batch(1, self.number % (self.batches.steps - 1)))
        training.MICRO_BATCH = kept
        self.number += 1

    def evaluate(self, batch: int) -> None:
        kept, training.EVALUATION_BATCH = training.EVALUATION_BATCH, batch
        with torch.no_grad():
            self.pack.evaluate(self.split)
        training.EVALUATION_BATCH = kept


class Pooling:
    """Pooling and ReLU of one micro-batch's first layer, forward and backward, in several ways with the same values."""

    def __init__(self) -> None:
        def maps(side: int) -> Tensor:
            return torch.randn(training.MICRO_BATCH, 6 * RUNS, side, side).to(memory_format=torch.channels_last)

        self.values, self.gradient = maps(28).requires_grad_(), maps(14)
        self.expected = self.stock()

    def stock(self) -> Tensor:
        """As in a pack."""
        return self._gradient_of(F.relu(F.max_pool2d(self.values, 2)))

    def chunked(self) -> Tensor:
        """A few images at a time, which stay in the cache, by PyTorch's own kernels, with one backward function."""
        return self._gradient_of(_ChunkedPool.apply(self.values))

    def strided(self) -> Tensor:
        """As maxima of four strided views, with a backward of elementwise operations."""
        return self._gradient_of(_StridedPool.apply(self.values))

    def one_write(self) -> Tensor:
        """With PyTorch's forward pass and a backward pass that writes each input once."""
        return self._gradient_of(one_write(self.values))

    def _gradient_of(self, pooled: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(pooled, self.values, self.gradient)
        return gradient

    def compiled(self) -> Work | None:
        """Compiled by `inductor` to C++; None where there is no compiler."""
        try:
            forward, backward = torch.compile(_strided_forward), torch.compile(_strided_backward)
            pooled = forward(self.values.detach())
            found = backward(self.values.detach(), pooled, self.gradient)
        except Exception as error:  # it can fail in many ways; the other ideas are still measured
            print(f"no inductor here: {type(error).__name__}", file=sys.stderr)
            return None
        if not torch.equal(found, self.expected):
            raise SystemExit("inductor's pooling gives other values")
        return lambda: backward(self.values.detach(), forward(self.values.detach()), self.gradient)


class _ChunkedPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):  # type: ignore[no-untyped-def]
        shape = (len(values), values.shape[1], values.shape[2] // 2, values.shape[3] // 2)
        pooled = torch.empty(shape, memory_format=torch.channels_last)
        places = torch.empty(shape, dtype=torch.int64, memory_format=torch.channels_last)
        for i in range(0, len(values), POOL_CHUNK):
            part = slice(i, i + POOL_CHUNK)
            torch.ops.aten.max_pool2d_with_indices.out(
                values[part], [2, 2], [2, 2], [0, 0], [1, 1], False, out=pooled[part], indices=places[part]
            )
            pooled[part].relu_()
        ctx.save_for_backward(values, pooled, places)
        return pooled

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        values, pooled, places = ctx.saved_tensors
        found = torch.empty_like(values)
        for i in range(0, len(values), POOL_CHUNK):
            part = slice(i, i + POOL_CHUNK)
            passed = torch.ops.aten.threshold_backward(gradient[part], pooled[part], 0)
            torch.ops.aten.max_pool2d_with_indices_backward.grad_input(
                passed, values[part], [2, 2], [2, 2], [0, 0], [1, 1], False, places[part], grad_input=found[part]
            )
        return found


class _StridedPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):  # type: ignore[no-untyped-def]
        pooled = _strided_forward(values)
        ctx.save_for_backward(values, pooled)
        return pooled

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        values, pooled = ctx.saved_tensors
        return _strided_backward(values, pooled, gradient)


def _corners(values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four members of each 2 × 2 window, ``[B, H/2, W/2, C]`` each, in the order in which PyTorch looks at them."""
    B, C, H, W = values.shape
    windows = values.permute(0, 2, 3, 1).reshape(B, H // 2, 2, W // 2, 2, C)
    return windows[:, :, 0, :, 0], windows[:, :, 0, :, 1], windows[:, :, 1, :, 0], windows[:, :, 1, :, 1]


def _strided_forward(values: Tensor) -> Tensor:
    a, b, c, d = _corners(values)
    return torch.maximum(torch.maximum(a, b), torch.maximum(c, d)).clamp_min(0).permute(0, 3, 1, 2)


def _strided_backward(values: Tensor, pooled: Tensor, gradient: Tensor) -> Tensor:
    """The first largest of a window gets the gradient, where it is above 0."""
    a, b, c, d = _corners(values)
    largest = torch.maximum(torch.maximum(a, b), torch.maximum(c, d))
    passed = torch.where(pooled > 0, gradient, 0.0).permute(0, 2, 3, 1)
    first = a == largest
    second = (b == largest) & ~first
    third = (c == largest) & ~first & ~second
    fourth = ~(first | second | third)
    rows = [torch.stack([passed * left, passed * right], 3) for left, right in ((first, second), (third, fourth))]
    B, C, H, W = values.shape
    return torch.stack(rows, 2).reshape(B, H, W, C).permute(0, 3, 1, 2)


def packed_weights() -> dict[str, Work]:
    """Return a forward convolution of the second layer with plain weights, and with weights that oneDNN has packed."""
    images = torch.randn(training.MICRO_BATCH, 6 * RUNS, 14, 14).to(memory_format=torch.channels_last)
    weight = torch.randn(RUNS * SHAPES["conv2.weight"][0], *SHAPES["conv2.weight"][1:])
    bias = torch.randn(len(weight))
    given = ([0, 0], [1, 1], [1, 1], RUNS, list(images.shape))
    packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *given)
    convolve = torch.ops.mkldnn._convolution_pointwise.default
    return {
        "plain": lambda: F.conv2d(images, weight, bias, groups=RUNS),
        "packed": lambda: convolve(images, packed, bias, *given[:3], RUNS, "none", [], ""),
    }


def in_process(arguments: Sequence[str], environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start this file in a separate process, which takes steps and prints the seconds of one step of a run."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.ideas", *arguments], stdout=subprocess.PIPE, text=True,
        env=os.environ | (environment or {}),
    )  # fmt: skip


def seconds_of(*processes: subprocess.Popen[str]) -> float:
    """Return the mean of what the processes print."""
    return statistics.fmean(float(process.communicate()[0]) for process in processes)


def take_steps(data: DataSet, threads: int, runs: int, steps: int, wall: bool) -> float:
    """Return the seconds of one run's step."""
    torch.set_num_threads(threads)
    step, clock = Step(data, runs), time.perf_counter if wall else time.process_time
    for _ in range(3):
        step.train()
    began = clock()
    for _ in range(steps):
        step.train()
    return (clock() - began) / steps / runs


def packs_by_kernels(data: DataSet) -> dict[str, Work]:
    """Return a step with PyTorch's kernels, and one with the compiled kernels where there is a compiler."""
    kinds = [TORCH]
    try:
        library()
        kinds.append(COMPILED)
    except CompilerError as error:
        print(f"no compiled kernels here: {error}", file=sys.stderr)
    return {kernels: Step(data, kernels=kernels).train for kernels in kinds}


def measure(data: DataSet, source: str, rounds: int, only_convolutions: bool = False) -> list[Row]:
    """Measure every idea; return one row for each."""
    rows: list[Row] = []

    def add(idea: str, found: dict[str, float], before: str) -> None:
        for name, seconds in found.items():
            if name != before:
                rows.append(Row({"idea": idea, "this": name, "before": before, "ms": 1000 * seconds,
                                 "before_ms": 1000 * found[before], "ratio": seconds / found[before]}))  # fmt: skip
        print(idea, {name: f"{1000 * seconds:.2f} ms" for name, seconds in found.items()}, file=sys.stderr, flush=True)

    def in_turn(works: dict[str, Work], repeats: int = 1) -> dict[str, float]:
        return alternate(works, rounds, repeats, time.process_time)

    steps = packs_by_kernels(data)
    add("kernels of a whole step", in_turn(steps), TORCH)
    if COMPILED in steps:
        for layer in ("conv1", "conv2"):
            convolution = PooledConvolution(layer, RUNS, training.MICRO_BATCH)
            both: dict[str, Work] = {"PyTorch's": convolution.stock, "compiled": convolution.compiled}
            add(f"{layer}, pooling and ReLU, forward and backward", in_turn(both), "PyTorch's")
    gradient = DataGradient(RUNS, training.MICRO_BATCH)
    if not torch.allclose(gradient.tiled(), gradient.stock(), atol=1e-3):
        raise SystemExit("the tiled data gradient has other values")
    tiles: dict[str, Work] = {"oneDNN's": gradient.stock, "matrix products per tile": gradient.tiled}
    add("conv2, gradient of its input", in_turn(tiles), "oneDNN's")
    if only_convolutions:
        return rows
    step, pooling = Step(data), Pooling()

    def training_of(size: int) -> Work:
        return lambda: step.train(size)

    def evaluation_of(size: int) -> Work:
        return lambda: step.evaluate(size)

    add("examples in one pass", in_turn({str(size): training_of(size) for size in (16, 32, 64, 128)}),
        str(training.MICRO_BATCH))  # fmt: skip
    add("evaluation batch", in_turn({str(size): evaluation_of(size) for size in (50, 125, 250, 500, 1000)}),
        str(training.EVALUATION_BATCH))  # fmt: skip
    ways: dict[str, Work] = {"PyTorch's": pooling.stock, "in chunks": pooling.chunked, "strided": pooling.strided,
                             "one write of each input": pooling.one_write}  # fmt: skip
    for way in (pooling.chunked, pooling.strided, pooling.one_write):
        if not torch.equal(way(), pooling.expected):
            raise SystemExit(f"{way.__name__} pooling gives other values")
    if compiled := pooling.compiled():
        ways["inductor"] = compiled
    add("pooling and ReLU, forward and backward", in_turn(ways, 5), "PyTorch's")
    with torch.no_grad():
        add("weights packed for oneDNN (conv2, forward)", in_turn(packed_weights(), 5), "plain")
    batch = step.batches.batch(1, 0)
    share: dict[str, Work] = {
        "a whole step": step.train,
        "normalising its images": lambda: augmentation.normalise(batch.images),
        "drawing and cropping its batch": lambda: step.batches.batch(1, 0),
        "its optimizers": lambda: [member.optimizer.step() for member in step.pack.members],
    }
    add("possible gain (share of a step)", in_turn(share), "a whole step")

    one = ["--data", source, "--take", "30"]
    huge: dict[str, list[float]] = {"default": [], "huge pages": []}
    for _ in range(3):
        huge["default"].append(seconds_of(in_process(one)))
        huge["huge pages"].append(seconds_of(in_process(one, HUGE_PAGES)))
    add("pages of the C library", {name: statistics.median(values) for name, values in huge.items()}, "default")
    spread: dict[str, list[float]] = {"two processes of one thread": [], "one process of two threads": []}
    for _ in range(3):
        alone = [*one, "--wall"]
        spread["two processes of one thread"].append(seconds_of(in_process(alone), in_process(alone)) / 2)
        spread["one process of two threads"].append(seconds_of(in_process([*alone, "--threads", "2"])))
    add("threads (wall time)", {name: statistics.median(values) for name, values in spread.items()},
        "two processes of one thread")  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar100", help="cifar100, a folder, or synthetic")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument(
        "--take", type=int, default=0, help="only take this number of steps and print the seconds of one"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true")
    parser.add_argument("--convolutions", action="store_true", help="only the ideas for the convolutions")
    parser.add_argument("--profile", action="store_true", help="print the operators of a step by their CPU time")
    asked = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    data = load_data(asked.data)
    if asked.take:
        print(take_steps(data, asked.threads, RUNS, asked.take, asked.wall))
        return
    if asked.profile:
        print(profile(packs_by_kernels(data)))
        return
    columns = [
        Column("idea", "Idea"), Column("this", "This"), Column("before", "against"), Column("ms", "This", "ms"),
        Column("before_ms", "Against", "ms"), Column("ratio", "Ratio"),
    ]  # fmt: skip
    notes = [f"Packs of {RUNS}, {asked.rounds} rounds. The current implementation is in the column `against`."]
    rows = measure(data, asked.data, asked.rounds, asked.convolutions)
    print(as_markdown(Table("ideas", "Other ideas for the step on a CPU", columns, rows, notes, data.name)))


if __name__ == "__main__":
    main()
