"""The one file that knows Ray Tune: a class trainable that trains one pack, an epoch a step."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from search_spaces import Run
from trainables.data.dataset import DataSet
from trainables.optim.plugins import LEDGER
from trainables.runtime.devices import deterministic, device_name, hold_to_share, library_versions, training_device
from trainables.runtime.malloc import keep_freed_memory
from trainables.runtime.sigterm import Sigterm
from trainables.runtime.stop_signal import Listener, StopRequest
from trainables.storage.addresses import open_storage
from trainables.storage.folder import FolderStorage
from trainables.storage.interface import Storage
from trainables.training.checkpoints import CheckpointError, Checkpoints
from trainables.training.loop import CHECKPOINT_SECONDS, Assignment, Report, train
from trainables.training.weight_snapshots import SavedWeights


def trial_config(
    assignment: Assignment, *, checkpoints: str, threads: int, gpus: float, weights: str, stop_signal: str,
    save_weights_every: int = 0, checkpoint_seconds: float = CHECKPOINT_SECONDS, local: bool = False,
) -> dict[str, str]:  # fmt: skip
    """Return a trial's config: one JSON text, which Tune need not walk through for search spaces.

    ``gpus`` is the trial's share of one, 0 for the CPU. ``stop_signal`` is the name of an actor, a :class:`StopSignal`,
    from which the trial hears of the end. ``checkpoints`` is the address of the pack's own, ``weights`` that of the
    sweep's weights along the way; ``local`` says that both lie on the driver's disk, which other nodes may not see.
    """
    return {
        "pack": json.dumps(
            {
                "pack_id": assignment.pack_id,
                "runs": [run.to_dict() for run in assignment.runs],
                "epochs": assignment.epochs,
                "test_epochs": sorted(assignment.test_epochs),
                "checkpoints": checkpoints,
                "local": local,
                "threads": threads,
                "gpus": gpus,
                "weights": weights,
                "save_weights_every": save_weights_every,
                "stop_signal": stop_signal,
                "checkpoint_seconds": checkpoint_seconds,
            }
        )
    }


class PackTrainable(tune.Trainable):
    """Trains one pack. Its process is reused for the next one; its checkpoints are ours, not Tune's."""

    _reports: Iterator[Report]

    def setup(self, config: dict[str, Any], data: DataSet | None = None) -> None:
        """Begin, or go on from the newest valid checkpoint: a retry, another node and another driver all come here."""
        assert data is not None
        self._data = data
        self._sigterm = Sigterm()
        stop_signal = ray.get_actor(json.loads(config["pack"])["stop_signal"])
        self._listener = Listener(lambda known: stop_signal.wait.remote(known).future())
        keep_freed_memory()
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next pack in the same process."""
        self._reports = iter(())
        gc.collect()  # a recorded step and its pack know each other; their memory goes before the next one's comes
        self._begin(new_config)
        return True

    def _begin(self, config: Mapping[str, str]) -> None:
        job = json.loads(config["pack"])
        torch.set_num_threads(job["threads"])
        device = training_device(job["gpus"] > 0)
        deterministic(device)
        hold_to_share(device, job["gpus"])
        assignment = Assignment(
            job["pack_id"], [Run.from_dict(run) for run in job["runs"]], job["epochs"], frozenset(job["test_epochs"])
        )
        attempt = _attempt(assignment.pack_id, assignment.runs, device, job["threads"])
        checkpoints = Checkpoints(place_of_checkpoints(job["checkpoints"], on_drivers_disk=job["local"]))
        self._reports = train(
            assignment, self._data, device, attempt, checkpoints,
            weights=weights_to_keep(job),
            asked_to_stop=lambda: self._sigterm.came or self._listener.asked is StopRequest.CANCEL,
            checkpoint_seconds=job["checkpoint_seconds"],
        )  # fmt: skip

    def step(self) -> dict[str, Any]:
        """Train one epoch; the result is the :class:`Report`, as a dict, and ``done`` also where it was stopped."""
        if self._listener.asked:  # between two epochs, so what there is of this pack lies in its checkpoint
            report = Report([], [], {}, fresh=True, done=False, stopped=True)
        else:
            with self._sigterm.put_off():
                report = next(self._reports)
        return {**asdict(report), "done": report.done or report.stopped}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the pack has written its own."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: ``setup`` has read it."""


def place_of_checkpoints(address: str, on_drivers_disk: bool) -> Storage:
    """Return where a pack's checkpoints go: where the driver says or, where a node does not see that, on its own disk.

    What such a node has written is lost with it: the pack starts over elsewhere, and comes to the same bits.

    Raises:
        CheckpointError: a shared folder that is not mounted here; another one must not be made in its place.
    """
    storage = open_storage(address)
    if not isinstance(storage, FolderStorage) or (on_drivers_disk and _sees(address)):
        return storage
    sweep = storage.path.parent.parent
    if not on_drivers_disk:
        if not sweep.is_dir():
            raise CheckpointError(f"{sweep}: is not here; is the disk of the storage mounted?")
        return storage
    scratch = Path(tempfile.gettempdir()) / f"lenet-sweep-{os.getuid()}"
    scratch.mkdir(mode=0o700, exist_ok=True)
    if scratch.is_symlink() or scratch.stat().st_uid != os.getuid():
        raise CheckpointError(f"{scratch}: belongs to somebody else; set TMPDIR on this node")
    return FolderStorage(scratch / hashlib.sha256(str(sweep).encode()).hexdigest()[:16] / storage.path.name)


def weights_to_keep(job: Mapping[str, Any]) -> SavedWeights | None:
    """Return where this trial keeps weights along the way; None where nobody asked, or only the driver's disk is left.

    ``job`` is what :func:`trial_config` packed.
    """
    if not job["save_weights_every"] or (job["local"] and not _sees(job["weights"])):
        return None
    return SavedWeights(open_storage(job["weights"]), job["save_weights_every"])


def _sees(path: str) -> bool:
    """Tell whether this node shares the disk on which the sweep's folder lies; ``path`` is right in one of its own."""
    return any((place / LEDGER).exists() for place in Path(path).parents)


def _attempt(pack_id: str, runs: Sequence[Run], device: torch.device, threads: int) -> dict[str, Any]:
    """Say where and with what this attempt runs: all that the promise of equal bits depends on."""
    return {
        "attempt_id": uuid.uuid4().hex,
        "pack_id": pack_id,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "device": device_name(device),
        "gpus": ",".join(map(str, ray.get_gpu_ids())),
        "threads": threads,
        "members": [run.run_id for run in runs],
        "versions": library_versions(),
        "started": time.time(),
    }
