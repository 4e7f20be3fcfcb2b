"""The complete study: a sweep, its analyses, and the article."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from results.analyses.captures import Analyses, load_analyses
from results.ledger.arrays import SweepData, load_sweep
from results.reports.study.claims import claimed_configurations
from search_spaces import Run
from search_spaces.errors import UserError
from sweep.analyses.captures import Track, capture_gradients, map_activations, run_range_tests
from sweep.analyses.targets import Subjects, of_sweep
from sweep.analyses.trajectories import SAVES, trace_trajectories
from sweep.config.toml import read_spec
from sweep.driver.driver import DriveOptions, Outcome, drive
from sweep.folder.paths import SweepFolder
from sweep.progress.task_progress import Tracker

LAYER = "conv1.weight"
BATCHES = 100
BETA = 0.9
IMAGES = 8

TRAJECTORIES = {
    "SGD": "trajectory_sgd",
    "SGD + momentum": "trajectory_momentum",
    "SGD + Nesterov": "trajectory_nesterov",
    "Adam": "trajectory_adam",
}
"""The study's own configurations → what the article calls the figure of each one's path."""


def run_study(overrides: Mapping[str, Any], runs_dir: Path, console: Console, *, in_process: bool = False) -> Outcome:
    """Train the space ``study``, run every missing analysis, and write tables, figures and the article.

    After an interruption the same call continues: the ledger has the finished runs, and an analysis is stored
    completely or not at all. An analysis that fails is reported, and the article says that it is missing.

    Raises:
        UserError: anything in the overrides, the data or the folder that cannot be.
        KeyboardInterrupt: Ctrl-C.
    """
    from sweep.driver.outputs import make_article, make_outputs

    spec = read_spec("study", overrides)
    spec = spec.model_copy(update={"save_weights_every": math.ceil(spec.epochs / SAVES)})
    outcome = drive(spec, runs_dir, console, DriveOptions(in_process=in_process))
    assert outcome is not None
    folder = outcome.folder
    subjects = of_sweep(folder)
    four = studied_runs(load_sweep(folder.ledger, folder.name), subjects)
    with Tracker(console) as tracker:
        own = _look_inside(folder, subjects, four, tracker.track)
        tracker.track("tables, figures and article", 0, 1)
        make_outputs(folder)
        make_article(folder, own)
        tracker.track("tables, figures and article", 1, 1)
    return outcome


def studied_runs(sweep: SweepData, subjects: Subjects) -> dict[str, Run]:
    """Return the runs of the study's own configurations under one seed: the first under which most of them are done."""
    by_id = {run.run_id: run for run in subjects.runs}
    done: dict[int, dict[str, Run]] = {}
    for name, group in claimed_configurations(sweep).items():
        for run_id, seed, status in zip(group.run_ids, group.seeds, group.statuses, strict=True):
            if status == "done":
                done.setdefault(seed, {})[name] = by_id[run_id]
    return max((done[seed] for seed in sorted(done)), key=len, default={})


def _look_inside(folder: SweepFolder, subjects: Subjects, four: Mapping[str, Run], track: Track) -> dict[Path, str]:
    """Make every analysis of the study's own runs that is not there as the study wants it; return their files.

    A trajectory's file comes with what the article calls its figure.
    """
    there, epochs = load_analyses(folder.analyses), subjects.spec.epochs
    own: dict[Path, str] = {}

    def unless(current: bool, what: str, make: Callable[[], Any]) -> None:
        """Run a missing or outdated analysis; an error in one analysis does not stop the others."""
        try:
            if not current:
                make()
        except UserError as error:
            track(f"not measured: {what} ({error})", 1, 1)

    if adam := four.get("Adam"):
        path = folder.analysis("gradients", f"{adam.run_id}.{LAYER}")
        own[path] = ""
        capture = there.gradients.get(path)
        whole = capture is not None and len(capture.gradients) == BATCHES and capture.about["beta"] == BETA
        unless(
            whole, "gradients",
            lambda: capture_gradients(subjects.only(adam), layer=LAYER, batches=BATCHES, beta=BETA, track=track),
        )  # fmt: skip
    # With fewer batches than an epoch LeNet-5 is still at chance, and all learning rates look the same.
    steps = max(BATCHES, math.ceil(len(subjects.data.train_labels) / subjects.spec.protocol.batch_size))
    tests = {folder.analysis("lr-range", run.run_id): run for run in four.values()}
    own |= dict.fromkeys(tests, "")
    whole = all(path in there.range_tests and len(there.range_tests[path].lr) == steps for path in tests)
    # All of them or none: as one pack, in which each has the same bits again.
    unless(whole, "range test", lambda: run_range_tests(subjects.only(*four.values()), steps=steps, track=track))
    own |= _trajectories(folder, four, there, epochs, unless, track)
    if adam:
        path = folder.analysis("activations", adam.run_id)
        own[path] = ""
        maps = there.activations.get(path)
        whole = maps is not None and maps.about["epoch"] == epochs and len(maps.labels) == IMAGES
        unless(whole, "activations", lambda: map_activations(folder, adam.run_id, images=IMAGES))
    return {path: name for path, name in own.items() if path.exists()}


def _trajectories(
    folder: SweepFolder, four: Mapping[str, Run], there: Analyses, epochs: int,
    unless: Callable[[bool, str, Callable[[], Any]], None], track: Track,
) -> dict[Path, str]:  # fmt: skip
    """Trace the paths of the study's own runs, each on its own plane and all on a shared one."""
    if not four:
        return {}
    current = [path for path, one in there.trajectories.items() if all(line.epoch[-1] == epochs for line in one.paths)]
    files: list[Path] = []
    unless(
        False, "trajectories",  # it knows itself which are left
        lambda: files.extend(trace_trajectories(folder, list(four.values()), track=track, skip=current)),
    )  # fmt: skip
    by_run = {run.run_id: TRAJECTORIES[name] for name, run in four.items()}
    return {path: by_run.get(path.name.split(".")[0], "trajectories") for path in files}
