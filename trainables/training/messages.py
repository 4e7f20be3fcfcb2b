"""The messages between a driver and its trials: what to train, and what was measured."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch

from search_spaces import Run
from trainables.models.kernels import TORCH
from trainables.runtime.devices import device_name, library_versions

CHECKPOINT_SECONDS = 30.0
KERNELS = "kernels"
"""The key among the versions of an attempt that names kernels other than PyTorch's."""


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch of one run. The fields are the columns of the ledger's table ``epochs``."""

    run_id: str
    epoch: int  # from 1
    train_loss: float
    train_acc: float  # percent, as all accuracies
    val_loss: float
    val_acc: float
    test_loss: float | None  # None in an epoch that does not evaluate the test split
    test_acc: float | None
    lr: float  # mean over the epoch's steps
    lr_first: float
    lr_last: float
    epoch_seconds: float  # training of the whole pack, without evaluation
    eval_seconds: float
    pack_size: int
    attempt_id: str


@dataclass(frozen=True)
class AttemptInfo:
    """The process that trains a pack. The fields are columns of the ledger's table ``attempts``."""

    attempt_id: str
    pack_id: str
    host: str
    pid: int
    device: str
    gpus: str  # ids of its GPUs, separated by commas
    threads: int
    members: tuple[str, ...]  # run ids, in the order of the pack
    versions: Mapping[str, str]
    started: float  # Unix time in seconds

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, for a checkpoint."""
        return {**asdict(self), "members": list(self.members)}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` returned."""
        return cls(**{**table, "members": tuple(table["members"])})


@dataclass(frozen=True)
class Assignment:
    """The training of one pack."""

    pack_id: str
    runs: Sequence[Run]
    epochs: int
    test_epochs: frozenset[int]  # epochs after which the test split is evaluated
    resumes: bool = True  # False: no checkpoint holds all state of its optimizers, so it restarts from its first epoch

    @property
    def seeds(self) -> list[int]:
        """The runs' seeds, in the runs' order."""
        return [run.seed for run in self.runs]


@dataclass(frozen=True)
class TrialSpec:
    """A trial: its assignment, its resources, and where it writes.

    ``checkpoints`` is the address of the pack's checkpoints, ``weights`` that of the sweep's weight snapshots.
    """

    assignment: Assignment
    checkpoints: str
    weights: str
    threads: int
    gpus: float = 0.0  # its share of a GPU; 0: it trains on the CPU
    save_weights_every: int = 0  # epochs; 0: never
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    on_drivers_disk: bool = False  # whether both addresses are on the driver's disk, which other nodes may not see
    code: str = ""  # hash of the driver's code (search_spaces.code_version); empty: not checked
    kernels: str = "torch"  # of the convolutions on a CPU (trainables/models/kernels.py)
    stop_signal: str = ""  # path of a file, or name of an actor, with the stop request; empty: there is none

    def to_json(self) -> str:
        """Return it as one JSON text."""
        assignment = {
            **vars(self.assignment),
            "runs": [run.to_dict() for run in self.assignment.runs],
            "test_epochs": sorted(self.assignment.test_epochs),
        }
        return json.dumps({**vars(self), "assignment": assignment})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the text of :meth:`to_json`."""
        table = json.loads(text)
        assignment = table["assignment"]
        assignment["runs"] = [Run.from_dict(run) for run in assignment["runs"]]
        assignment["test_epochs"] = frozenset(assignment["test_epochs"])
        return cls(**{**table, "assignment": Assignment(**assignment)})


@dataclass(frozen=True)
class Report:
    """What a trial reports after an epoch."""

    rows: Sequence[EpochMetrics] = ()
    attempts: Sequence[AttemptInfo] = ()  # those that trained the rows, the present one last
    diverged: Mapping[str, int] = field(default_factory=dict)  # run id → the epoch in which it diverged
    fresh: bool = True  # False: the rows come from a checkpoint
    done: bool = False
    stopped: bool = False  # the trial ends because of a stop request; its checkpoint has what is not reported


def this_attempt(
    assignment: Assignment, device: torch.device, *, gpus: str = "", attempt_id: str | None = None,
    kernels: str = TORCH,
) -> AttemptInfo:  # fmt: skip
    """Return the attempt of this process: everything that equal bits depend on.

    ``gpus`` are the ids of its GPUs; ``attempt_id`` is a new one where it is None. ``kernels`` are among the versions
    where they are not PyTorch's.
    """
    return AttemptInfo(
        attempt_id=uuid.uuid4().hex if attempt_id is None else attempt_id,
        pack_id=assignment.pack_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        device=device_name(device),
        gpus=gpus,
        threads=torch.get_num_threads(),
        members=tuple(run.run_id for run in assignment.runs),
        versions=library_versions() | ({} if kernels == TORCH else {KERNELS: kernels}),
        started=time.time(),
    )
