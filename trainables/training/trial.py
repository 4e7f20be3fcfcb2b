"""A trial: one training of one pack, from its newest checkpoint, with the resources that its spec names."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from search_spaces.code_version import code_hash
from search_spaces.errors import EnvironmentMismatchError
from trainables.data.dataset import DataSet
from trainables.models.kernels import usable_kernels
from trainables.runtime.devices import deterministic, hold_to_share, training_device
from trainables.runtime.user_imports import LEDGER
from trainables.storage.addresses import open_storage
from trainables.storage.folder import FolderStorage
from trainables.storage.interface import Storage
from trainables.training.checkpoints import CheckpointError, Checkpoints
from trainables.training.loop import TrainOptions, train
from trainables.training.messages import Report, TrialSpec, this_attempt
from trainables.training.weight_snapshots import SavedWeights


def run_trial(
    spec: TrialSpec, data: DataSet, asked_to_stop: Callable[[], bool], gpu_ids: Callable[[], str] = str
) -> Iterator[Report]:
    """Train a pack from its newest valid checkpoint and yield a report after every epoch.

    Nothing is opened before the first report is asked for, so every error is raised there, with its own type.

    Args:
        spec: the trial.
        data: what it trains on.
        asked_to_stop: called after every step; True writes a checkpoint and ends the trial.
        gpu_ids: returns the ids of this process's GPUs, separated by commas.

    Raises:
        EnvironmentMismatchError: this process has other code than the driver.
        CompilerError: the spec has compiled kernels, and they cannot be compiled or loaded here.
    """
    if spec.code and spec.code != code_hash():
        raise EnvironmentMismatchError(
            f"this process imports code {code_hash()} from {Path(__file__).parents[2]}, the driver has {spec.code}"
        )
    torch.set_num_threads(spec.threads)
    device = training_device(spec.gpus > 0)
    deterministic(device)
    hold_to_share(device, spec.gpus, spec.gpu_context)
    runs = spec.assignment.runs
    kernels = usable_kernels(spec.kernels, runs[0].conditions, device, len(runs))
    options = TrainOptions(
        attempt=this_attempt(spec.assignment, device, gpus=gpu_ids(), kernels=kernels),
        kernels=kernels,
        checkpoints=Checkpoints(place_of_checkpoints(spec.checkpoints, spec.on_drivers_disk)),
        checkpoint_seconds=spec.checkpoint_seconds,
        weights=weights_to_keep(spec),
        asked_to_stop=asked_to_stop,
    )
    yield from train(spec.assignment, data, device, options)


def place_of_checkpoints(address: str, on_drivers_disk: bool) -> Storage:
    """Return where a pack's checkpoints are written: ``address``, or this node's own disk if it cannot see that.

    Checkpoints on a node's own disk are lost with the node; the pack then starts again elsewhere, with the same bits.

    Raises:
        CheckpointError: a shared folder that is not mounted here; it must not be created on the local disk.
    """
    storage = open_storage(address)
    if not isinstance(storage, FolderStorage) or (on_drivers_disk and _sees(address)):
        return storage
    sweep = storage.path.parent.parent
    if not on_drivers_disk:
        if not sweep.is_dir():
            raise CheckpointError(f"{sweep}: not found on this node; is the disk of the storage mounted?")
        return storage
    scratch = Path(tempfile.gettempdir()) / f"lenet-sweep-{os.getuid()}"
    scratch.mkdir(mode=0o700, exist_ok=True)
    if scratch.is_symlink() or scratch.stat().st_uid != os.getuid():
        raise CheckpointError(f"{scratch}: belongs to another user; set TMPDIR on this node")
    return FolderStorage(scratch / hashlib.sha256(str(sweep).encode()).hexdigest()[:16] / storage.path.name)


def weights_to_keep(spec: TrialSpec) -> SavedWeights | None:
    """Return where this trial saves weight snapshots.

    None where the spec asks for none, or where this node does not see the driver's disk, which is to have them.
    """
    if not spec.save_weights_every or (spec.on_drivers_disk and not _sees(spec.weights)):
        return None
    return SavedWeights(open_storage(spec.weights), spec.save_weights_every)


def _sees(path: str) -> bool:
    """Return whether this node sees the sweep's folder, in which ``path`` lies."""
    return any((place / LEDGER).exists() for place in Path(path).parents)
