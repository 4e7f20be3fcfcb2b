"""The commands that stop a running sweep from another terminal."""

from __future__ import annotations

import typer

from sweep.cli.options import NameOrAddress, RunsDir
from sweep.folder.paths import DEFAULT_RUNS_DIR
from sweep.process.output import say


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command()(stop)
    app.command()(cancel)


def stop(name: NameOrAddress, runs_dir: RunsDir = DEFAULT_RUNS_DIR) -> None:
    """Stop a running sweep after the current epochs."""
    _request(name, runs_dir, "stop", "when the running packs have finished their epochs")


def cancel(name: NameOrAddress, runs_dir: RunsDir = DEFAULT_RUNS_DIR) -> None:
    """Stop a running sweep now. Its packs write checkpoints first."""
    _request(name, runs_dir, "cancel", "when the running packs have written checkpoints")


def _request(name: str, runs_dir: RunsDir, request: str, when: str) -> None:
    from sweep.folder.status_source import StatusSource

    driver = StatusSource.named(name, runs_dir).request(request)
    say(f"{request} requested: {name} (pid {driver.pid} on {driver.host}) ends {when}")
