"""The commands about sweeps as a whole: list, status, logs, stop, cancel and rm."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from search_spaces.errors import SpecError
from search_spaces.plain_text import message_line
from sweep.cli.options import Name, NameOrAddress, RunId, RunsDir, complete_sweep
from sweep.cli.styled_help import MANAGE, add_command
from sweep.folder.paths import DEFAULT_RUNS_DIR, SweepFolder
from sweep.process.output import say


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    add_command(app, list_command, MANAGE, "sweep list", name="list")
    add_command(app, status, MANAGE, "sweep status optimizers --watch", "sweep status s3://bucket/prefix/optimizers")
    add_command(app, logs, MANAGE, "sweep logs optimizers 3f2a")
    add_command(app, stop, MANAGE, "sweep stop optimizers")
    add_command(app, cancel, MANAGE, "sweep cancel optimizers")
    add_command(app, rm, MANAGE, "sweep rm quickstart", "sweep rm quickstart --checkpoints --yes")


def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """List all sweeps."""
    from sweep.cli.answer_screen import print_table
    from sweep.cli.sweep_list import sweep_table
    from sweep.folder.status_source import all_statuses
    from sweep.progress.console import PlainConsole

    found = all_statuses(runs_dir)
    if as_json:
        say(json.dumps([one.model_dump() for one in found], indent=2))
    elif found:
        print_table(PlainConsole(), sweep_table(found))
    else:
        say(f"no sweeps in {runs_dir}; to start one: sweep run quickstart")


def status(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|PLACE/NAME]", help="Name, path of the folder or storage address of a sweep.",
            show_default="all", autocompletion=complete_sweep,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    watching: Annotated[bool, typer.Option("--watch", help="Refresh until the sweep ends.")] = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:  # fmt: skip
    """Show the status of one sweep, or of all."""
    from sweep.cli.watch import watch
    from sweep.folder.status import status_lines
    from sweep.folder.status_source import StatusSource
    from sweep.progress.console import PlainConsole

    if name is None:
        if watching:
            raise SpecError("--watch", "needs the name of a sweep", "sweep status NAME --watch")
        list_command(as_json, runs_dir)
        return
    source = StatusSource.named(name, runs_dir)
    if watching:
        watch(source.watched(), PlainConsole(), as_json=as_json)
        return
    found = source.status()
    if as_json:
        say(json.dumps(found.model_dump(), indent=2))
        return
    for line in status_lines(found):
        say(message_line(line))


def logs(name: Name, run_id: RunId, runs_dir: RunsDir = DEFAULT_RUNS_DIR) -> None:
    """Print the log of the trial that trained a run."""
    from sweep.folder.run_log import run_log

    say(run_log(SweepFolder.existing(runs_dir, name), run_id), end="")


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


def rm(
    name: Name,
    checkpoints: Annotated[
        bool,
        typer.Option("--checkpoints", help="Remove only the checkpoints of finished runs; all results stay."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Remove a sweep's folder, or only the checkpoints of its finished runs. A running sweep is refused."""
    from sweep.folder.removal import Removal, megabytes

    folder = SweepFolder.existing(runs_dir, name)
    with Removal.of(folder, checkpoints_only=checkpoints) as removal:
        if not removal.paths:
            say(f"{folder.name}: no checkpoints of finished runs; nothing to remove")
            return
        if not yes:
            typer.confirm(f"Remove {removal.described}?", abort=True)
        removal.remove()
        say(f"removed {removal.described}: {megabytes(removal.size)} MB freed")
