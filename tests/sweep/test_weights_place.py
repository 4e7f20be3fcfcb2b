"""Weights of epochs are stored where the checkpoints are: in the sweep's storage, or in its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from results.analyses.trajectory import read_trajectory
from results.ledger.ledger import EpochRow, Ledger
from sweep.analyses.trajectories import trace_trajectories
from sweep.config.toml import parse_spec, spec_text
from sweep.folder.paths import SweepFolder
from sweep.folder.snapshot import weights_place
from sweep.folder.trust import remember
from sweep.planning.plan import make_packs, make_runs, resolve_configurations
from tests.builders import attempt_of
from tests.trainables.s3_server import BUCKET, S3Server
from trainables.data.dataset import load_data
from trainables.storage.folder import FolderStorage
from trainables.storage.s3 import BucketStorage
from trainables.training.loop import TrainOptions, train
from trainables.training.messages import Assignment, TrialSpec, this_attempt
from trainables.training.trial import weights_to_keep
from trainables.training.weight_snapshots import SavedWeights

SPEC = """
data = "synthetic:n_train=1000,n_test=100,seed=0"
epochs = 2
seeds = 1
save_weights_every = 1
[[configurations]]
optimizer = {name = "SGD", lr = 0.05}
"""


def job(weights: str, *, local: bool = False, every: int = 1) -> TrialSpec:
    """What a trial gets."""
    assignment = Assignment("p", [], 1, frozenset())
    trial = TrialSpec(
        assignment, checkpoints="", weights=weights, threads=1, save_weights_every=every, on_drivers_disk=local
    )
    return TrialSpec.from_json(trial.to_json())


def test_a_trial_keeps_weights_in_the_storage_or_on_a_disk_that_it_shares(tmp_path: Path) -> None:
    assert weights_to_keep(job("s3://here/s/weights", every=0)) is None
    assert weights_to_keep(job("s3://here/s/weights", every=3)).every == 3  # type: ignore[union-attr]
    folder = tmp_path / "s"
    assert weights_to_keep(job(str(folder / "weights"), local=True)) is None  # a node that does not see the sweep
    folder.mkdir()
    (folder / "ledger.sqlite").touch()
    assert weights_to_keep(job(str(folder / "weights"), local=True)) is not None


def test_the_place_is_the_storages_where_there_is_one(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path, "s")
    local, shared, bucket = (
        weights_place(folder, parse_spec(SPEC, where="s.toml", name="s", overrides={"storage": storage}))
        for storage in ("", str(tmp_path / "shared"), "s3://here/sweeps?region=eu-west-1")
    )
    assert isinstance(local, FolderStorage)
    assert local.path == folder.weights
    assert isinstance(shared, FolderStorage)
    assert shared.path == tmp_path / "shared" / "s" / "weights"
    assert isinstance(bucket, BucketStorage)
    assert bucket.uri == "s3://here/sweeps/s/weights?region=eu-west-1"


def test_a_trajectory_is_read_from_the_bucket_that_the_trial_wrote_to(tmp_path: Path, server: S3Server) -> None:
    """Nothing is trained again, and no file is in the sweep's folder."""
    folder = SweepFolder(tmp_path / "runs", "s")
    folder.create()
    storage = server.uri(BUCKET, "trajectory")
    spec = parse_spec(SPEC, where="s.toml", name="s", overrides={"storage": storage})
    data = load_data(spec.data)
    configurations = resolve_configurations(spec, 8)
    runs = make_runs(spec, configurations, data.fingerprint)
    (pack,) = make_packs(runs, (), {}, 4)
    attempt = attempt_of(runs, pack_id=pack.pack_id, threads=torch.get_num_threads())
    weights = weights_to_keep(job(weights_place(folder, spec).uri))
    with Ledger.create_or_open(folder.ledger) as ledger:
        ledger.plan(runs, 2, data_name=data.name, synthetic=True)
        ledger.plan_packs([(pack.pack_id, pack.run_ids)], "auto")
        ledger.start(pack.pack_id, pack.run_ids)
        assignment = Assignment(pack.pack_id, runs, 2, frozenset({2}))
        told_by = this_attempt(assignment, torch.device("cpu"))
        options = TrainOptions(replace(told_by, attempt_id=attempt.attempt_id), weights=weights)
        for report in train(assignment, data, torch.device("cpu"), options):
            ledger.record([attempt], [EpochRow(**vars(row)) for row in report.rows], {})
        ledger.complete(pack.pack_id)
    folder.spec.write_text(spec_text(spec, configurations))
    remember(folder, spec)
    run_id, told = runs[0].run_id, []

    trace_trajectories(folder, [run_id], grid=3, track=lambda what, done, total: told.append(what))
    assert not any("trained again" in what for what in told)
    assert not folder.weights.exists()
    trajectory = read_trajectory(folder.analyses / "trajectory" / run_id)
    assert trajectory.paths[0].epoch.tolist() == [0, 1, 2]

    place = weights_place(folder, spec)
    saved = SavedWeights(place)
    kept = [saved.read(run_id, epoch) for epoch in (0, 1, 2)]
    place.delete(f"{run_id}/epoch000001.npy")
    trace_trajectories(folder, [run_id], grid=3, track=lambda what, done, total: told.append(what))
    assert any("trained again" in what for what in told)
    assert not folder.weights.exists()
    for epoch, expected in enumerate(kept):
        np.testing.assert_array_equal(saved.read(run_id, epoch), expected)
