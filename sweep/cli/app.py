"""The command line: parse, call one function, print. Only the commands that need torch or Ray import them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from search_spaces.errors import SpecError
from search_spaces.plain_text import counted, message_line
from sweep.cli import analysis_commands, baseline_commands, control_commands, run_commands
from sweep.cli.options import EXIT_FAILED, Data, Name, RunsDir, near
from sweep.folder.paths import DEFAULT_RUNS_DIR, SweepFolder
from sweep.process.output import say

app = typer.Typer(
    name="sweep",
    help="Compare optimizers, momentum variants and learning-rate schedulers on LeNet-5 and CIFAR-100.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Target = Annotated[
    float | None,
    typer.Option(min=0, max=100, help="Target validation accuracy in percent.  [default: 95 % of the best]"),
]

run_commands.register(app)


@app.command()
def status(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|PLACE/NAME]", help="Name or storage address of a sweep.  [default: all]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    watching: Annotated[bool, typer.Option("--watch", help="Refresh until the sweep ends.")] = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Show the status of one sweep, or of all."""
    from sweep.cli.watch import watch
    from sweep.folder.status import status_lines
    from sweep.folder.status_source import StatusSource, all_statuses
    from sweep.progress.console import PlainConsole

    if watching:
        if name is None:
            raise SpecError("--watch", "needs the name of a sweep", "sweep status NAME --watch")
        watch(StatusSource.named(name, runs_dir).status, PlainConsole(), as_json=as_json)
        return
    found = [StatusSource.named(name, runs_dir).status()] if name else all_statuses(runs_dir)
    if as_json:
        records = [one.model_dump() for one in found]
        say(json.dumps(records[0] if name else records, indent=2))
        return
    for one in found:
        for line in status_lines(one):
            say(message_line(line))
    if not found:
        say(f"no sweeps in {runs_dir}; to start one: sweep run quickstart")


@app.command()
def logs(
    name: Name,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Run id, or the beginning of one.")],
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Print the log of the trial that trained a run."""
    from sweep.folder.run_log import run_log

    say(run_log(SweepFolder.existing(runs_dir, name), run_id), end="")


@app.command()
def spaces(
    space: Annotated[
        str | None, typer.Argument(metavar="[SPACE]", help="Space to print as TOML, to be edited.")
    ] = None,
) -> None:
    """List the named spaces, or print one."""
    from search_spaces import space_names, space_text

    if space:
        say(space_text(space), end="")
        return
    from sweep.config.toml import read_spec

    for name in space_names():
        spec = read_spec(name)
        if spec.benchmark is not None:
            methods, budget = len(spec.methods), spec.benchmark.budget
            counts = f"benchmark: {counted(methods, 'method')} × {counted(budget, 'point')}"
        else:
            configurations, seeds = len(spec.expanded()), len(spec.seed_list)
            runs = f"{configurations * seeds:4d} runs"
            counts = f"{runs} ({counted(configurations, 'configuration')} × {counted(seeds, 'seed')})"
        say(f"{name:20} {counts:41} {counted(spec.epochs, 'epoch'):>10}  {spec.data:10} {spec.description}")


@app.command(name="export")
def export_command(
    name: Name,
    formats: Annotated[
        str, typer.Option("--format", help="csv, md, tex, parquet, json or html; several separated by commas.")
    ] = "csv",
    out: Annotated[Path | None, typer.Option(help="Output folder.  [default: the sweep's tables/]")] = None,
    target: Target = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Write the tables of a sweep. The sweep may be unfinished."""
    from results.analyses.captures import load_analyses
    from results.reports.export import export

    folder = SweepFolder.existing(runs_dir, name)
    wanted = [word.strip() for word in formats.split(",")]
    more = load_analyses(folder.analyses).tables()
    for path in export(folder.ledger, out or folder.tables, wanted, target=target, more=more):
        say(near(path))


@app.command()
def report(
    name: Name,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    target: Target = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Write the figures and the report of a sweep. The sweep may be unfinished."""
    from sweep.driver.outputs import make_report

    page = make_report(SweepFolder.existing(runs_dir, name), target)
    say(near(page))
    if open_it:
        typer.launch(page.as_uri())


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Name of a sweep.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Name of another sweep with the same protocol.")],
    file_format: Annotated[str, typer.Option("--format", help="md, csv, tex, json or html.")] = "md",
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Compare two sweeps. Shows the difference of each shared configuration, with its interval."""
    from results.ledger.arrays import load_sweep
    from results.tables.formats import TEXT_WRITERS, as_document
    from results.tables.sweep_comparison import compare_sweeps
    from search_spaces.errors import UnknownNameError

    if file_format not in TEXT_WRITERS:
        raise UnknownNameError("format", file_format, TEXT_WRITERS)
    sweeps = [load_sweep(SweepFolder.existing(runs_dir, name).ledger, name) for name in (a, b)]
    say(as_document(compare_sweeps(*sweeps), file_format), end="")


@app.command()
def doctor(data: Data = None, runs_dir: RunsDir = DEFAULT_RUNS_DIR) -> None:
    """Check whether this machine can run a sweep."""
    from sweep.cli.doctor import examine

    fine = True
    for finding in examine(runs_dir, data):
        say(f"{'ok  ' if finding.fine else 'BAD '} {finding.what}: {finding.seen}")
        fine = fine and finding.fine
    if not fine:
        raise typer.Exit(EXIT_FAILED)


control_commands.register(app)
analysis_commands.register(app)
baseline_commands.register(app)
