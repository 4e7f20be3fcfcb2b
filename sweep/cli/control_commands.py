"""The verbs that reach a driver from another terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from sweep.cli.options import RunsDir
from sweep.folder.paths import DEFAULT_RUNS_DIR

Sweep = Annotated[str, typer.Argument(metavar="NAME|PLACE/NAME", help="The sweep: its name, or where in its storage.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to ``app``."""
    app.command()(stop)
    app.command()(cancel)


def stop(name: Sweep, runs_dir: RunsDir = DEFAULT_RUNS_DIR) -> None:
    """End a running sweep after the epochs under way; `sweep resume` goes on."""
    _ask(name, runs_dir, "stop", "ends when the running packs have finished their epochs")


def cancel(name: Sweep, runs_dir: RunsDir = DEFAULT_RUNS_DIR) -> None:
    """End a running sweep now: its packs write a checkpoint first; `sweep resume` goes on."""
    _ask(name, runs_dir, "cancel", "ends when the running packs have written a checkpoint")


def _ask(name: str, runs_dir: RunsDir, request: str, what: str) -> None:
    from sweep.folder.remote_status import ask_remote_driver, is_remote
    from sweep.folder.status import ask_driver

    driver = ask_remote_driver(name, request) if is_remote(name) else ask_driver(name, runs_dir, request)
    typer.echo(f"asked: the driver of {name} (pid {driver['pid']} on {driver['host']}) {what}")
