"""Callbacks of training: the complete gradients of a step, and the weights of epochs."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from search_spaces import Run
from tests.trainables.s3_server import BUCKET, S3Server
from tests.trainables.small_runs import CPU, FLOAT64, make_run, options, without_dropout
from trainables.data import augmentation
from trainables.data.dataset import DataSet
from trainables.models.lenet import SHAPES, LeNet5, initial_parameters
from trainables.storage.addresses import open_storage
from trainables.training.batches import Batches
from trainables.training.checkpoints import CheckpointError, Checkpoints
from trainables.training.loop import EndTraining, train
from trainables.training.messages import Assignment
from trainables.training.pack import Pack
from trainables.training.weight_snapshots import SavedWeights, flattened, unflattened


def array_bytes(array: np.ndarray) -> bytes:
    """What NumPy would write to a file."""
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def assign(*runs: Run, epochs: int = 2) -> Assignment:
    return Assignment("pack", runs, epochs, frozenset())


def test_the_callback_sees_the_gradient_of_the_whole_batch_not_of_a_part(data: DataSet) -> None:
    """300 images in batches of 150 pass in three parts; autograd on the whole batch gives the same gradient."""
    protocol = replace(without_dropout(FLOAT64), batch_size=150)
    run = make_run(protocol=protocol, lr=0.01)
    seen = []

    def look(pack: Pack, batches: Batches) -> None:
        seen.append({name: view.grad.clone() for name, view in pack.stack.member(0).items() if view.grad is not None})
        raise EndTraining

    assert list(train(assign(run), data, CPU, options(before_step=look))) == []

    model = LeNet5().double()
    model.load_state_dict(initial_parameters(run.seed, torch.float64))
    batch = Batches(data, [run.seed], protocol, CPU).batch(1, 0)
    F.cross_entropy(model(augmentation.normalise(batch.images[0], torch.float64)), batch.labels[0]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(seen[0][name], parameter.grad, rtol=1e-10, atol=1e-12)


def test_a_callback_that_only_reads_changes_nothing(data: DataSet) -> None:
    run = make_run("Adam", lr=0.003)
    steps = []

    def look(pack: Pack, batches: Batches) -> None:
        steps.append((pack.epoch, pack.step_in_epoch))

    with_look = [report.rows for report in train(assign(run), data, CPU, options(before_step=look))]
    without = [report.rows for report in train(assign(run), data, CPU, options())]
    assert steps == [(epoch, step) for epoch in range(2) for step in range(10)]
    assert [row.val_loss for rows in with_look for row in rows] == [row.val_loss for r in without for row in r]


def test_weights_are_kept_at_the_start_every_so_often_and_at_the_end(tmp_path: Path, data: DataSet) -> None:
    runs = [make_run("Adam", lr=0.003), make_run("SGD", lr=0.1)]
    weights = SavedWeights(tmp_path, every=2)
    list(train(assign(*runs, epochs=5), data, CPU, options(weights=weights)))
    for run in runs:
        assert weights.epochs(run.run_id) == [0, 2, 4, 5]
    np.testing.assert_array_equal(weights.read(runs[0].run_id, 0), flattened(initial_parameters(0, torch.float32)))
    assert not np.array_equal(weights.read(runs[0].run_id, 5), weights.read(runs[1].run_id, 5))


def test_weights_in_a_bucket_are_those_in_a_folder(tmp_path: Path, data: DataSet, server: S3Server) -> None:
    """The same bits through S3, and a folder's files stay plain NumPy arrays at the same path."""
    run = make_run("Adam", lr=0.003)
    bucket = open_storage(server.uri(BUCKET, "saved-weights"), 5.0).below("weights")
    here, there = SavedWeights(tmp_path, every=2), SavedWeights(bucket, every=2)
    list(train(assign(run, epochs=3), data, CPU, options(weights=here)))
    list(train(assign(run, epochs=3), data, CPU, options(weights=there)))
    assert there.epochs(run.run_id) == here.epochs(run.run_id) == [0, 2, 3]
    for epoch in (0, 2, 3):
        file = np.load(tmp_path / run.run_id / f"epoch{epoch:06d}.npy", allow_pickle=False)
        np.testing.assert_array_equal(there.read(run.run_id, epoch), file)
        np.testing.assert_array_equal(here.read(run.run_id, epoch), file)
    assert there.epochs("nobody") == []
    with pytest.raises(FileNotFoundError, match=r"s3://here/saved-weights/weights/nobody/epoch000000\.npy"):
        there.read("nobody", 0)


def test_a_storage_that_cannot_be_written_is_no_fault_of_the_runs(tmp_path: Path, data: DataSet) -> None:
    (tmp_path / "weights").write_text("a file where the folder should be")
    with pytest.raises(CheckpointError, match=r"Not a directory|File exists"):
        list(train(assign(make_run("Adam")), data, CPU, options(weights=SavedWeights(tmp_path / "weights"))))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", pickle.dumps([1.0]), array_bytes(np.zeros(3))],
    ids=["empty", "torn", "pickle", "few"],
)
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "epoch000001.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"torn|no weights|EOF|pickle|magic|header"):
        SavedWeights(tmp_path).read("run", 1)


def test_saved_weights_are_the_same_bits_after_a_resume(tmp_path: Path, data: DataSet) -> None:
    run = make_run("Adam", lr=0.003)
    whole, cut = SavedWeights(tmp_path / "whole"), SavedWeights(tmp_path / "cut")
    list(train(assign(run, epochs=3), data, CPU, options(weights=whole)))
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    next(train(assign(run, epochs=3), data, CPU, options(checkpoints=checkpoints, weights=cut)))
    list(train(assign(run, epochs=3), data, CPU, options(checkpoints=checkpoints, weights=cut)))
    assert cut.epochs(run.run_id) == [0, 1, 2, 3]
    for epoch in cut.epochs(run.run_id):
        np.testing.assert_array_equal(cut.read(run.run_id, epoch), whole.read(run.run_id, epoch))


def test_flattened_weights_are_read_back_unchanged() -> None:
    parameters = initial_parameters(3, torch.float32)
    back = unflattened(flattened(parameters), torch.float32)
    assert list(back) == list(SHAPES)
    assert all(torch.equal(back[name], parameters[name]) for name in SHAPES)


def test_weights_that_are_not_there_raise(tmp_path: Path) -> None:
    assert SavedWeights(tmp_path).epochs("nobody") == []
    with pytest.raises(FileNotFoundError):
        SavedWeights(tmp_path).read("nobody", 0)
