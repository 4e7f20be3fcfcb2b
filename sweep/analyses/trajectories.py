"""The paths of runs' weights over the loss surface: from what was kept, or from training them again."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from results.analyses.trajectory import RunPath, Trajectory, trajectory_files, write_trajectory
from results.figures.selection import select_configurations
from results.ledger.arrays import load_sweep
from results.ledger.ledger import Ledger
from results.ledger.queries import TrainedPack, find_run, pack_of, run_of, train_losses
from search_spaces import Run
from search_spaces.canonical import content_hash
from search_spaces.errors import SpecError, SweepFolderError
from sweep.analyses.captures import Track, device_of, named, silent, writable
from sweep.analyses.targets import Subjects, of_sweep
from sweep.folder.paths import SweepFolder, resume_command
from sweep.folder.snapshot import weights_place
from sweep.folder.trust import STORAGE, check_trusted

if TYPE_CHECKING:
    import torch

SAVES = 25
"""About so many points has a path, where nothing else is asked for."""

MOST_PATHS = 4
"""Configurations that are traced where none are named: more could not be distinguished."""

MAX_GRID = 1000

Weights = npt.NDArray[np.floating]


def trace_trajectories(
    folder: SweepFolder, runs: Sequence[str | Run] = (), *, seed: int | None = None, grid: int = 21,
    data: str | None = None, track: Track = silent, skip: Collection[Path] = (),
) -> list[Path]:  # fmt: skip
    """Trace runs of one seed: each run on two directions of its path, and several runs also on two shared directions.

    Args:
        folder: the sweep.
        runs: ids of runs, or the beginnings of ids; if empty, the best configurations under ``seed``.
        seed: the seed if ``runs`` is empty; default: the first seed.
        grid: points of the loss surface on each side, 3 to 1000.
        data: the place of the data, if it is not the one in the sweep's spec.
        track: called with the progress.
        skip: files of paths that are up to date and need not be made.

    Returns:
        The files of the paths.

    Raises:
        UnknownNameError: no such run.
        SpecError: runs of different seeds, without a result, or diverged.
        SweepFolderError: a folder that cannot be written.
    """
    if not 3 <= grid <= MAX_GRID:
        raise SpecError("--grid", f"{grid}", f"3 to {MAX_GRID} points on each side")
    subjects = _chosen(folder, runs, seed, data)
    subjects.require_lenet5("trajectory")
    groups: list[tuple[Run, ...]] = [(run,) for run in subjects.runs]
    if len(subjects.runs) > 1:
        groups.append(subjects.runs)
    stems = {group: folder.analyses / "trajectory" / _stem(group) for group in groups}
    left = [group for group in groups if trajectory_files(stems[group])[0] not in skip]
    if left:
        device = device_of(subjects)
        weights = {run.run_id: _weights(subjects, run, device, track) for run in subjects.runs}
        for group in left:
            with writable(stems[group]):
                write_trajectory(stems[group], _traced(subjects, group, weights, grid, device, track))
    return [trajectory_files(stem)[0] for stem in stems.values()]


def _stem(group: Sequence[Run]) -> str:
    return group[0].run_id if len(group) == 1 else f"joint-{content_hash([run.run_id for run in group])}"


def _chosen(folder: SweepFolder, runs: Sequence[str | Run], seed: int | None, data: str | None) -> Subjects:
    """Return the runs that are asked for, or the best configurations under one seed, all with a result."""
    subjects = of_sweep(folder, None, data)
    with Ledger.open_read_only(folder.ledger) as ledger:
        statuses = ledger.statuses()
        ids = [run.run_id if isinstance(run, Run) else find_run(ledger, run) for run in runs]
    if not ids:
        asked, seed = seed, subjects.spec.seed_list[0] if seed is None else seed
        best = {
            group.configuration_id
            for group in select_configurations(load_sweep(folder.ledger, folder.name), MOST_PATHS).configurations
        }
        ids = [
            run.run_id for run in subjects.runs
            if run.seed == seed and statuses[run.run_id] == "done" and run.configuration.configuration_id in best
        ]  # fmt: skip
        if not ids:
            if asked is None:
                again = resume_command(folder.name, folder.runs_dir)
                raise SpecError(folder.name, f"no run of seed {seed} is done yet, and a path needs a whole run", again)
            known = ", ".join(str(one) for one in subjects.spec.seed_list[:20])
            raise SpecError("--seed", f"no run of seed {seed} is done", f"the sweep's seeds are {known}")
    for run_id in ids:
        if statuses.get(run_id) != "done":
            raise SpecError(
                "--run", f"{run_id} is {statuses.get(run_id, 'no longer planned')}", "a path needs a whole run"
            )
    chosen = [run for run in subjects.runs if run.run_id in ids]
    if len({run.seed for run in chosen}) > 1:
        seeds = ", ".join(str(run.seed) for run in chosen)
        raise SpecError(
            "--run", f"runs of the seeds {seeds}", "paths share a start, and so a plane, under one seed only"
        )
    return subjects.only(*chosen)


def _weights(subjects: Subjects, run: Run, device: torch.device, track: Track) -> tuple[list[int], Weights]:
    """Return the epochs of which the run's weights are known, and these ``[n, P]``; train again what is missing."""
    from trainables.analyses.loss_landscape import FEWEST_POINTS
    from trainables.training.weight_snapshots import SavedWeights

    check_trusted(subjects.folder, subjects.spec, {STORAGE})
    storage = weights_place(subjects.folder, subjects.spec)
    saved = SavedWeights(storage)
    epochs = saved.epochs(run.run_id)
    if len(epochs) < FEWEST_POINTS or epochs[0] != 0 or epochs[-1] < subjects.spec.epochs:
        _retrain(subjects, run, device, track)
        epochs = saved.epochs(run.run_id)
    epochs = [epoch for epoch in epochs if epoch <= subjects.spec.epochs]
    try:
        return epochs, np.stack([saved.read(run.run_id, epoch) for epoch in epochs])
    except (OSError, ValueError) as error:
        raise SweepFolderError(
            f"{storage.where(run.run_id)}: {error}; delete that folder, and the run is trained again"
        ) from error


def _retrain(subjects: Subjects, run: Run, device: torch.device, track: Track) -> None:
    """Train the run's whole pack again, on as many threads as the first time: the same bits, this time kept."""
    import torch

    from trainables.analyses.loss_landscape import retrain_weights
    from trainables.training.messages import Assignment

    folder, epochs = subjects.folder, subjects.spec.epochs
    with Ledger.open_read_only(folder.ledger) as ledger:
        pack = pack_of(ledger, run.run_id)
        assert pack is not None  # it is done
        runs = [run_of(ledger, member) for member in pack.members]
        recorded = train_losses(ledger, run.run_id)
    every = math.ceil(epochs / SAVES)
    wanted = [one.run_id for one in subjects.runs if one.run_id in pack.members]
    place = weights_place(folder, subjects.spec)
    before, differ = torch.get_num_threads(), 0
    torch.set_num_threads(pack.threads)
    try:
        assignment = Assignment(pack.pack_id, runs, epochs, test_epochs=frozenset())
        for done, report in enumerate(
            retrain_weights(assignment, subjects.data, device, wanted, every, place, _kernels(pack, device)), start=1
        ):
            losses = {row.epoch: row.train_loss for row in report.rows if row.run_id == run.run_id}
            differ += sum(recorded.get(epoch) != loss for epoch, loss in losses.items())
            track(f"weights of {len(wanted)} of a pack's runs: trained again, none were kept", done, epochs)
    finally:
        torch.set_num_threads(before)
    if differ:
        track(
            f"  its training losses differ from the ledger's in {differ} of {epochs} epochs: another device, other "
            "versions, kernels or another pack; the path is that of the second training", 1, 1,
        )  # fmt: skip


def _kernels(pack: TrainedPack, device: torch.device) -> str:
    """Return the kernels that trained ``pack`` where they can be used on ``device``, else PyTorch's."""
    from trainables.models.compiled_convolutions import CompilerError, library
    from trainables.models.kernels import COMPILED, TORCH

    if not pack.kernels or (pack.kernels == COMPILED) != (device.type == "cpu"):
        return TORCH
    try:
        if pack.kernels == COMPILED:
            library()
    except CompilerError:
        return TORCH
    return pack.kernels


def _traced(
    subjects: Subjects, group: Sequence[Run], weights: Mapping[str, tuple[list[int], Weights]], grid: int,
    device: torch.device, track: Track,
) -> Trajectory:  # fmt: skip
    """Return the paths of a group on the two directions of all their points, over the loss on that plane."""
    import torch

    from trainables.analyses.loss_landscape import (
        loss_surface,
        path_lengths,
        path_losses,
        principal_directions,
        surface_extent,
    )
    from trainables.training.batches import Split

    split = Split.of(subjects.data.val_images, subjects.data.val_labels, device)
    dtype = getattr(torch, group[0].protocol.dtype)
    directions = principal_directions(np.concatenate([weights[run.run_id][1] for run in group]))
    paths = []
    for run in group:
        epochs, points = weights[run.run_id]
        feet = directions.project(points)
        losses = path_losses(points, split, dtype)
        paths.append(
            RunPath(
                run.run_id, subjects.label(run), np.array(epochs), feet[:, 0], feet[:, 1], losses, *path_lengths(points)
            )
        )
    xs, ys = surface_extent(np.concatenate([np.stack([path.x, path.y], axis=1) for path in paths]), size=grid)
    what = subjects.label(group[0]) if len(group) == 1 else f"{len(group)} configurations together"
    loss = loss_surface(directions, xs, ys, split, dtype, on_progress=named(track, f"loss surface of {what}"))
    about = {**subjects.about(group[0], "trajectory", device), "label": what}
    if len(group) > 1:
        about["configurations"] = {run.run_id: run.configuration.to_dict() for run in group}
        about |= {"run_id": "", "configuration": {}, "order": len(subjects.order)}  # of several
    return Trajectory(paths, tuple(directions.explained.tolist()), xs, ys, loss, about)
