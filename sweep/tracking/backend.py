"""The interface of a tracker, and the registry of trackers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from search_spaces.errors import SpecError, UnknownNameError
from sweep.tracking.tracked_run import Epoch, TrackedRun

Written = dict[int, dict[str, float]]
"""Epoch → the metrics of it that a tracker has."""


class Backend(Protocol):
    """Writes runs to one tracker. Any method may raise any exception of the tracker's library."""

    def written(self, run: TrackedRun) -> Written:
        """Return what the tracker has of a run: what an earlier process has written in full."""

    def write(self, run: TrackedRun, epoch: Epoch) -> None:
        """Write the metrics of an epoch. The first call for a run also writes its hyperparameters and tags."""

    def remove(self, run: TrackedRun) -> None:
        """Remove all of a run: it was trained again, with other numbers."""

    def end(self, run: TrackedRun, status: str) -> None:
        """Mark a run as ended with ``status``, one of the states of a run."""

    def close(self) -> None:
        """Write everything that is buffered."""


@dataclass(frozen=True)
class Tracker:
    """A tracker: the modules that it needs, the extra that installs them, and how it is opened in a folder."""

    modules: tuple[str, ...]
    extra: str
    open: Callable[[Path, str], Backend]  # folder, name of the sweep
    place: str  # in the folder


def _tensorboard(folder: Path, sweep: str) -> Backend:
    from sweep.tracking.tensorboard import TensorBoardBackend

    return TensorBoardBackend(folder / TRACKERS["tensorboard"].place)


def _mlflow(folder: Path, sweep: str) -> Backend:
    from sweep.tracking.mlflow import MlflowBackend

    return MlflowBackend(folder / TRACKERS["mlflow"].place, sweep)


def _wandb(folder: Path, sweep: str) -> Backend:
    from sweep.tracking.wandb import WandbBackend

    return WandbBackend(folder / TRACKERS["wandb"].place, sweep)


TRACKERS: Mapping[str, Tracker] = {
    "tensorboard": Tracker(("tensorboard",), "tensorboard", _tensorboard, "tensorboard"),
    "mlflow": Tracker(("mlflow", "sqlalchemy", "alembic"), "mlflow", _mlflow, "mlflow.db"),
    "wandb": Tracker(("wandb",), "wandb", _wandb, "wandb"),
}


def check_trackers(names: Collection[str]) -> None:
    """Refuse an unknown tracker, and one whose package is not installed; nothing large is imported.

    Raises:
        UnknownNameError: the message lists the trackers.
        SpecError: the message has the command that installs the package.
    """
    for name in names:
        if name not in TRACKERS:
            raise UnknownNameError("tracker", name, TRACKERS)
        missing = [module for module in TRACKERS[name].modules if find_spec(module) is None]
        if missing:
            raise SpecError(
                "tracking.trackers", f"{name!r} needs {', '.join(missing)}, which is not installed",
                f"pip install 'lenet-sweep[{TRACKERS[name].extra}]'",
            )  # fmt: skip
