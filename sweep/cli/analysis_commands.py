"""The verbs that look inside training: gradients, lr-range, trajectory, activations, and the whole study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from search_spaces.errors import SpecError
from sweep.cli.options import EXIT_FAILED, Data, Name, RunsDir, near
from sweep.folder.paths import DEFAULT_RUNS_DIR, SweepFolder, resume_command

if TYPE_CHECKING:
    from sweep.analyses.captures import Track

Seed = Annotated[int | None, typer.Option(help="The seed to look at; the first one otherwise.")]
RunId = Annotated[str | None, typer.Option("--run", metavar="RUN", help="A run's id, or the beginning of it.")]


def gradients(
    space: Annotated[str | None, typer.Option(metavar="SPACE|FILE.toml", help="Every configuration of it.")] = None,
    sweep: Annotated[
        str | None, typer.Option(metavar="NAME", help="A run of this sweep; say which with --run.")
    ] = None,
    run: RunId = None,
    layer: Annotated[str, typer.Option(help="The parameter whose gradients are captured.")] = "conv1.weight",
    batches: Annotated[int, typer.Option(help="Mini-batches, from the first one on.")] = 100,
    beta: Annotated[float, typer.Option(help="β of the EWMA in the figures, in [0, 1).")] = 0.9,
    seed: Seed = None,
    data: Data = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Capture a layer's gradients in real training: EWMA, Adam's stages, noise scale."""
    from results.metrics.gradients import check_beta
    from sweep.analyses.captures import capture_gradients
    from sweep.analyses.targets import of_space, of_sweep
    from trainables.analyses.gradient_capture import check_capture

    if (space is None) == (sweep is None):
        raise SpecError("gradients", "needs one of --space and --sweep", "for instance --space optimizers")
    if sweep is not None and run is None:
        raise SpecError("--sweep", f"{sweep} has many runs", "say which with --run; their ids stand in runs.csv")
    if space is not None and run is not None:
        raise SpecError("--run", f"{run} is a run of no sweep", "say of which with --sweep; a space is looked at whole")
    if sweep is not None and seed is not None:
        raise SpecError("--seed", f"{seed}, but --run names a run, and so its seed", "leave one of them out")
    check_beta(beta)
    check_capture(layer, batches)
    if space is not None:
        subjects = of_space(space, {} if data is None else {"data": data}, runs_dir, seed)
    else:
        assert sweep is not None
        subjects = of_sweep(SweepFolder.existing(runs_dir, sweep), run, data)
    with _tracking() as track:
        files = capture_gradients(subjects, layer=layer, batches=batches, beta=beta, track=track)
    _tell(subjects.folder, files)


def lr_range(
    source: Annotated[str, typer.Argument(metavar="SPACE|FILE.toml", help="A named space, or a spec of your own.")],
    lr_from: Annotated[float, typer.Option("--from", help="The first learning rate.")] = 1e-7,
    lr_to: Annotated[float, typer.Option("--to", help="The last learning rate.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Mini-batches, each at a higher rate.")] = 100,
    name: Annotated[str | None, typer.Option(help="Name of the folder that keeps it; the space's otherwise.")] = None,
    seed: Seed = None,
    data: Data = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Raise the learning rate step by step and see which rates teach, and which diverge."""
    from sweep.analyses.captures import run_range_tests
    from sweep.analyses.targets import of_space
    from trainables.analyses.lr_range_test import check_range

    check_range(lr_from, lr_to, steps)
    overrides = {key: value for key, value in (("data", data), ("name", name)) if value is not None}
    subjects = of_space(source, overrides, runs_dir, seed)
    with _tracking() as track:
        files = run_range_tests(subjects, lr_from=lr_from, lr_to=lr_to, steps=steps, track=track)
    _tell(subjects.folder, files)


def trajectory(
    name: Name,
    runs: Annotated[
        list[str] | None, typer.Option("--run", metavar="RUN", help="A run, several times for several of one seed.")
    ] = None,
    seed: Seed = None,
    grid: Annotated[int, typer.Option(help="Points of the loss surface on each side.")] = 21,
    data: Data = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Draw the path of the weights over the loss surface, on its two principal directions."""
    from sweep.analyses.trajectories import trace_trajectories

    folder = SweepFolder.existing(runs_dir, name)
    with _tracking() as track:
        files = trace_trajectories(folder, runs or (), seed=seed, grid=grid, data=data, track=track)
    _tell(folder, files)


def activations(
    name: Name,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning of it.")],
    images: Annotated[int, typer.Option(help="Test images, from the first one on.")] = 8,
    data: Data = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Map what every convolution, ReLU and pooling layer of a trained run makes of test images."""
    from sweep.analyses.captures import map_activations

    folder = SweepFolder.existing(runs_dir, name)
    _tell(folder, [map_activations(folder, run, images=images, data=data)])


def study(
    data: Data = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of every run; the study has 50.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds: 0 … SEEDS-1.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the sweep and its folder.")] = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Run the whole study: training, gradients, range test, trajectories, activations, and the article."""
    from sweep.analyses.study import run_study

    overrides = {"data": data, "epochs": epochs, "seeds": seeds, "name": name}
    given = {key: value for key, value in overrides.items() if value is not None}
    outcome = run_study(given, runs_dir, Console())
    folder = outcome.folder
    for sentence in outcome.answer():
        typer.echo(sentence)
    typer.echo(f"article: {near(folder.article_page)} and {near(folder.article)}  report: {near(folder.report)}")
    if not outcome.all_done:
        again = resume_command(folder.name, folder.runs_dir, retry_failed=outcome.count("failed") > 0)
        typer.echo(f"not all runs have a result; try again with: {again}, then the same command", err=True)
        raise typer.Exit(EXIT_FAILED)


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    for verb in (gradients, lr_range, trajectory, activations, study):
        app.command(name=verb.__name__.replace("_", "-"))(verb)


def _tell(folder: SweepFolder, files: list[Path]) -> None:
    """Make tables and figures of all that the folder's analyses captured, and say where what is new lies."""
    from sweep.driver.outputs import make_analysis_outputs

    analyses = make_analysis_outputs(folder)
    for sentence in analyses.subset(files).sentences():
        typer.echo(sentence)
    for path in files:
        typer.echo(near(path))
    typer.echo(f"tables: {near(folder.tables)}  figures: {near(folder.figures)}")


@contextmanager
def _tracking() -> Iterator[Track]:
    """Show a bar where there is a terminal, and a line at every tenth where there is none."""
    from sweep.progress.task_progress import Tracker

    with Tracker(Console()) as tracker:
        yield tracker.track
