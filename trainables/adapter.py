"""The one file that knows Ray Tune: a class trainable that trains one pack, an epoch a step."""

from __future__ import annotations

import json
import os
import socket
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
from trainables.allocator import keep_freed_memory
from trainables.checkpoint import Checkpoints
from trainables.dataset import DataSet
from trainables.devices import deterministic, device_name, library_versions, training_device
from trainables.loop import CHECKPOINT_SECONDS, Assignment, Report, train
from trainables.saved_weights import SavedWeights
from trainables.sigterm import Sigterm
from trainables.stop_signal import Ask, Listener


def trial_config(
    assignment: Assignment, *, checkpoints: Path, threads: int, gpu: bool, weights: Path, stop_signal: str,
    save_weights_every: int = 0, checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> dict[str, str]:  # fmt: skip
    """Return a trial's config: one JSON text, which Tune need not walk through for search spaces.

    ``stop_signal`` is the name of an actor, a :class:`StopSignal`, from which the trial hears of the end.
    """
    return {
        "pack": json.dumps(
            {
                "pack_id": assignment.pack_id,
                "runs": [run.to_dict() for run in assignment.runs],
                "epochs": assignment.epochs,
                "test_epochs": sorted(assignment.test_epochs),
                "checkpoints": str(checkpoints),
                "threads": threads,
                "gpu": gpu,
                "weights": str(weights),
                "save_weights_every": save_weights_every,
                "stop_signal": stop_signal,
                "checkpoint_seconds": checkpoint_seconds,
            }
        )
    }


class PackTrainable(tune.Trainable):
    """Trains one pack. Its process is reused for the next one; its checkpoints are ours, not Tune's."""

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
        self._begin(new_config)
        return True

    def _begin(self, config: Mapping[str, str]) -> None:
        job = json.loads(config["pack"])
        torch.set_num_threads(job["threads"])
        device = training_device(job["gpu"])
        deterministic(device)
        assignment = Assignment(
            job["pack_id"], [Run.from_dict(run) for run in job["runs"]], job["epochs"], frozenset(job["test_epochs"])
        )
        attempt = _attempt(assignment.pack_id, assignment.runs, device, job["threads"])
        every = job["save_weights_every"]
        self._reports: Iterator[Report] = train(
            assignment, self._data, device, attempt, Checkpoints(Path(job["checkpoints"])),
            weights=SavedWeights(Path(job["weights"]), every) if every else None,
            asked_to_stop=lambda: self._sigterm.came or self._listener.asked is Ask.CANCEL,
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
