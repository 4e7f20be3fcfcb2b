"""The trackers: what each one needs, and how it is opened. A new tracker is one entry."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from search_spaces.errors import SpecError, UnknownNameError
from sweep.tracking.backend import Backend


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
                f"pip install -c constraints.txt -e '.[{TRACKERS[name].extra}]'",
            )  # fmt: skip
