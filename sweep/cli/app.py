"""The command line: parse, call one function, print. Only the commands that need torch or Ray import them."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from search_spaces.errors import SpecError
from search_spaces.plain_text import counted, message_line
from sweep.cli import analysis_commands, control_commands
from sweep.cli.options import EXIT_FAILED, Auto, Data, Name, NameOrAddress, RunsDir, near, number_or_auto, whole_or_auto
from sweep.folder.paths import DEFAULT_RUNS_DIR, SweepFolder, resume_command
from sweep.folder.status import duration
from sweep.process.output import say
from sweep.process.supervisor import InterruptedSweepError

app = typer.Typer(
    name="sweep",
    help="Compare optimizers, momentum variants and learning-rate schedulers, on LeNet-5 and CIFAR-100 by default.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PackSize = Annotated[
    Auto | None,
    typer.Option(
        "--pack", parser=whole_or_auto, metavar="K|auto", help="Number of runs that one trial trains together."
    ),
]
Cpus = Annotated[
    Auto | None,
    typer.Option("--cpus-per-trial", parser=number_or_auto, metavar="N|auto", help="CPUs (and threads) per trial."),
]
Gpus = Annotated[
    Auto | None,
    typer.Option(
        "--gpus-per-trial", parser=number_or_auto, metavar="N|auto", help="GPUs per trial; fractions are allowed."
    ),
]
Seeds = Annotated[
    Auto | None,
    typer.Option(
        "--seeds", parser=whole_or_auto, metavar="N|auto",
        help="Number of seeds; auto: until every comparison with the reference is decided.",
    ),
]  # fmt: skip
MaxSeeds = Annotated[int | None, typer.Option(min=2, help="Largest number of seeds for --seeds auto.  [default: 30]")]
Concurrent = Annotated[int | None, typer.Option(help="Maximum concurrent trials (0 = no limit).")]
Address = Annotated[str | None, typer.Option(help="local, auto, or HOST:PORT of a Ray cluster.")]
AutoscaleTimeout = Annotated[
    float | None, typer.Option(help="Seconds to wait for an autoscaling cluster to fit a trial.")
]
Storage = Annotated[
    str | None, typer.Option(help="Shared folder or s3://bucket/prefix for checkpoints and a copy of the results.")
]
Target = Annotated[
    float | None,
    typer.Option(min=0, max=100, help="Target validation accuracy in percent.  [default: 95 % of the best]"),
]
InProcess = Annotated[
    bool, typer.Option("--in-process", help="Train in this process, without Ray; breakpoints work. For debugging.")
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure, without retries.")]

Trust = Annotated[bool, typer.Option("--trust", help="Accept the address and the storage that the file names.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Also retry failed runs.")]


def _overrides(**given: Any) -> dict[str, Any]:
    """Return the given options under the keys of the spec."""
    keys = {
        "pack": "resources.pack",
        "cpus_per_trial": "resources.cpus_per_trial",
        "gpus_per_trial": "resources.gpus_per_trial",
        "max_concurrent": "resources.max_concurrent",
        "address": "cluster.address",
        "autoscale_timeout": "cluster.autoscale_timeout",
    }
    return {keys.get(key, key): value for key, value in given.items() if value is not None}


@app.command()
def run(
    source: Annotated[
        str, typer.Argument(metavar="SPACE|FILE.toml", help="A named space (see `sweep spaces`) or a spec file.")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the sweep and its folder.")] = None,
    data: Data = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs per run.")] = None,
    seeds: Seeds = None,
    max_seeds: MaxSeeds = None,
    pack: PackSize = None,
    cpus_per_trial: Cpus = None,
    gpus_per_trial: Gpus = None,
    max_concurrent: Concurrent = None,
    address: Address = None,
    autoscale_timeout: AutoscaleTimeout = None,
    storage: Storage = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and train nothing.")] = False,
    fail_fast: FailFast = False,
    retry_failed: RetryFailed = False,
    in_process: InProcess = False,
    trust: Trust = False,
) -> None:
    """Run a sweep; finished runs are skipped."""
    from sweep.config.toml import read_spec
    from sweep.folder.trust import from_file

    overrides = _overrides(
        name=name, data=data, epochs=epochs, seeds=seeds, max_seeds=max_seeds, pack=pack, cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial, max_concurrent=max_concurrent, address=address,
        autoscale_timeout=autoscale_timeout, storage=storage,
    )  # fmt: skip
    spec = read_spec(source, overrides)
    options = {"dry_run": dry_run, "fail_fast": fail_fast, "retry_failed": retry_failed, "in_process": in_process}
    _drive(spec, runs_dir, from_file(overrides, trust=trust or dry_run), **options)


@app.command()
def resume(
    name: NameOrAddress,
    data: Data = None,
    pack: PackSize = None,
    cpus_per_trial: Cpus = None,
    gpus_per_trial: Gpus = None,
    max_concurrent: Concurrent = None,
    address: Address = None,
    autoscale_timeout: AutoscaleTimeout = None,
    storage: Storage = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    fail_fast: FailFast = False,
    retry_failed: RetryFailed = False,
    in_process: InProcess = False,
    trust: Trust = False,
) -> None:
    """Resume an interrupted sweep. PLACE/NAME resumes it from its storage, on any machine."""
    from sweep.driver.driver import read_resolved
    from sweep.folder.trust import from_file

    overrides = _overrides(
        data=data, pack=pack, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial,
        max_concurrent=max_concurrent, address=address,
        autoscale_timeout=autoscale_timeout, storage=storage,
    )  # fmt: skip
    if "/" in name:
        from sweep.folder.snapshot import fetch

        folder, place = fetch(name, runs_dir)
        name, overrides = folder.name, {"storage": place, **overrides}
    spec = read_resolved(SweepFolder.existing(runs_dir, name), overrides)
    options = {"fail_fast": fail_fast, "retry_failed": retry_failed, "in_process": in_process, "resuming": True}
    _drive(spec, runs_dir, from_file(overrides, trust=trust), **options)


@app.command()
def confirm(
    name: Name,
    top: Annotated[
        int | None, typer.Option(min=2, help="Number of configurations, the best of each family.  [default: 3]")
    ] = None,
    seeds: Seeds = None,
    max_seeds: MaxSeeds = None,
    pack: PackSize = None,
    cpus_per_trial: Cpus = None,
    gpus_per_trial: Gpus = None,
    max_concurrent: Concurrent = None,
    address: Address = None,
    trust: Trust = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and train nothing.")] = False,
    in_process: InProcess = False,
) -> None:
    """Compare the best configurations under new seeds. They are trained as the sweep NAME-confirm."""
    from results.ledger.arrays import load_sweep
    from sweep.driver.confirm import confirmation_spec, power_sentence
    from sweep.driver.outputs import make_report

    overrides = _overrides(
        pack=pack, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial, max_concurrent=max_concurrent,
        address=address, max_seeds=max_seeds,
    )  # fmt: skip
    folder = SweepFolder.existing(runs_dir, name)
    sweep = load_sweep(folder.ledger, name)
    spec = confirmation_spec(folder, sweep, top, 10 if seeds is None else seeds, overrides, trust=trust)
    say(power_sentence(sweep, len(spec.configurations) - 1))
    _drive(spec, runs_dir, frozenset(), dry_run=dry_run, in_process=in_process)
    if not dry_run:
        say(f"{near(make_report(folder))} shows this answer first")


def _drive(spec: Any, runs_dir: Path, from_file: frozenset[str], **how: bool) -> None:
    from sweep.driver.driver import DriveOptions
    from sweep.driver.until_decided import drive_until_decided
    from sweep.progress.console import PlainConsole

    options = DriveOptions(**how, from_file=from_file)
    again = resume_command(spec.name, runs_dir) + " --in-process" * options.in_process
    try:
        console = PlainConsole(force_terminal=False if options.in_process else None)
        outcome = drive_until_decided(spec, runs_dir, console, options)
        if outcome is None:
            return
        from sweep.driver.outputs import make_outputs  # matplotlib: training does not wait for its import

        make_outputs(outcome.folder)
    except KeyboardInterrupt:
        if SweepFolder(runs_dir, spec.name).spec.exists():  # otherwise nothing was planned
            raise InterruptedSweepError(f"interrupted; to continue: {again}") from None
        raise
    counts = ", ".join(
        f"{outcome.count(word)} {word}"
        for word in ("done", "diverged", "failed", "interrupted", "pending")
        if outcome.count(word)
    )
    say(counts)
    for sentence in outcome.answer:
        say(f"  {sentence}")
    if outcome.all_done and isinstance(spec.seeds, int) and (needed := outcome.seeds_for_a_test()):
        seeds, seconds = needed
        more = shlex.join(with_seeds(sys.argv[1:], spec.name, outcome.folder, seeds))
        say(f"  For a significance test: {more}" + (f"  (about {duration(seconds)})" if seconds else ""))
    say(f"tables: {near(outcome.folder.tables)}  report: {near(outcome.folder.report)}")
    if not outcome.all_done:
        failed = outcome.count("failed")
        if outcome.count("interrupted") + outcome.count("pending"):
            say(f"not all runs have a result; to continue: {again}", error=True)
        if failed:
            again = resume_command(spec.name, runs_dir, retry_failed=True)
            say(f"{failed} failed; to retry: {again}", error=True)
        raise typer.Exit(EXIT_FAILED)


def with_seeds(words: list[str], name: str, folder: SweepFolder, seeds: int) -> list[str]:
    """Return the command that runs the sweep with more seeds: the given ``words``, or for a resume, its spec."""
    if words[:1] != ["run"]:
        words = ["run", str(near(folder.spec)), "--name", name]
        words += [] if folder.runs_dir == DEFAULT_RUNS_DIR else ["--runs-dir", str(folder.runs_dir)]
    kept = []
    for before, word in zip(["", *words], words, strict=False):
        if "--seeds" not in (before, word) and not word.startswith("--seeds="):
            kept.append(word)
    return ["sweep", *kept, "--seeds", str(seeds)]


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
        configurations, seeds = len(spec.expanded()), len(spec.seed_list)
        counts = (
            f"{configurations * seeds:4d} runs ({counted(configurations, 'configuration')} × {counted(seeds, 'seed')})"
        )
        say(f"{name:15} {counts:41} {counted(spec.epochs, 'epoch'):>10}  {spec.data:10} {spec.description}")


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
