"""The commands that show results: show, runs, query, export, report and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweep.cli.options import AsJson, Name, RunsDir, Target, complete_sweep, near
from sweep.cli.styled_help import RESULTS, add_command
from sweep.folder.paths import DEFAULT_RUNS_DIR, SweepFolder
from sweep.process.output import say

TABLE_FORMATS = ("table", "csv", "json")


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    add_command(app, show, RESULTS, "sweep show quickstart", "sweep show runs/quickstart 3f2a")
    add_command(app, runs, RESULTS, "sweep runs quickstart --sort test_acc --top 10")
    add_command(
        app, query, RESULTS, "sweep query quickstart \"SELECT run_id, MAX(val_acc) FROM epochs GROUP BY run_id\"",
    )  # fmt: skip
    add_command(
        app, export_command, RESULTS, "sweep export quickstart --format csv,md,tex",
        "sweep export quickstart --format tensorboard,optuna", name="export",
    )  # fmt: skip
    add_command(app, report, RESULTS, "sweep report quickstart --open", "sweep report quickstart --serve")
    add_command(app, compare, RESULTS, "sweep compare optimizers other --format md")


def show(
    name: Name,
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Run id, or the beginning of one (see `sweep runs`).")
    ] = None,
    as_json: AsJson = False,
    target: Target = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Show the best configurations of a sweep and the next command, or one run with its curve."""
    from results.ledger.arrays import load_sweep
    from sweep.progress.console import PlainConsole

    folder = SweepFolder.existing(runs_dir, name)
    if run is not None:
        from sweep.cli.run_screen import print_run, run_record

        record = run_record(folder, run)
        if as_json:
            say(record.model_dump_json(indent=2))
        else:
            print_run(PlainConsole(), folder, record)
        return
    from results.reports.ranking import ranked
    from sweep.cli.answer_screen import print_answer, summary
    from sweep.cli.next_step import next_step

    sweep = load_sweep(folder.ledger, folder.name, target)
    ranking, then = ranked(sweep), next_step(folder, sweep)
    if as_json:
        say(summary(folder, ranking, then).model_dump_json(indent=2))
    else:
        print_answer(PlainConsole(), folder, ranking, then)


def runs(
    name: Name,
    sort: Annotated[str, typer.Option(metavar="COLUMN", help="Column of runs.csv; numbers: highest first.")] = "",
    top: Annotated[int | None, typer.Option(min=1, help="Number of runs.", show_default="all")] = None,
    ascending: Annotated[bool, typer.Option("--ascending", help="Lowest first.")] = False,
    form: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """List the runs of a sweep with their accuracies."""
    from sweep.cli.run_list import list_runs

    say(list_runs(SweepFolder.existing(runs_dir, name), sort, top or 0, ascending, _known_format(form)), end="")


def query(
    name: Name,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="A SELECT statement; docs/scripts.md has the tables.")],
    form: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "csv",
    limit: Annotated[int, typer.Option(min=1, help="Largest number of rows.")] = 1000,
    seconds: Annotated[float, typer.Option(min=0.1, help="Longest time.")] = 10.0,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Query the results database of a sweep with SQL. Nothing is written."""
    from results.ledger.sql import read_query
    from sweep.cli.run_list import as_text

    form, folder = _known_format(form), SweepFolder.existing(runs_dir, name)
    found, more = read_query(folder.ledger, sql, most_rows=limit, seconds=seconds)
    say(as_text(found.columns, found.rows, form), end="")
    if more:
        say(f"more than {limit} rows; the others are left out (--limit)", error=True)


def export_command(
    name: Name,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            help="csv, md, tex, parquet, json, html, or a tracker: tensorboard, mlflow, wandb, optuna; "
            "several separated by commas.",
        ),
    ] = "csv",
    paper: Annotated[
        bool,
        typer.Option("--paper", help="Write a LaTeX table, PDF figures, the methods and the references to paper/."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Output folder.", show_default="the sweep's tables/")] = None,
    target: Target = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Write the tables of a sweep, or copy its measurements to a tracker. The sweep may be unfinished."""
    folder = SweepFolder.existing(runs_dir, name)
    if paper:
        from results.ledger.arrays import load_sweep
        from results.reports.paper import write_paper

        for path in write_paper(load_sweep(folder.ledger, folder.name, target), out or folder.paper):
            say(near(path))
        return
    from sweep.cli.exports import export_sweep

    formats_given = [word.strip() for word in formats.split(",")]
    for path in export_sweep(folder, formats_given, out, target):
        say(near(path))


def report(
    name: Name,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve it on this machine, with curves that grow, until Ctrl-C.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of --serve; 0: any free port.")] = 8765,
    target: Target = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Write the figures and the report of a sweep. The sweep may be unfinished."""
    folder = SweepFolder.existing(runs_dir, name)
    if serve:
        from sweep.cli.live_page import serve_report

        serve_report(folder, port, target, open_it=open_it)
        return
    from sweep.driver.outputs import make_report

    page = make_report(folder, target)
    say(near(page))
    if open_it:
        typer.launch(page.as_uri())


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Name of a sweep.", autocompletion=complete_sweep)],
    b: Annotated[
        str,
        typer.Argument(
            metavar="B", help="Name of another sweep with the same protocol.", autocompletion=complete_sweep
        ),
    ],
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
    folders = [SweepFolder.existing(runs_dir, name) for name in (a, b)]
    sweeps = [load_sweep(folder.ledger, folder.name) for folder in folders]
    say(as_document(compare_sweeps(*sweeps), file_format), end="")


def _known_format(form: str) -> str:
    from search_spaces.errors import UnknownNameError

    if form not in TABLE_FORMATS:
        raise UnknownNameError("format", form, TABLE_FORMATS)
    return form
