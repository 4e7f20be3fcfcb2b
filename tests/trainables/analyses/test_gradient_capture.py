"""Captured gradients are those of real training, each returned once; the noise is that of stored gradients."""

from __future__ import annotations

import weakref
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F

from results.metrics.gradients import adam_stages
from search_spaces import Run
from search_spaces.errors import SpecError, UnknownNameError
from tests.trainables.small_runs import CPU, FLOAT32, FLOAT64, make_run, options
from trainables.analyses.gradient_capture import Capture, NoiseSums, capture_gradients
from trainables.data import augmentation
from trainables.data.dataset import DataSet
from trainables.models.lenet import SHAPES, LeNet5, initial_parameters
from trainables.training.batches import Batches
from trainables.training.loop import EndTraining, train
from trainables.training.messages import Assignment
from trainables.training.pack import Pack

Rows = list[tuple[int, int, npt.NDArray[Any], npt.NDArray[Any], float]]


def capture(run: Run, data: DataSet, **asked: Any) -> tuple[Rows, dict[str, NoiseSums]]:
    rows: Rows = []
    on_progress = asked.pop("on_progress", None)
    noise = capture_gradients(
        run, data, CPU, record=lambda *row: rows.append(row), capture=Capture(**asked), on_progress=on_progress
    )
    return rows, noise


def whole_gradient(run: Run, data: DataSet, weights: dict[str, torch.Tensor], epoch: int, step: int) -> torch.Tensor:
    """Autograd on an ordinary module, all parameters flattened: an independent way to the same gradient."""
    model = LeNet5().double()
    model.load_state_dict(weights)
    batch = Batches(data, [run.seed], run.protocol, CPU).batch(epoch, step)
    assert batch.masks is not None
    logits = model(augmentation.normalise(batch.images[0], torch.float64), (batch.masks[0][0], batch.masks[1][0]))
    F.cross_entropy(logits, batch.labels[0]).backward()
    named = dict(model.named_parameters())
    return torch.cat([g.reshape(-1) for name in SHAPES if (g := named[name].grad) is not None])


def test_the_first_row_is_autograds_gradient_at_the_seeds_weights(data: DataSet) -> None:
    run = make_run("Adam", lr=0.001, protocol=FLOAT64)
    rows, _ = capture(run, data, batches=2)
    start = initial_parameters(run.seed, torch.float64)
    size = start["conv1.weight"].numel()
    np.testing.assert_allclose(rows[0][2], whole_gradient(run, data, start, 1, 0)[:size], rtol=1e-9, atol=1e-13)
    np.testing.assert_array_equal(rows[0][3], start["conv1.weight"].reshape(-1))


def test_steps_continue_after_an_epochs_end_and_one_more_row_has_the_last_weights(data: DataSet) -> None:
    """300 images in batches of 32 are 10 steps; the weights of every row are those of plain training."""
    run = make_run("SGD", lr=0.05)
    rows, _ = capture(run, data, batches=10, layer="fc3.bias", noise_batches=2)
    longer, _ = capture(run, data, batches=13, layer="fc3.bias", noise_batches=2)
    assert [row[:2] for row in longer] == [(t, 1 if t <= 10 else 2) for t in range(1, 15)]
    assert len(rows) == 11
    assert np.isnan(rows[-1][2]).all()
    assert np.isnan(rows[-1][4])
    np.testing.assert_array_equal(rows[-1][3], longer[10][3])
    for before, after in pairwise(longer):  # plain SGD: w - lr·g
        np.testing.assert_allclose(after[3], before[3] - np.float32(0.05) * before[2], rtol=1e-5, atol=1e-7)


def test_the_loss_of_a_row_is_the_mean_over_its_batch_however_small(data: DataSet) -> None:
    """The tenth batch has 12 images; the epoch's training loss is the mean over all 300."""
    run = make_run("SGD", lr=0.05)
    rows, _ = capture(run, data, batches=10)
    (report,) = train(Assignment("p", [run], 1, frozenset()), data, CPU, options())
    sizes = np.array([32] * 9 + [12])
    losses = np.array([row[4] for row in rows[:-1]])
    assert losses @ sizes / 300 == pytest.approx(report.rows[0].train_loss, rel=1e-9)


def test_every_row_is_handed_on_once_and_nothing_is_kept(data: DataSet) -> None:
    """When a row is returned, the arrays of earlier rows are freed."""
    alive: list[weakref.ref[npt.NDArray[Any]]] = []
    steps = []

    def record(step: int, epoch: int, gradient: npt.NDArray[Any], weights: npt.NDArray[Any], loss: float) -> None:
        assert not any(one() is not None for one in alive[:-2])  # the previous row may not be freed yet
        steps.append(step)
        alive.extend([weakref.ref(gradient), weakref.ref(weights)])

    capture_gradients(make_run(lr=0.01), data, CPU, record=record, capture=Capture("fc1.weight", 12, 2))
    assert steps == list(range(1, 14))


def test_a_row_is_a_copy_that_later_steps_leave_alone(data: DataSet) -> None:
    first: list[npt.NDArray[Any]] = []
    kept: Rows = []

    def record(*row: Any) -> None:
        first.append(row[2].copy())
        kept.append(row)

    capture_gradients(make_run(lr=0.1), data, CPU, record=record, capture=Capture(batches=4))
    for now, then in zip(kept, first, strict=True):
        np.testing.assert_array_equal(now[2], then)


def test_adam_recomposed_from_the_captured_gradients_moves_the_weights_as_torch_does(data: DataSet) -> None:
    run = make_run("Adam", lr=0.002, protocol=FLOAT64, betas=[0.8, 0.99], eps=1e-7)
    rows, _ = capture(run, data, batches=15)
    moved = np.diff(np.array([row[3] for row in rows]), axis=0)
    adapted = adam_stages(np.array([row[2] for row in rows[:-1]]), 0.8, 0.99, 1e-7).adapted
    np.testing.assert_allclose(-0.002 * adapted, moved, rtol=0, atol=0.002 * 1e-9)


def test_streamed_noise_is_numpys_on_gradients_taken_one_by_one(data: DataSet) -> None:
    """At the weights after 8 steps come step 9 of epoch 1, not its smaller 10th, and then epoch 2."""
    run = make_run("SGD", lr=0.05, protocol=FLOAT64)
    _, noise = capture(run, data, batches=8, noise_batches=5)
    weights: dict[str, torch.Tensor] = {}

    def look(pack: Pack, batches: Batches) -> None:
        if pack.step_in_epoch == 8:
            weights.update({name: view.detach().clone() for name, view in pack.stack.member(0).items()})
            raise EndTraining

    list(train(Assignment("p", [run], 1, frozenset()), data, CPU, options(before_step=look)))
    places = [(1, 8), (2, 0), (2, 1), (2, 2), (2, 3)]
    every = torch.stack([whole_gradient(run, data, weights, *place) for place in places]).numpy()
    for name, gradients in (("layer", every[:, :450]), ("all", every)):
        sums = noise[name]
        assert (sums.batch_size, sums.batches) == (32, 5)
        assert sums.trace_covariance == pytest.approx(np.var(gradients, axis=0, ddof=1).sum(), rel=1e-9)
        assert sums.mean_square_norm == pytest.approx((gradients.mean(axis=0) ** 2).sum(), rel=1e-9)


def test_an_unknown_layer_is_answered_with_the_layers(data: DataSet) -> None:
    with pytest.raises(UnknownNameError, match=r"conv3\.weight.*conv1\.bias, conv1\.weight.*fc3\.weight"):
        capture(make_run(lr=0.1), data, layer="conv3.weight")


@pytest.mark.parametrize("asked", [{"batches": 1}, {"batches": 5, "noise_batches": 1}])
def test_one_batch_has_no_variance(data: DataSet, asked: dict[str, int]) -> None:
    with pytest.raises(SpecError, match="the variance needs two"):
        capture(make_run(lr=0.1), data, **asked)


def test_a_batch_larger_than_the_training_split_is_refused(data: DataSet) -> None:
    with pytest.raises(SpecError, match="301, but the training split has 300"):
        capture(make_run(lr=0.1, protocol=replace(FLOAT32, batch_size=301)), data)


def test_a_run_that_diverges_says_how_many_batches_there_are_to_have(data: DataSet) -> None:
    with pytest.raises(SpecError, match=r"^batches: 40, .* after step 2; .*learning rate"):
        capture(make_run("SGD", lr=1e4), data, batches=40)
    run = make_run("SGD", lr=5.0)
    with pytest.raises(SpecError, match=r"not finite after step \d+; ask for at most (\d+) batches") as told:
        capture(run, data, batches=40)
    usable = int(str(told.value).rsplit("at most ", 1)[1].split()[0])
    rows, _ = capture(run, data, batches=usable, noise_batches=2)
    assert len(rows) == usable + 1
    with pytest.raises(SpecError):
        capture(run, data, batches=usable + 1, noise_batches=2)


def test_progress_ends_at_its_total(data: DataSet) -> None:
    told = []
    capture(make_run(lr=0.1), data, batches=3, noise_batches=2, on_progress=lambda *now: told.append(now))
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
