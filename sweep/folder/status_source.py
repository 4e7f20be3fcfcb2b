"""Where the status of a sweep is read, and where requests are sent: its folder, or its storage.

Nothing of the sweep is imported or executed.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from results.ledger.ledger import Ledger
from results.ledger.queries import run_names
from search_spaces.errors import LedgerError, StorageError, SweepFolderError
from sweep.folder.control import ControlFolder, ControlPlace, ControlStorage, put_request, read_live_status
from sweep.folder.lease import LeasePlace, current_holder
from sweep.folder.lease_places import FolderLease, StorageLease
from sweep.folder.paths import STATUS_FILE, SweepFolder, is_sweep_folder, resume_command, sweep_names
from sweep.folder.status import (
    ENDED,
    STATES,
    DriverStatus,
    FailedRun,
    LiveStatus,
    SweepStatus,
    UnreadableSweep,
)

if TYPE_CHECKING:
    from trainables.storage.interface import Storage


@dataclass(frozen=True)
class StatusSource:
    """One sweep, as seen from this machine."""

    name: str  # as the user gave it
    lease: LeasePlace
    control: ControlPlace
    recorded: Callable[[], SweepStatus | None]
    """Returns what is on record, without the process that runs the sweep; None if nothing was published yet."""
    live_counts: bool = False
    """Whether the counts that the process publishes are newer than those on record."""

    @classmethod
    def of_folder(cls, folder: SweepFolder) -> StatusSource:
        """Return the source for a sweep's folder: the counts come from its ledger."""
        return cls(folder.name, FolderLease(folder.lock), ControlFolder(folder.control), lambda: _from_ledger(folder))

    @classmethod
    def of_storage(cls, address: str) -> StatusSource:
        """Return the source for ``PLACE/NAME`` or ``PLACE/NAME?options``: the counts come from what was published."""
        from trainables.storage.addresses import open_storage

        place, mark, options = address.partition("?")
        storage = open_storage(place.rstrip("/") + mark + options)
        return cls(
            address, StorageLease(storage), ControlStorage(storage), lambda: _from_snapshot(address, storage), True
        )

    @classmethod
    def named(cls, name: str, runs_dir: Path) -> StatusSource:
        """Return the source for a sweep's name in ``runs_dir``, its folder's path, or ``PLACE/NAME`` in a storage.

        Raises:
            SweepFolderError: there is no such sweep.
        """
        in_storage = "/" in name and not is_sweep_folder(name)
        return cls.of_storage(name) if in_storage else cls.of_folder(SweepFolder.existing(runs_dir, name))

    def driver(self) -> DriverStatus | None:
        """Return the process that runs the sweep now; None if it is not running.

        Raises:
            StorageError: the storage does not answer.
        """
        return self._driver(read_live_status(self.control))

    def status(self) -> SweepStatus:
        """Return the sweep's status.

        Raises:
            LedgerError: a ledger that cannot be read.
            StorageError: the storage does not answer, or has no sweep.
        """
        live = read_live_status(self.control)
        driver, found = self._driver(live), self.recorded()
        if found is None:
            if driver is None:
                raise StorageError(
                    f"{self.name}: no sweep has been published there; give the sweep's own address, PLACE/NAME"
                )
            found = _of_address(self.name, SweepStatus())
        if self.live_counts and live is not None:
            found = found.model_copy(update=live.run_counts())
        return found.seen_with(driver)

    def watched(self) -> Callable[[], SweepStatus]:
        """Return a function that returns the present status whenever it is called.

        The record is read when a process starts, when it ends, and when a run fails. In between the process publishes
        the counts, so that no refresh reads all rows of a ledger.
        """
        kept: SweepStatus | None = None

        def look() -> SweepStatus:
            nonlocal kept
            live = read_live_status(self.control)
            driver, counts = self._driver(live), live.run_counts() if live else {}
            is_same = kept and kept.driver and driver and driver.driver == kept.driver.driver
            if kept and is_same and counts.get("failed") == kept.failed:
                kept = kept.model_copy(update={**counts, "driver": driver})
            else:
                kept = self.status()
            return kept

        return look

    def request(self, request: str) -> DriverStatus:
        """Send ``request`` (``stop`` or ``cancel``) to the process that runs the sweep; return that process.

        Raises:
            SweepFolderError: the sweep is not running, or its folder cannot be written.
            StorageError: the storage does not answer, or cannot be written.
        """
        driver = self.driver()
        if driver is None:
            raise SweepFolderError(f"{self.name} is not running")
        put_request(self.control, request, driver.driver)
        return driver

    def _driver(self, live: LiveStatus | None) -> DriverStatus | None:
        holder = current_holder(self.lease)
        if holder is None:
            return None
        if live is None or live.driver != holder.driver:  # it has just started
            return DriverStatus(**holder.model_dump(exclude={"beat", "start"}), phase="starting")
        return None if live.phase == ENDED else live.of_driver()


def folder_status(folder: SweepFolder) -> SweepStatus:
    """Return the status of the sweep in ``folder``.

    Raises:
        LedgerError: a ledger that cannot be read.
    """
    return StatusSource.of_folder(folder).status()


def all_statuses(runs_dir: Path) -> list[SweepStatus | UnreadableSweep]:
    """Return the status of every sweep in ``runs_dir``; one that cannot be read does not hide the others."""
    return [_status_or_problem(SweepFolder(runs_dir, name)) for name in sweep_names(runs_dir)]


def _status_or_problem(folder: SweepFolder) -> SweepStatus | UnreadableSweep:
    try:
        folder.check_links()
        return folder_status(folder)
    except (LedgerError, SweepFolderError) as error:
        return UnreadableSweep(name=folder.name, folder=str(folder.path), problem=str(error))


def _from_ledger(folder: SweepFolder) -> SweepStatus:
    from results.ledger.frames import runs_frame  # pandas: a driver without a storage does not need it

    with Ledger.open_read_only(folder.ledger) as ledger:
        runs, names = runs_frame(ledger), run_names(ledger)
    best = runs.dropna(subset="best_val_acc").sort_values("best_val_acc", ascending=False, kind="stable").head(1)
    behind = runs["epochs"].where(runs["status"] != "diverged", runs["target_epochs"]).sum()
    return SweepStatus(
        name=folder.name,
        folder=str(folder.path),
        data="" if runs.empty else str(runs["data"].iloc[0]),
        synthetic=bool(runs["synthetic"].any()),
        runs=len(runs),
        **{state: int((runs["status"] == state).sum()) for state in STATES},
        epochs_done=int(runs["epochs"].sum()),
        epochs_share=float(behind / max(1, runs["target_epochs"].sum())),
        best_val_acc=None if best.empty else float(best["best_val_acc"].iloc[0]),
        best_run=None if best.empty else str(best["run_id"].iloc[0]),
        best_name=None if best.empty else names[str(best["run_id"].iloc[0])],
        resume=resume_command(folder.name, folder.runs_dir),
        failures=[
            FailedRun(run_id=str(run_id), error=str(error), name=names[str(run_id)])
            for run_id, error in runs.loc[runs["status"] == "failed", ["run_id", "error"]].itertuples(index=False)
        ],
    )


def _from_snapshot(address: str, storage: Storage) -> SweepStatus | None:
    """Return the status that was published with the last copy of the ledger; None if there is none."""
    try:
        return _of_address(address, SweepStatus.model_validate_json(storage.read(STATUS_FILE) or b""))
    except ValidationError:
        return None


def _of_address(address: str, status: SweepStatus) -> SweepStatus:
    """Return ``status`` under the address at which it was found."""
    name = address.partition("?")[0].rstrip("/").rpartition("/")[2]
    return status.model_copy(
        update={"name": name, "folder": address, "resume": shlex.join(["sweep", "resume", address])}
    )
