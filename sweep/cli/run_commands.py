"""The commands that train a sweep: run, resume, confirm, benchmark."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search_spaces.errors import SpecError
from sweep.cli.options import EXIT_FAILED, Auto, Data, Name, NameOrAddress, RunsDir, near, number_or_auto, whole_or_auto
from sweep.folder.paths import DEFAULT_RUNS_DIR, SweepFolder, resume_command
from sweep.folder.status import duration
from sweep.process.output import say
from sweep.process.supervisor import InterruptedSweepError

if TYPE_CHECKING:
    from sweep.config.spec import Spec

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
InProcess = Annotated[
    bool, typer.Option("--in-process", help="Train in this process, without Ray; breakpoints work. For debugging.")
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure, without retries.")]

Trust = Annotated[bool, typer.Option("--trust", help="Accept the address and the storage that the file names.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Also retry failed runs.")]


def spec_overrides(**given: Any) -> dict[str, Any]:
    """Return the given options under the keys of the spec."""
    keys = {
        "pack": "resources.pack",
        "cpus_per_trial": "resources.cpus_per_trial",
        "gpus_per_trial": "resources.gpus_per_trial",
        "max_concurrent": "resources.max_concurrent",
        "address": "cluster.address",
        "autoscale_timeout": "cluster.autoscale_timeout",
        "budget": "benchmark.budget",
        "tuning_epochs": "benchmark.tuning_epochs",
        "evaluation_seeds": "benchmark.evaluation_seeds",
    }
    return {keys.get(key, key): value for key, value in given.items() if value is not None}


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

    overrides = spec_overrides(
        name=name, data=data, epochs=epochs, seeds=seeds, max_seeds=max_seeds, pack=pack, cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial, max_concurrent=max_concurrent, address=address,
        autoscale_timeout=autoscale_timeout, storage=storage,
    )  # fmt: skip
    spec = read_spec(source, overrides)
    if spec.benchmark is not None:
        raise SpecError(source, "is a benchmark", f"sweep benchmark {shlex.quote(source)}")
    options = {"dry_run": dry_run, "fail_fast": fail_fast, "retry_failed": retry_failed, "in_process": in_process}
    _drive_and_tell(spec, runs_dir, from_file(overrides, trust=trust or dry_run), **options)


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

    overrides = spec_overrides(
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
    _drive_and_tell(spec, runs_dir, from_file(overrides, trust=trust), **options)


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

    overrides = spec_overrides(
        pack=pack, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial, max_concurrent=max_concurrent,
        address=address, max_seeds=max_seeds,
    )  # fmt: skip
    folder = SweepFolder.existing(runs_dir, name)
    sweep = load_sweep(folder.ledger, name)
    spec = confirmation_spec(folder, sweep, top, 10 if seeds is None else seeds, overrides, trust=trust)
    say(power_sentence(sweep, len(spec.configurations) - 1))
    _drive_and_tell(spec, runs_dir, frozenset(), dry_run=dry_run, in_process=in_process)
    if not dry_run:
        say(f"{near(make_report(folder))} shows this answer first")


def benchmark(
    source: Annotated[
        str,
        typer.Argument(metavar="SPACE|FILE.toml", help="A named space with [benchmark] and [[methods]], or a file."),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the benchmark and its folder.")] = None,
    data: Data = None,
    budget: Annotated[int | None, typer.Option(help="Points that every method gets in its tuning.")] = None,
    tuning_epochs: Annotated[int | None, typer.Option(help="Epochs of a run in the tuning.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of a run in the evaluation.")] = None,
    evaluation_seeds: Annotated[
        Auto | None,
        typer.Option(
            "--evaluation-seeds",
            parser=whole_or_auto,
            metavar="N|auto",
            help="New seeds of the evaluation; auto: until every comparison is decided.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="BASELINES", help="Compare with published runs: baselines, a name, or a folder."),
    ] = None,
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
    """Tune every method with the same budget, then evaluate its best point under new seeds."""
    from sweep.config.toml import read_spec
    from sweep.folder.trust import from_file

    overrides = spec_overrides(
        name=name, data=data, epochs=epochs, budget=budget, tuning_epochs=tuning_epochs,
        evaluation_seeds=evaluation_seeds, pack=pack, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial,
        max_concurrent=max_concurrent, address=address, autoscale_timeout=autoscale_timeout, storage=storage,
    )  # fmt: skip
    spec = read_spec(source, overrides)
    if spec.benchmark is None:
        raise SpecError(source, "has no [benchmark] and no [[methods]]", f"sweep run {shlex.quote(source)}")
    options = {"dry_run": dry_run, "fail_fast": fail_fast, "retry_failed": retry_failed, "in_process": in_process}
    if against is not None:
        from sweep.driver.against import check_against

        check_against(spec, against)
    _drive_and_tell(spec, runs_dir, from_file(overrides, trust=trust or dry_run), **options)
    if against is not None and not dry_run:
        from sweep.driver.against import against_lines

        for line in against_lines(SweepFolder(runs_dir, spec.name), against):
            say(line)


def _drive_and_tell(spec: Spec, runs_dir: Path, from_file: frozenset[str], **how: Any) -> None:
    from sweep.driver.benchmark import drive_benchmark
    from sweep.driver.driver import DriveOptions
    from sweep.driver.until_decided import drive_until_decided
    from sweep.progress.console import PlainConsole

    options = DriveOptions(from_file=from_file, **how)
    again = resume_command(spec.name, runs_dir) + " --in-process" * options.in_process
    try:
        console = PlainConsole(force_terminal=False if options.in_process else None)
        outcome = (drive_benchmark if spec.benchmark else drive_until_decided)(spec, runs_dir, console, options)
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
    if (
        outcome.all_done
        and isinstance(spec.seeds, int)
        and not spec.benchmark
        and (needed := outcome.seeds_for_a_test())
    ):
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


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (run, resume, confirm, benchmark):
        app.command()(command)
