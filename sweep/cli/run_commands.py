"""The commands that train a sweep: run, resume and confirm."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

from search_spaces.errors import SpecError
from sweep.cli.options import (
    Address,
    AsJson,
    AutoscaleTimeout,
    Concurrent,
    Cpus,
    Data,
    DryRun,
    FailFast,
    Gpus,
    InProcess,
    MaxSeeds,
    Name,
    NameOrAddress,
    PackSize,
    Quiet,
    RetryFailed,
    RunsDir,
    Seeds,
    Source,
    Storage,
    Track,
    Trust,
    near,
)
from sweep.cli.styled_help import RUN, add_command
from sweep.folder.paths import DEFAULT_RUNS_DIR, SweepFolder, is_sweep_folder
from sweep.process.output import say


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    add_command(
        app, run, RUN, "sweep run quickstart", "sweep run mine.toml --dry-run",
        "sweep run optimizers --data FOLDER --epochs 10 --seeds 6",
    )  # fmt: skip
    add_command(app, resume, RUN, "sweep resume optimizers", "sweep resume runs/optimizers --retry-failed")
    add_command(app, confirm, RUN, "sweep confirm optimizers --top 3 --seeds 10")


def spec_overrides(*, track: str | None = None, **given: Any) -> dict[str, Any]:
    """Return the given options under the keys of the spec; ``track`` has the names of trackers."""
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
    found = {keys.get(key, key): value for key, value in given.items() if value is not None}
    if track is not None:
        from sweep.tracking.registry import check_trackers

        names = [word.strip() for word in track.split(",") if word.strip()]
        check_trackers(names)
        found["tracking.trackers"] = names
    return found


def run(
    source: Source,
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
    dry_run: DryRun = False,
    fail_fast: FailFast = False,
    retry_failed: RetryFailed = False,
    in_process: InProcess = False,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    track: Track = None,
) -> None:
    """Run a sweep; finished runs are skipped."""
    from sweep.cli.training import Output, train
    from sweep.config.toml import read_spec
    from sweep.folder.trust import from_file

    overrides = spec_overrides(
        name=name, data=data, epochs=epochs, seeds=seeds, max_seeds=max_seeds, pack=pack, cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial, max_concurrent=max_concurrent, address=address,
        autoscale_timeout=autoscale_timeout, storage=storage, track=track,
    )  # fmt: skip
    spec = read_spec(source, overrides)
    if spec.benchmark is not None:
        raise SpecError(source, "is a benchmark", f"sweep benchmark {shlex.quote(source)}")
    options = {"dry_run": dry_run, "fail_fast": fail_fast, "retry_failed": retry_failed, "in_process": in_process}
    untyped = from_file(overrides, trust=trust or dry_run)
    train(spec, runs_dir, Output(quiet, as_json), from_file=untyped, **options)


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
    quiet: Quiet = False,
    as_json: AsJson = False,
    track: Track = None,
) -> None:
    """Resume an interrupted sweep. PLACE/NAME resumes it from its storage, on any machine."""
    from sweep.cli.training import Output, train
    from sweep.driver.driver import read_resolved
    from sweep.folder.trust import from_file

    overrides = spec_overrides(
        data=data, pack=pack, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial,
        max_concurrent=max_concurrent, address=address,
        autoscale_timeout=autoscale_timeout, storage=storage, track=track,
    )  # fmt: skip
    if "/" in name and not is_sweep_folder(name):
        from sweep.folder.snapshot import fetch

        folder, place = fetch(name, runs_dir)
        overrides = {"storage": place, **overrides}
    else:
        folder = SweepFolder.existing(runs_dir, name)
    spec = read_resolved(folder, overrides)
    options = {"fail_fast": fail_fast, "retry_failed": retry_failed, "in_process": in_process, "resuming": True}
    untyped = from_file(overrides, trust=trust)
    train(spec, folder.runs_dir, Output(quiet, as_json), from_file=untyped, **options)


def confirm(
    name: Name,
    top: Annotated[
        int | None,
        typer.Option(min=2, help="Number of configurations, the best of each family.", show_default="3"),
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
    dry_run: DryRun = False,
    in_process: InProcess = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    track: Track = None,
) -> None:
    """Compare the best configurations under new seeds. They are trained as the sweep NAME-confirm."""
    from results.ledger.arrays import load_sweep
    from sweep.cli.training import Output, train
    from sweep.driver.confirm import confirmation_spec, power_sentence
    from sweep.driver.finalists import DEFAULT_SEEDS
    from sweep.driver.outputs import make_report

    overrides = spec_overrides(
        pack=pack, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial, max_concurrent=max_concurrent,
        address=address, max_seeds=max_seeds, track=track,
    )  # fmt: skip
    folder = SweepFolder.existing(runs_dir, name)
    sweep = load_sweep(folder.ledger, folder.name)
    spec = confirmation_spec(folder, sweep, top, DEFAULT_SEEDS if seeds is None else seeds, overrides, trust=trust)
    if not quiet:
        say(power_sentence(sweep, len(spec.configurations) - 1), error=as_json)
    train(spec, folder.runs_dir, Output(quiet, as_json), dry_run=dry_run, in_process=in_process)
    if not dry_run:
        page = make_report(folder)
        if not quiet:
            say(f"{near(page)} shows this answer first", error=as_json)
