"""The command that tunes methods with equal budgets and compares them: benchmark."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from search_spaces.errors import SpecError
from sweep.cli.options import (
    Address,
    AsJson,
    Auto,
    AutoscaleTimeout,
    Concurrent,
    Cpus,
    Data,
    DryRun,
    FailFast,
    Gpus,
    InProcess,
    PackSize,
    Quiet,
    RetryFailed,
    RunsDir,
    Source,
    Storage,
    Track,
    Trust,
    whole_or_auto,
)
from sweep.cli.run_commands import spec_overrides
from sweep.cli.styled_help import RUN, add_command
from sweep.folder.paths import DEFAULT_RUNS_DIR, SweepFolder
from sweep.process.output import say

EvaluationSeeds = Annotated[
    Auto | None,
    typer.Option(
        "--evaluation-seeds", parser=whole_or_auto, metavar="N|auto",
        help="New seeds of the evaluation; auto: until every comparison is decided.",
    ),
]  # fmt: skip

Against = Annotated[
    str | None, typer.Option(metavar="BASELINES", help="Compare with published runs: baselines, a name, or a folder.")
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    add_command(
        app, benchmark, RUN, "sweep benchmark benchmark-quickstart",
        "sweep benchmark optimizers-tuned --data FOLDER --dry-run",
    )  # fmt: skip


def benchmark(
    source: Source,
    name: Annotated[str | None, typer.Option(help="Name of the benchmark and its folder.")] = None,
    data: Data = None,
    budget: Annotated[int | None, typer.Option(help="Points that every method gets in its tuning.")] = None,
    tuning_epochs: Annotated[int | None, typer.Option(help="Epochs of a run in the tuning.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of a run in the evaluation.")] = None,
    evaluation_seeds: EvaluationSeeds = None,
    against: Against = None,
    pack: PackSize = None,
    cpus_per_trial: Cpus = None,
    gpus_per_trial: Gpus = None,
    max_concurrent: Concurrent = None,
    address: Address = None,
    autoscale_timeout: AutoscaleTimeout = None,
    storage: Storage = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    dry_run: DryRun = False,
    fail_fast: FailFast = False,
    retry_failed: RetryFailed = False,
    in_process: InProcess = False,
    trust: Trust = False,
    track: Track = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Tune every method with the same budget, then evaluate its best point under new seeds."""
    from sweep.cli.training import Output, train
    from sweep.config.toml import read_spec
    from sweep.folder.trust import from_file

    overrides = spec_overrides(
        name=name, data=data, epochs=epochs, budget=budget, tuning_epochs=tuning_epochs,
        evaluation_seeds=evaluation_seeds, pack=pack, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial,
        max_concurrent=max_concurrent, address=address, autoscale_timeout=autoscale_timeout, storage=storage,
        track=track,
    )  # fmt: skip
    spec = read_spec(source, overrides)
    if spec.benchmark is None:
        raise SpecError(source, "has no [benchmark] and no [[methods]]", f"sweep run {shlex.quote(source)}")
    options = {"dry_run": dry_run, "fail_fast": fail_fast, "retry_failed": retry_failed, "in_process": in_process}
    untyped = from_file(overrides, trust=trust or dry_run)
    if against is None:
        train(spec, runs_dir, Output(quiet, as_json), from_file=untyped, **options)
        return
    from sweep.driver.against import against_lines, check_against

    received = check_against(spec, against)
    train(spec, runs_dir, Output(quiet, as_json, received), from_file=untyped, **options)
    for line in [] if dry_run else against_lines(SweepFolder(runs_dir, spec.name)):
        say(line, error=as_json)
