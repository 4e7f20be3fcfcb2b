"""The analyses of runs: computed by `trainables`, stored as Parquet for `results`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from results.analyses.file_format import write_analysis
from search_spaces import Configuration, Run
from search_spaces.errors import SpecError, SweepFolderError
from search_spaces.models import LENET5
from sweep.analyses.targets import Subjects, of_sweep
from sweep.folder.paths import SweepFolder, resume_command

if TYPE_CHECKING:
    import torch

RANGE_TEST_PACK = 8
"""Configurations whose range tests are made as one stacked model."""

MOST_IMAGES = 1000
"""Test images that one file of activations may hold (14,184 values each)."""

Track = Callable[[str, int, int], None]
"""Called with the name of a task, its finished parts, and the number of its parts."""


def silent(what: str, done: int, total: int) -> None:
    """Report nothing."""


def capture_gradients(
    subjects: Subjects, *, layer: str = "conv1.weight", batches: int = 100, beta: float = 0.9, track: Track = silent
) -> list[Path]:
    """Train every subject for ``batches`` steps from its start and store the gradients of ``layer``; return the files.

    Raises:
        UnknownNameError: no such layer.
        SpecError: fewer than two batches, a β outside [0, 1), or a run that diverges on its way.
        SweepFolderError: a folder that cannot be written.
    """
    from results.analyses.gradients import gradient_writer
    from results.metrics.gradients import check_beta
    from trainables.analyses import gradient_capture

    check_beta(beta)
    capture = gradient_capture.Capture(layer, batches)
    capture.check()
    device = device_of(subjects)
    files = []
    for run in subjects.runs:
        shapes = gradient_capture.layer_shapes(run, subjects.data.classes)
        capture.check(shapes)
        path = subjects.folder.analysis("gradients", f"{run.run_id}.{layer}")
        what = f"gradients of {subjects.label(run)}, {batches} batches"
        about = {
            **subjects.about(run, "gradients", device),
            "layer": layer, "layer_shape": list(shapes[layer]), "beta": beta,
            "batch_size": run.conditions.batch_size, "examples": len(subjects.data.train_labels),
        }  # fmt: skip
        with writable(path), gradient_writer(path, about) as writer:
            noise = gradient_capture.capture_gradients(
                run, subjects.data, device, record=writer.record, capture=capture, on_progress=named(track, what)
            )
            writer.finish({name: asdict(sums) for name, sums in noise.items()})
        files.append(path)
    return files


def run_range_tests(
    subjects: Subjects, *, lr_from: float = 1e-7, lr_to: float = 10.0, steps: int = 100, track: Track = silent
) -> list[Path]:
    """Make the learning-rate range test of every subject's optimizer, once for those that differ in rate or schedule.

    Raises:
        SpecError: ends or a number of steps that cannot be.
        SweepFolderError: a folder that cannot be written.
    """
    from trainables.analyses.lr_range_test import RateRange, range_test

    device = device_of(subjects)
    different = list({_key_without_rate(run): run for run in reversed(subjects.runs)}.values())[::-1]
    labels = {run.run_id: _label_without_rate(subjects.label(run)) for run in different}
    files = []
    size = RANGE_TEST_PACK if subjects.spec.model == LENET5 else 1  # another model may not share a pack
    for runs in _packs_of_one_batch_size(different, size):
        what = f"range test of {', '.join(labels[run.run_id] for run in runs)}"
        found = range_test(
            runs, subjects.data, device, RateRange(lr_from, lr_to, steps), on_progress=named(track, what)
        )
        for run, loss, moved in zip(runs, found.loss, found.moved, strict=True):
            path = subjects.folder.analysis("lr-range", run.run_id)
            about = subjects.about(run, "lr-range", device)
            about["label"] = labels[run.run_id]
            with writable(path):
                write_analysis(path, {"lr": found.lr, "loss": loss, "moved": moved}, about)
            files.append(path)
    return files


def map_activations(folder: SweepFolder, run: str, *, images: int = 8, data: str | None = None) -> Path:
    """Store the output of every layer of a trained run for the first ``images`` test images; return the file.

    Raises:
        UnknownNameError: no such run.
        SpecError: a number of images that cannot be, or a run that diverged.
        SweepFolderError: the run has no checkpoint; the line says how to make one.
    """
    import torch

    from results.analyses.activations import ActivationMaps, write_activation_maps
    from results.ledger.ledger import Ledger
    from results.ledger.queries import pack_of
    from sweep.folder.snapshot import checkpoint_place
    from sweep.folder.trust import STORAGE, check_trusted
    from trainables.analyses.feature_maps import feature_maps, member_parameters
    from trainables.training.checkpoints import Checkpoints

    subjects = of_sweep(folder, run, data)
    check_trusted(folder, subjects.spec, {STORAGE})
    subjects.require_lenet5("activations")
    (subject,) = subjects.runs
    if not 1 <= images <= min(MOST_IMAGES, len(subjects.data.test_labels)):
        most = min(MOST_IMAGES, len(subjects.data.test_labels))
        raise SpecError("--images", f"{images}", f"1 to {most} of the test images")
    with Ledger.open_read_only(folder.ledger) as ledger:
        pack = pack_of(ledger, subject.run_id)
        status = ledger.statuses().get(subject.run_id, "done")
    state = Checkpoints(checkpoint_place(folder, subjects.spec, pack.pack_id)).newest() if pack else None
    if state is None:
        again = resume_command(folder.name, folder.runs_dir)
        if status in ("done", "diverged"):  # nothing is left to resume
            again = shlex.join(["sweep", "run", str(folder.spec), "--name", f"{folder.name}-again"])
        raise SweepFolderError(f"run {subject.run_id} of {folder.name} has no checkpoint; training makes one: {again}")
    if status == "diverged":
        raise SpecError("RUN", f"{subject.run_id} diverged", "its weights are no numbers; take a run that is done")
    pictures, labels = subjects.data.test_images[:images], subjects.data.test_labels[:images]
    found = feature_maps(member_parameters(state, subject.run_id), pictures)
    about = subjects.about(subject, "activations", torch.device("cpu"))  # where a checkpoint is loaded
    about |= {"epoch": state["epoch"], "step_in_epoch": state["step_in_epoch"], "split": "test"}
    about |= {"image_rows": list(range(images))}
    maps = ActivationMaps(
        pictures, labels, found.probabilities.argmax(1), found.probabilities.max(1), found.maps,
        subjects.data.class_names, about,
    )  # fmt: skip
    path = folder.analysis("activations", subject.run_id)
    with writable(path):
        write_activation_maps(path, maps)
    return path


def device_of(subjects: Subjects) -> torch.device:
    """Return the device of the spec: a GPU if it asks for one and one is found."""
    from trainables.runtime.devices import deterministic, training_device

    device = training_device(subjects.spec.resources.gpus > 0)
    deterministic(device)
    return device


def _packs_of_one_batch_size(runs: Sequence[Run], most: int) -> Iterator[list[Run]]:
    """Yield the runs of a pack: at most ``most`` runs, with one batch size."""
    for size in dict.fromkeys(run.conditions.batch_size for run in runs):
        same = [run for run in runs if run.conditions.batch_size == size]
        for start in range(0, len(same), most):
            yield same[start : start + most]


def _key_without_rate(run: Run) -> str:
    choice = run.configuration
    bare = Configuration(choice.optimizer, choice.optimizer_params, batch_size=choice.batch_size)
    return bare.without_lr().key


def _label_without_rate(label: str) -> str:
    """Return a label for the optimizer of a configuration without its learning rate and schedule."""
    return re.sub(r" lr=\S+", "", label.partition(" · ")[0])


def named(track: Track, what: str) -> Callable[[int, int], None]:
    """Return ``track`` for the one task ``what``."""
    return lambda done, total: track(what, done, total)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn an OSError of a file into a one-line error."""
    try:
        yield
    except OSError as error:
        raise SweepFolderError(f"{path}: cannot be written ({error.strerror or error})") from error
