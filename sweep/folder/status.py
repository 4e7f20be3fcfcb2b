"""How sweeps stand, read from their ledgers; nothing of a sweep is imported or run for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.ledger.frames import runs_frame
from results.ledger.ledger import Ledger
from results.ledger.queries import begun_pack_of, find_run
from search_spaces.errors import LedgerError, SweepFolderError
from sweep.folder.control import ControlFolder, is_fresh, published, put_request
from sweep.folder.lock import holder, is_driven
from sweep.folder.paths import SweepFolder, resume_command, sweep_names
from sweep.folder.status import STATES, duration

LIVE = ("nodes", "slots_used", "slots", "rate", "seconds_left")
"""What only the driver knows, None where it has not told it."""


def driver_of(folder: SweepFolder) -> dict[str, Any] | None:
    """Return who drives the sweep now, in which phase, and what it told of its cluster; None where nobody does.

    On the driver's own machine its lock decides. Elsewhere its word counts, as long as it is not too old.
    """
    told, here = published(ControlFolder(folder.control)), holder(folder.lock)
    if is_driven(folder.lock) and here is not None:
        if told is None or told["driver"] != here["driver"]:  # it has only begun
            told = {**here, "phase": "starting"}
    elif told is None or told["host"] == socket.gethostname() or not is_fresh(told, time.time()):
        return None
    return driver_told(told)


def driver_told(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is of the driver in what it told."""
    who = {key: told.get(key) for key in ("driver", "host", "pid", "since", "phase")}
    return who | {key: told.get(key) for key in LIVE}


def sweep_status(folder: SweepFolder) -> dict[str, Any]:
    """Return a sweep's counts, the share of its epochs that is done, its best run, its failures, and its driver.

    Raises:
        LedgerError: a ledger that cannot be read.
    """
    with Ledger.open_read_only(folder.ledger) as ledger:
        runs = runs_frame(ledger)
    driver = driver_of(folder)
    if driver is None:  # whoever drove it died without a word
        runs["status"] = runs["status"].replace("running", "interrupted")
    best = runs.dropna(subset="best_val_acc").sort_values("best_val_acc", ascending=False, kind="stable").head(1)
    behind = runs["epochs"].where(runs["status"] != "diverged", runs["target_epochs"]).sum()
    return {
        "name": folder.name,
        "folder": str(folder.path),
        "data": "" if runs.empty else str(runs["data"].iloc[0]),
        "synthetic": bool(runs["synthetic"].any()),
        "runs": len(runs),
        **{state: int((runs["status"] == state).sum()) for state in STATES},
        "epochs_done": int(runs["epochs"].sum()),
        "epochs_share": float(behind / max(1, runs["target_epochs"].sum())),
        "best_val_acc": None if best.empty else float(best["best_val_acc"].iloc[0]),
        "best_run": None if best.empty else str(best["run_id"].iloc[0]),
        "resume": resume_command(folder.name, folder.runs_dir),
        "driver": driver,
        "failures": [
            {"run_id": str(run_id), "error": str(error)}
            for run_id, error in runs.loc[runs["status"] == "failed", ["run_id", "error"]].itertuples(index=False)
        ],
    }


def status_lines(status: dict[str, Any]) -> list[str]:
    """Return ``status`` for a reader, a line a fact."""
    if "problem" in status:
        return [f"{status['name']}: {status['problem']}"]
    counts = ", ".join(f"{status[state]} {state}" for state in STATES if status[state]) or "no runs"
    lines = [f"{status['name']}: {counts} of {status['runs']} runs, {100 * status['epochs_share']:.0f} % of the epochs"]
    lines.append(f"  data {status['data']}" + (" (made from a seed: not CIFAR-100)" if status["synthetic"] else ""))
    if status["best_run"]:
        lines.append(f"  best so far {status['best_val_acc']:.2f} % validation accuracy, run {status['best_run']}")
    if status["driver"]:
        lines.append(f"  {driver_line(status['driver'])}")
    lines += [f"  failed: run {failure['run_id']}: {failure['error']}" for failure in status["failures"]]
    if (status["pending"] or status["interrupted"]) and not status["driver"]:
        lines.append(f"  to go on: {status['resume']}")
    if status["failed"]:
        lines.append(f"  to try again what failed: {status['resume']} --retry-failed")
    return lines


def ask_driver(name: str, runs_dir: Path, request: str) -> dict[str, Any]:
    """Ask ``request`` (``stop`` or ``cancel``) of whoever drives the sweep ``name``, and return who that is.

    Raises:
        SweepFolderError: there is no such sweep, nobody drives it, or its folder cannot be written.
    """
    folder = SweepFolder.existing(runs_dir, name)
    driver = driver_of(folder)
    if driver is None:
        raise SweepFolderError(f"no driver is at work on {name}")
    put_request(ControlFolder(folder.control), request, driver["driver"])
    return driver


def driver_line(driver: Mapping[str, Any]) -> str:
    """Return who drives a sweep, and how it gets on, in one line."""
    parts = [f"driver pid {driver['pid']} on {driver['host']} since {driver['since']}: {driver['phase']}"]
    if driver["nodes"] is not None:
        nodes = len(driver["nodes"])
        parts += [f"{nodes} node{'s' * (nodes != 1)}", f"{driver['slots_used']} of {driver['slots']} slots used"]
    if driver["rate"] is not None:
        parts.append(f"{driver['rate']:.2f} run-epochs/s")
    if driver["seconds_left"] is not None:
        parts.append(f"about {duration(driver['seconds_left'])} left")
    return ", ".join(parts)


def all_statuses(runs_dir: Path) -> list[dict[str, Any]]:
    """Return the status of every sweep in ``runs_dir``."""
    return [_status_or_error(SweepFolder(runs_dir, name)) for name in sweep_names(runs_dir)]


def _status_or_error(folder: SweepFolder) -> dict[str, Any]:
    """One sweep that cannot be read does not hide the others."""
    try:
        folder.check_links()
        return sweep_status(folder)
    except (LedgerError, SweepFolderError) as error:
        return {"name": folder.name, "folder": str(folder.path), "problem": str(error)}


def run_log(folder: SweepFolder, run: str) -> str:
    """Return the log of the trial that trained ``run``, a run id or the beginning of one.

    What a terminal would obey is shown escaped.

    Raises:
        UnknownNameError: see :func:`results.ledger.queries.find_run`.
        SweepFolderError: a ledger that names a pack by no id of one.
    """
    with Ledger.open_read_only(folder.ledger) as ledger:
        run_id = find_run(ledger, run)
        pack_id = begun_pack_of(ledger, run_id)
    path = None if pack_id is None else folder.pack_log(pack_id)
    if path is None or not path.is_file():
        return f"run {run_id} has not been started yet\n"
    text = path.read_text(encoding="utf-8", errors="replace")
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text)
