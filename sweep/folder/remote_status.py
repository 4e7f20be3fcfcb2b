"""A sweep as its storage shows it, for whoever does not reach its folder: how it stands, and requests to its driver."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.errors import StorageError, SweepFolderError
from sweep.folder.control import ControlStorage, is_fresh, published, put_request
from sweep.folder.paths import SweepFolder
from sweep.folder.status import STATES, driver_told, sweep_status

if TYPE_CHECKING:
    from trainables.storage.interface import Storage

SNAPSHOT = "status.json"
"""What lies beside the snapshot of the ledger: the status at that moment."""
NUMBERS = ("runs", *STATES, "epochs_share", "best_val_acc", "best_run")


def is_remote(name: str) -> bool:
    """Tell whether ``name`` is PLACE/NAME, a sweep in a storage; the name of a folder has no slash."""
    return "/" in name


def look_at(name: str, runs_dir: Path) -> Callable[[], dict[str, Any]]:
    """Return what looks at a sweep, given by its name in ``runs_dir`` or as PLACE/NAME in a storage, each time anew.

    Raises:
        SweepFolderError: there is no such sweep.
    """
    if is_remote(name):
        return lambda: remote_status(name)
    folder = SweepFolder.existing(runs_dir, name)
    return lambda: sweep_status(folder)


def _open(address: str) -> Storage:
    """Return the storage of the sweep ``PLACE/NAME``, or ``PLACE/NAME?options``."""
    from trainables.storage.interface import Storage

    place, mark, options = address.partition("?")
    return Storage.open(place.rstrip("/") + mark + options)


def remote_status(address: str) -> dict[str, Any]:
    """Return what :func:`sweep.folder.status.sweep_status` returns, as the driver published it at ``address``.

    Raises:
        StorageError: it does not answer, or no sweep was published there, by a driver that is at work or that left
            what another one can go on with.
    """
    storage = _open(address)
    place = ControlStorage(storage)
    told, snapshot = published(place), _snapshot(storage)
    if not snapshot and _driver(told or {}) is None:
        raise StorageError(f"{address}: no sweep has been published there; name the sweep itself, PLACE/NAME")
    told = told or {}
    numbers = told if NUMBERS[0] in told else snapshot
    status: dict[str, Any] = {
        "name": address.partition("?")[0].rstrip("/").rpartition("/")[2],
        "folder": address,
        "data": snapshot.get("data", ""),
        "synthetic": snapshot.get("synthetic", False),
        **dict.fromkeys(("runs", *STATES), 0),
        "epochs_done": snapshot.get("epochs_done"),
        "epochs_share": 0.0,
        "best_val_acc": None,
        "best_run": None,
        **{key: numbers[key] for key in NUMBERS if key in numbers},
        "resume": shlex.join(["sweep", "resume", address]),
        "driver": _driver(told),
        "failures": snapshot.get("failures", []),
    }
    if status["driver"] is None:  # what it left running runs no more
        status |= {"interrupted": status["interrupted"] + status["running"], "running": 0}
    return status


def _driver(told: Mapping[str, Any]) -> dict[str, Any] | None:
    return driver_told(told) if told and is_fresh(told, time.time()) else None


def _snapshot(storage: Storage) -> dict[str, Any]:
    try:
        found = json.loads(storage.read(SNAPSHOT) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def ask_remote_driver(address: str, request: str) -> dict[str, Any]:
    """Ask ``request`` (``stop`` or ``cancel``) of whoever drives the sweep at ``address``, and return who that is.

    Raises:
        SweepFolderError: nobody drives it.
        StorageError: the storage does not answer, or cannot be written.
    """
    place = ControlStorage(_open(address))
    driver = _driver(published(place) or {})
    if driver is None:
        raise SweepFolderError(f"no driver is at work on {address}")
    put_request(place, request, driver["driver"])
    return driver
