"""The whole study by one command: a sweep, what looks inside it, and the article."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from results.study_tables import CLAIMS
from results.sweep_data import SweepData, load_sweep
from search_spaces import Run
from sweep.analyses import Track, capture_gradients, map_activations, run_range_tests
from sweep.driver import Outcome, drive
from sweep.folder import SweepFolder
from sweep.spec import read_spec
from sweep.subjects import Subjects, of_sweep
from sweep.tracking import Tracker
from sweep.trajectories import FEWEST_POINTS, SAVES, trace_trajectories

LAYER = "conv1.weight"
BATCHES = 100
IMAGES = 8


def run_study(overrides: Mapping[str, Any], runs_dir: Path, console: Console) -> Outcome:
    """Train the space ``study``, make every analysis that is not there yet, and write tables, figures and article.

    Interrupted, the same call goes on: the ledger keeps the runs, and an analysis is there whole or not at all.

    Raises:
        UserError: anything in the overrides, the data or the folder that cannot be.
        KeyboardInterrupt: Ctrl-C.
    """
    from sweep.reporting import make_article

    spec = read_spec("study", overrides)
    spec = spec.model_copy(update={"save_weights_every": math.ceil(spec.epochs / SAVES)})
    outcome = drive(spec, runs_dir, console)
    assert outcome is not None
    folder = outcome.folder
    subjects = of_sweep(folder)
    four = claimed_runs(load_sweep(folder.ledger, folder.name), subjects)
    with Tracker(console) as tracker:
        _look_inside(folder, subjects, four, tracker.track)
        tracker.track("tables, figures and article", 0, 1)
        make_article(folder)
        tracker.track("tables, figures and article", 1, 1)
    return outcome


def _look_inside(folder: SweepFolder, subjects: Subjects, four: Mapping[str, Run], track: Track) -> None:
    """Make every analysis of the study's own configurations that is not there yet."""
    adam = four.get("Adam")
    if adam and not folder.analysis("gradients", f"{adam.run_id}.{LAYER}").exists():
        capture_gradients(subjects.only(adam), layer=LAYER, batches=BATCHES, track=track)
    left = [run for run in four.values() if not folder.analysis("lr-range", run.run_id).exists()]
    # On fewer batches than an epoch LeNet-5 is still on its plateau, and no rate tells itself from another.
    steps_per_epoch = math.ceil(len(subjects.data.train_labels) / subjects.spec.protocol.batch_size)
    run_range_tests(subjects.only(*left), steps=max(BATCHES, steps_per_epoch), track=track)
    if four and subjects.spec.epochs + 1 >= FEWEST_POINTS:
        trace_trajectories(folder, list(four.values()), track=track, again=False)
    if adam and not folder.analysis("activations", adam.run_id).exists():
        map_activations(folder, adam.run_id, images=IMAGES)


def claimed_runs(sweep: SweepData, subjects: Subjects) -> dict[str, Run]:
    """Return the runs of the configurations that the study makes claims of, those of the first seed that counts."""
    by_id = {run.run_id: run for run in subjects.runs}
    found = {}
    for claim in CLAIMS:
        for group in filter(claim.matches, sweep.counted):
            found[claim.name] = by_id[group.counted_ids[0]]
    return found
