"""What one GPU makes of the study, measured in one go: ``python -m benchmarks.gpu --data FOLDER``.

Asked for is the space ``study``: 24 configurations, 5 seeds, 50 epochs.

- A step of 24 runs of one seed, recorded as CUDA graphs and as it stands, in turn; and whether both give the same bits.
- Whether a training that is cut within an epoch and goes on from its checkpoint ends with the same bits.
- The memory that such a pack takes, and the share of the GPU that ``gpus_per_trial = "auto"`` makes of it.
- The whole study, packed (a pack a seed) at that share: seconds from the first trial's start to the last one's end.
- A small part of it unpacked, four runs at a time at ``gpus_per_trial = 0.25``, and what all of it would take so.

On a machine without a GPU it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

from search_spaces import Run
from trainables.data.dataset import DataSet, load_data
from trainables.runtime.devices import deterministic, device_name, library_versions
from trainables.training.batches import Batches
from trainables.training.checkpoints import Checkpoints
from trainables.training.cuda_graphs import WARM_UPS, Graphs, NoGraphs, graphs_of
from trainables.training.loop import Assignment, Report, train
from trainables.training.pack import Pack

SPACE = "study"
EPOCHS, SEEDS = 50, 5
ROUNDS, STEPS = 5, 100
RESUME_EPOCHS = 3
UNPACKED_SHARE = 0.25
UNPACKED_EPOCHS = 2
TARGET_SECONDS, TARGET_RATIO = 120.0, 8.0
NO_GPU = "benchmarks.gpu: PyTorch finds no GPU here; nothing was measured"


def study_runs(source: str, data: DataSet, epochs: int, seeds: int) -> list[Run]:
    """Return the runs of the study, seed after seed."""
    from sweep.planning.plan import make_runs, resolve_configurations

    spec = study_spec("runs", source, epochs, seeds)
    steps = -(-len(data.train_labels) // spec.protocol.batch_size)
    runs = make_runs(spec, resolve_configurations(spec, steps), data.fingerprint)
    return sorted(runs, key=lambda run: run.seed)


def study_spec(name: str, source: str, epochs: int, seeds: int, **resources: Any) -> Any:
    from sweep.config.spec import read_spec

    placed = {f"resources.{key}": value for key, value in resources.items()}
    return read_spec(SPACE, {"name": name, "data": source, "epochs": epochs, "seeds": seeds, **placed})


def measure_steps(
    runs: Sequence[Run], data: DataSet, device: torch.device, graphs: Graphs | None, rounds: int, steps: int
) -> dict[str, Any]:
    """Take steps recorded and as they stand, in turn; return the milliseconds of each, and whether bits agree."""
    batches = Batches(data, [run.seed for run in runs], runs[0].protocol, device)
    packs = {
        "recorded": Pack(runs, batches.steps, device, graphs),
        "eager": Pack(runs, batches.steps, device, NoGraphs()),
    }
    milliseconds: dict[str, list[float]] = {way: [] for way in packs}
    full = max(1, batches.examples // runs[0].protocol.batch_size)
    for number in range(rounds + 1):  # the first one warms up and records
        for way, pack in packs.items():
            began = time.perf_counter()
            taken = steps if number else 2 * WARM_UPS
            for step in range(taken):
                pack.step_in_epoch = step % full
                pack.train_step(batches.batch(number + 1, pack.step_in_epoch))
            pack.loss_sum.tolist()  # waits for the device
            if number:
                milliseconds[way].append(1000 * (time.perf_counter() - began) / taken)
    pairs = zip(*(pack.stack.stacked.values() for pack in packs.values()), strict=True)
    same = all(torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in pairs)
    return {**{f"{way}_ms": statistics.median(values) for way, values in milliseconds.items()}, "same_bits": same}


def resume_is_exact(runs: Sequence[Run], data: DataSet, device: torch.device, place: Path) -> bool:
    """Train undisturbed, and cut in the middle of the second epoch; tell whether rows and checkpoints are the same."""
    assignment = Assignment("gpu", runs, RESUME_EPOCHS, frozenset({RESUME_EPOCHS}))
    steps = -(-len(data.train_labels) // runs[0].protocol.batch_size)
    whole, cut = Checkpoints(place / "whole"), Checkpoints(place / "cut")
    undisturbed = list(train(assignment, data, device, {"attempt_id": "a"}, whole))
    taken = 0

    def in_the_second_epoch() -> bool:
        nonlocal taken
        taken += 1
        return taken == steps + max(1, steps // 2)

    list(train(assignment, data, device, {"attempt_id": "a"}, cut, asked_to_stop=in_the_second_epoch))
    resumed = list(train(assignment, data, device, {"attempt_id": "a"}, cut))
    return measured_rows(undisturbed) == measured_rows(resumed) and _same(_members(whole), _members(cut))


def measured_rows(reports: Sequence[Report]) -> list[str]:
    """Return what the rows measure, times apart, in the order of runs and epochs; NaN equals NaN."""
    rows = [row for report in reports for row in report.rows]
    ordered = sorted(rows, key=lambda row: (row["run_id"], row["epoch"]))
    return [repr({key: value for key, value in row.items() if not key.endswith("_seconds")}) for row in ordered]


def _members(checkpoints: Checkpoints) -> list[dict[str, Any]]:
    state = checkpoints.newest()
    assert state is not None
    return [{key: member[key] for key in ("parameters", "optimizer", "schedule")} for member in state["members"]]


def _same(one: Any, other: Any) -> bool:
    """Whether two states are equal bit for bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and bool(one.numpy().tobytes() == other.numpy().tobytes())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    return repr(one) == repr(other)


def training_seconds(spec: Any, runs_dir: Path) -> tuple[float, dict[str, float] | None]:
    """Train a sweep; return the seconds from its first trial's start to its last one's end, and what a probe found."""
    from rich.console import Console

    from results.ledger.ledger import Ledger
    from sweep.driver.driver import drive

    outcome = drive(spec, runs_dir, Console(file=io.StringIO()))
    if outcome is None or not outcome.all_done:
        raise SystemExit(f"the sweep {spec.name} did not end as it should: {outcome}")
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        (answer,) = ledger.read("SELECT MIN(started), MAX(ended) FROM attempts")
        probed = ledger.gpu_share()
    ((began, ended),) = answer.rows
    return float(ended - began), probed


def extrapolated(seconds: float, run_epochs: int, asked: int) -> float:
    """Return what ``asked`` run-epochs would take where ``run_epochs`` took ``seconds``."""
    return seconds * asked / run_epochs


def measure(source: str, epochs: int, seeds: int, place: Path) -> dict[str, Any]:
    """Measure everything on this machine's first GPU."""
    data = load_data(source)
    runs = study_runs(source, data, epochs, seeds)
    one_seed = [run for run in runs if run.seed == runs[0].seed]
    # The sweeps come first: from then on this process has a context on the GPU itself, which a probe would count.
    packed = study_spec("packed", source, epochs, seeds, pack=len(one_seed), gpus_per_trial="auto")
    packed_seconds, probed = training_seconds(packed, place / "runs")
    part = study_spec("unpacked", source, UNPACKED_EPOCHS, 1, pack=1, gpus_per_trial=UNPACKED_SHARE)
    part_seconds, _ = training_seconds(part, place / "runs")
    unpacked_seconds = extrapolated(part_seconds, len(one_seed) * UNPACKED_EPOCHS, len(runs) * epochs)
    device = torch.device("cuda")
    deterministic(device)
    return {
        **measure_steps(one_seed, data, device, graphs_of(device), ROUNDS, STEPS),
        "resume_same_bits": resume_is_exact(one_seed, data, device, place),
        "packed_seconds": packed_seconds, "unpacked_seconds": unpacked_seconds,
        "ratio": unpacked_seconds / packed_seconds, **(probed or {}),
        "device": device_name(device), "versions": library_versions(), "runs": len(runs), "epochs": epochs,
    }  # fmt: skip


def report(found: Mapping[str, Any]) -> str:
    """Return what was measured as Markdown."""
    yes = {True: "yes", False: "NO"}
    runs = f"{found['runs']} runs × {found['epochs']} epochs"
    rows = [
        ("a step of one seed's runs, recorded, ms", f"{found['recorded_ms']:.2f}", ""),
        ("the same as it stands, ms", f"{found['eager_ms']:.2f}", ""),
        ("both give the same bits", yes[found["same_bits"]], "yes"),
        ("cut and resumed, the same bits", yes[found["resume_same_bits"]], "yes"),
        (
            "memory of a pack, GiB, and its context",
            f"{found['reserved'] / 2**30:.2f} + {found['context'] / 2**30:.2f}",
            "",
        ),
        ("share of the GPU", f"{found['share']:.3g}", ""),
        (f"{runs}, packed, s", f"{found['packed_seconds']:.0f}", f"≤ {TARGET_SECONDS:.0f}"),
        (f"the same, unpacked at {UNPACKED_SHARE}, s (extrapolated)", f"{found['unpacked_seconds']:.0f}", ""),
        ("unpacked over packed", f"{found['ratio']:.1f}", f"≥ {TARGET_RATIO:.0f}"),
    ]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [f"{found['device']}; {versions}", "", "| what | measured | asked for |", "| :--- | ---: | ---: |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar100", help="cifar100, a folder, or synthetic")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print(NO_GPU, file=sys.stderr)
        raise SystemExit(2)
    with (
        tempfile.TemporaryDirectory(prefix="gpu-", ignore_cleanup_errors=True) as place,
        redirect_stdout(sys.stderr),  # Ray and Tune talk, and the result stands alone
    ):
        found = measure(arguments.data, arguments.epochs, arguments.seeds, Path(place))
    print(json.dumps(found) if arguments.json else report(found))


if __name__ == "__main__":
    main()
