"""The commands that analyse training: gradients, lr-range, trajectory, activations, and the complete study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search_spaces.errors import SpecError
from sweep.cli.options import EXIT_FAILED, Data, Name, RunsDir, Source, near
from sweep.cli.options import Track as Trackers
from sweep.cli.run_commands import spec_overrides
from sweep.cli.styled_help import ANALYSE, add_command
from sweep.folder.paths import DEFAULT_RUNS_DIR, SweepFolder, resume_command
from sweep.process.output import say

if TYPE_CHECKING:
    from sweep.analyses.captures import Track

Seed = Annotated[int | None, typer.Option(help="Seed.", show_default="the first")]
RunId = Annotated[str | None, typer.Option("--run", metavar="RUN", help="Run id, or the beginning of one.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    add_command(app, study, ANALYSE, "sweep study --epochs 10 --seeds 2")
    add_command(
        app, gradients, ANALYSE, "sweep gradients --space optimizers", "sweep gradients --sweep optimizers --run 3f2a"
    )
    add_command(app, lr_range, ANALYSE, "sweep lr-range optimizers --steps 352")
    add_command(app, trajectory, ANALYSE, "sweep trajectory optimizers")
    add_command(app, activations, ANALYSE, "sweep activations optimizers 3f2a")


def gradients(
    space: Annotated[
        str | None, typer.Option(metavar="SPACE|FILE.toml", help="Analyse every configuration of this space.")
    ] = None,
    sweep: Annotated[
        str | None, typer.Option(metavar="NAME", help="Analyse a run of this sweep, given with --run.")
    ] = None,
    run: RunId = None,
    layer: Annotated[str, typer.Option(help="Parameter whose gradients are captured.")] = "conv1.weight",
    batches: Annotated[int, typer.Option(help="Number of mini-batches, from the first.")] = 100,
    beta: Annotated[float, typer.Option(help="β of the EWMA in the figures, in [0, 1).")] = 0.9,
    seed: Seed = None,
    data: Data = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Capture a layer's gradients during training. Shows EWMA, steps of Adam and noise scale."""
    if (space is None) == (sweep is None):
        raise SpecError("gradients", "needs either --space or --sweep", "for example --space optimizers")
    if sweep is not None and run is None:
        raise SpecError("--sweep", f"{sweep} has several runs", "give one with --run; the ids are in runs.csv")
    if space is not None and run is not None:
        raise SpecError(
            "--run", f"{run} needs a sweep", "give it with --sweep; with --space, every configuration is analysed"
        )
    if sweep is not None and seed is not None:
        raise SpecError("--seed", f"{seed} cannot be combined with --run, which has its own seed", "remove one of them")
    with _loading():
        from results.metrics.gradients import check_beta
        from sweep.analyses.captures import capture_gradients
        from sweep.analyses.targets import of_space, of_sweep
        from trainables.analyses.gradient_capture import Capture

    check_beta(beta)
    Capture(layer, batches).check()
    if space is not None:
        subjects = of_space(space, {} if data is None else {"data": data}, runs_dir, seed)
    else:
        assert sweep is not None
        subjects = of_sweep(SweepFolder.existing(runs_dir, sweep), run, data)
    with _tracking() as track:
        files = capture_gradients(subjects, layer=layer, batches=batches, beta=beta, track=track)
    _print_outputs(subjects.folder, files)


def lr_range(
    source: Source,
    lr_from: Annotated[float, typer.Option("--from", help="First learning rate.")] = 1e-7,
    lr_to: Annotated[float, typer.Option("--to", help="Last learning rate.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Number of mini-batches, each with a higher rate.")] = 100,
    name: Annotated[
        str | None, typer.Option(help="Name of the result folder.", show_default="the space's name")
    ] = None,
    seed: Seed = None,
    data: Data = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Run a learning-rate range test for every configuration."""
    with _loading():
        from sweep.analyses.captures import run_range_tests
        from sweep.analyses.targets import of_space
        from trainables.analyses.lr_range_test import RateRange

    RateRange(lr_from, lr_to, steps).check()
    overrides = {key: value for key, value in (("data", data), ("name", name)) if value is not None}
    subjects = of_space(source, overrides, runs_dir, seed)
    with _tracking() as track:
        files = run_range_tests(subjects, lr_from=lr_from, lr_to=lr_to, steps=steps, track=track)
    _print_outputs(subjects.folder, files)


def trajectory(
    name: Name,
    runs: Annotated[
        list[str] | None, typer.Option("--run", metavar="RUN", help="Run id; repeat for several runs of the same seed.")
    ] = None,
    seed: Seed = None,
    grid: Annotated[int, typer.Option(help="Points of the loss surface per axis.")] = 21,
    data: Data = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Plot the path of the weights on the loss surface. The axes are the two principal directions of the path."""
    folder = SweepFolder.existing(runs_dir, name)
    with _loading():
        from sweep.analyses.trajectories import trace_trajectories

    with _tracking() as track:
        files = trace_trajectories(folder, runs or (), seed=seed, grid=grid, data=data, track=track)
    _print_outputs(folder, files)


def activations(
    name: Name,
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run id, or the beginning of one.")],
    images: Annotated[int, typer.Option(help="Number of test images, from the first.")] = 8,
    data: Data = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Plot the activations of a trained run. Shows every convolution, ReLU and pooling layer."""
    folder = SweepFolder.existing(runs_dir, name)
    with _loading():
        from sweep.analyses.captures import map_activations

    _print_outputs(folder, [map_activations(folder, run, images=images, data=data)])


def study(
    data: Data = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs per run.", show_default="50")] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds (0 … SEEDS-1).")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the sweep and its folder.")] = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    track: Trackers = None,
) -> None:
    """Run the complete study. This includes training, all analyses, and the article."""
    from sweep.progress.console import PlainConsole

    with _loading():
        from sweep.analyses.study import run_study

    given = spec_overrides(data=data, epochs=epochs, seeds=seeds, name=name, track=track)
    outcome = run_study(given, runs_dir, PlainConsole())
    folder = outcome.folder
    for sentence in outcome.answer:
        say(sentence)
    say(f"article: {near(folder.article_page)} and {near(folder.article)}  report: {near(folder.report)}")
    if not outcome.all_done:
        again = resume_command(folder.name, folder.runs_dir, retry_failed=outcome.count("failed") > 0)
        say(f"not all runs have a result; to retry: {again}, then run this command again", error=True)
        raise typer.Exit(EXIT_FAILED)


def _print_outputs(folder: SweepFolder, files: list[Path]) -> None:
    """Write the tables and figures of all analyses in the folder, and print the new files."""
    from sweep.driver.outputs import make_analysis_outputs

    analyses = make_analysis_outputs(folder)
    for sentence in analyses.subset(files).sentences():
        say(sentence)
    for path in files:
        say(near(path))
    say(f"tables: {near(folder.tables)}  figures: {near(folder.figures)}")


@contextmanager
def _loading() -> Iterator[None]:
    """Show that PyTorch is imported, in the block: it takes seconds."""
    from sweep.progress.console import PlainConsole
    from sweep.progress.stages import Stages

    with Stages(PlainConsole()) as stages:
        stages.begin("loading PyTorch")
        yield


@contextmanager
def _tracking() -> Iterator[Track]:
    """Show a progress bar on a terminal, and lines elsewhere."""
    from sweep.progress.console import PlainConsole
    from sweep.progress.task_progress import Tracker

    with Tracker(PlainConsole()) as tracker:
        yield tracker.track
