"""Whether training on a device is exact: eager and captured steps, a resume, and a member that diverges."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from search_spaces import Run
from trainables.data.dataset import DataSet
from trainables.training.batches import Batches
from trainables.training.checkpoints import Checkpoints
from trainables.training.cuda_graphs import WARM_UPS, Graphs, NoGraphs
from trainables.training.loop import TrainOptions, train
from trainables.training.messages import Assignment, Report
from trainables.training.pack import Pack

SPACE = "study"
RESUME_EPOCHS = 3


def study_runs(source: str, data: DataSet, epochs: int, seeds: int) -> list[Run]:
    """Return the runs of the study, seed after seed."""
    from sweep.planning.plan import make_runs, resolve_configurations

    spec = study_spec("runs", source, epochs, seeds)
    steps = -(-len(data.train_labels) // spec.protocol.batch_size)
    runs = make_runs(spec, resolve_configurations(spec, steps), data.fingerprint)
    return sorted(runs, key=lambda run: run.seed)


def study_spec(name: str, source: str, epochs: int, seeds: int, **resources: Any) -> Any:
    from sweep.config.toml import read_spec

    placed = {f"resources.{key}": value for key, value in resources.items()}
    return read_spec(SPACE, {"name": name, "data": source, "epochs": epochs, "seeds": seeds, **placed})


def measure_steps(
    runs: Sequence[Run], data: DataSet, device: torch.device, graphs: Graphs | None, rounds: int, steps: int
) -> dict[str, Any]:
    """Take steps as CUDA graphs and eager, alternating; return the milliseconds of each and whether the bits agree."""
    batches = Batches(data, [run.seed for run in runs], runs[0].protocol, device)
    packs = {
        "captured": Pack(runs, batches.steps, device, graphs),
        "eager": Pack(runs, batches.steps, device, NoGraphs()),
    }
    milliseconds: dict[str, list[float]] = {kind: [] for kind in packs}
    full = max(1, batches.examples // runs[0].protocol.batch_size)
    for number in range(rounds + 1):  # the first round warms up and captures
        for kind, pack in packs.items():
            began = time.perf_counter()
            taken = steps if number else 2 * WARM_UPS
            for step in range(taken):
                pack.step_in_epoch = step % full
                pack.train_step(batches.batch(number + 1, pack.step_in_epoch))
            pack.loss_sum.tolist()  # waits for the device
            if number:
                milliseconds[kind].append(1000 * (time.perf_counter() - began) / taken)
    pairs = zip(*(pack.stack.stacked.values() for pack in packs.values()), strict=True)
    same = all(torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in pairs)
    return {**{f"{kind}_ms": statistics.median(values) for kind, values in milliseconds.items()}, "same_bits": same}


def resume_is_exact(runs: Sequence[Run], data: DataSet, device: torch.device, place: Path) -> bool:
    """Train without and with an interruption in the second epoch; return whether rows and checkpoints are equal."""
    assignment = Assignment("gpu", runs, RESUME_EPOCHS, frozenset({RESUME_EPOCHS}))
    steps = -(-len(data.train_labels) // runs[0].protocol.batch_size)
    whole, cut = Checkpoints(place / "whole"), Checkpoints(place / "cut")
    uninterrupted = list(train(assignment, data, device, TrainOptions(checkpoints=whole)))
    taken = 0

    def stop_in_second_epoch() -> bool:
        nonlocal taken
        taken += 1
        return taken == steps + max(1, steps // 2)

    list(train(assignment, data, device, TrainOptions(checkpoints=cut, asked_to_stop=stop_in_second_epoch)))
    resumed = list(train(assignment, data, device, TrainOptions(checkpoints=cut)))
    return measured_rows(uninterrupted) == measured_rows(resumed) and _same(_members(whole), _members(cut))


OF_AN_ATTEMPT = ("_seconds", "attempt_id")


def measured_rows(reports: Sequence[Report]) -> list[str]:
    """Return the rows without their times, ordered by run and epoch, as text: NaN equals NaN."""
    rows = [row for report in reports for row in report.rows]
    ordered = sorted(rows, key=lambda row: (row.run_id, row.epoch))
    return [
        repr({key: value for key, value in vars(row).items() if not key.endswith(OF_AN_ATTEMPT)}) for row in ordered
    ]


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


def rows_of_all_but(reports: Sequence[Report], run_id: str) -> list[str]:
    return [row for row in measured_rows(reports) if f"'run_id': '{run_id}'" not in row]


def divergence_is_contained(runs: Sequence[Run], data: DataSet, device: torch.device) -> bool:
    """Train a pack twice, once with NaN as weights of its second run; compare the rows of all other runs."""
    assignment = Assignment("gpu", runs, RESUME_EPOCHS, frozenset({RESUME_EPOCHS}))
    start = [dict(pack_member) for pack_member in _initial(runs, device)]
    healthy = list(train(assignment, data, device, TrainOptions(start=start)))
    start[1] = {name: torch.full_like(value, math.nan) for name, value in start[1].items()}
    broken = list(train(assignment, data, device, TrainOptions(start=start)))
    assert runs[1].run_id in broken[-1].diverged, "the run with NaN did not diverge"
    return rows_of_all_but(healthy, runs[1].run_id) == rows_of_all_but(broken, runs[1].run_id)


def _initial(runs: Sequence[Run], device: torch.device) -> list[dict[str, torch.Tensor]]:
    from trainables.models.lenet import initial_parameters

    return [{n: v.to(device) for n, v in initial_parameters(run.seed, torch.float32).items()} for run in runs]
