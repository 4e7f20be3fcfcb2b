"""A pack trains each of its runs as an ordinary loop would train it alone."""

from __future__ import annotations

import math

import pytest
import torch

from search_spaces import Protocol, Run
from tests.trainables.small_runs import CPU, FLOAT32, FLOAT64, make_run, plain_losses
from trainables.data.dataset import DataSet
from trainables.optim.optimizers import OPTIMIZERS
from trainables.training.batches import Batches
from trainables.training.pack import Pack

RULES = {
    "SGD": ("SGD", {"lr": 0.05}),
    "momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}),
    "Nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "Adam": ("Adam", {"lr": 0.003}),
    "AdamW": ("AdamW", {"lr": 0.003}),
    "RMSprop": ("RMSprop", {"lr": 0.001}),
}


def pack_losses(runs: list[Run], data: DataSet, steps: int) -> list[list[float]]:
    """The loss of every step, one list a run."""
    batches = Batches(data, [run.seed for run in runs], runs[0].protocol, CPU)
    pack = Pack(runs, batches.steps, CPU)
    losses = []
    for index in range(steps):
        epoch, step = divmod(index, batches.steps)
        batch = batches.batch(epoch + 1, step)
        pack.loss_sum.zero_()
        pack.train_step(batch)
        losses.append((pack.loss_sum / batch.labels.shape[1]).tolist())
    return [list(column) for column in zip(*losses, strict=True)]


@pytest.mark.parametrize("rule", RULES)
def test_a_pack_of_one_equals_a_plain_module_loop(rule: str, data: DataSet) -> None:
    name, params = RULES[rule]
    run = make_run(name, protocol=FLOAT64, seed=3, **params)
    assert pack_losses([run], data, 20)[0] == pytest.approx(plain_losses(run, data, 20), rel=1e-9)


@pytest.mark.parametrize(
    "seeds",
    [pytest.param((1, 1, 1, 1), id="one seed"), pytest.param((1, 2, 1, 3), id="three seeds", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    "rule", [pytest.param(rule, marks=() if rule in ("Nesterov", "Adam") else pytest.mark.slow) for rule in RULES]
)
def test_a_member_of_a_pack_of_four_equals_its_own_pack_of_one(
    rule: str, seeds: tuple[int, ...], data: DataSet
) -> None:
    name, params = RULES[rule]
    others = [
        make_run("SGD", lr=0.1, seed=seeds[0]),
        make_run("Adam", seed=seeds[1]),
        make_run("RMSprop", seed=seeds[3]),
    ]
    run = make_run(name, protocol=FLOAT64, seed=seeds[2], **params)
    four = [Run(r.configuration, r.seed, FLOAT64, r.data_fingerprint) for r in others]
    four.insert(2, run)
    assert pack_losses(four, data, 20)[2] == pytest.approx(pack_losses([run], data, 20)[0], rel=1e-9)


def test_the_same_pack_gives_the_same_bits_twice(data: DataSet) -> None:
    runs = [make_run(name, **params) for name, params in RULES.values()]
    assert pack_losses(runs, data, 20) == pack_losses(runs, data, 20)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_registered_optimizer_trains_in_a_pack_as_it_does_alone(name: str, data: DataSet) -> None:
    run = make_run(name, protocol=FLOAT64, **({"lr": 0.01} if name != "Rprop" else {"lr": 0.001}))
    packed = pack_losses([make_run("SGD", protocol=FLOAT64, lr=0.01), run], data, 12)[1]
    assert packed == pytest.approx(plain_losses(run, data, 12), rel=1e-9)
    assert packed[0] != packed[-1]


def test_seeds_decide_batches_and_configurations_do_not(data: DataSet) -> None:
    """Common random numbers: two configurations under one seed see the same bytes, two seeds do not."""
    one = Batches(data, [5], FLOAT32, CPU).batch(2, 1)
    same = Batches(data, [5, 5], FLOAT32, CPU).batch(2, 1)
    pair = Batches(data, [6, 5], FLOAT32, CPU).batch(2, 1)
    assert one.masks is not None
    assert same.masks is not None
    assert pair.masks is not None
    assert torch.equal(one.images, same.images)
    assert torch.equal(one.masks[0], same.masks[0])
    assert torch.equal(pair.images[1], one.images[0])
    assert torch.equal(pair.labels[1], one.labels[0])
    assert torch.equal(pair.masks[1][1], one.masks[1][0])
    assert not torch.equal(pair.images[0], one.images[0])


def test_dropout_masks_keep_the_asked_share_and_the_mean(data: DataSet) -> None:
    batch = Batches(data, [0], Protocol(batch_size=256), CPU).batch(1, 0)
    assert batch.masks is not None
    kept = torch.cat([m.flatten() for m in batch.masks])
    assert sorted(set(kept.tolist())) == pytest.approx([0, 1 / 0.7])
    assert (kept > 0).double().mean().item() == pytest.approx(0.7, abs=4 * math.sqrt(0.21 / len(kept)))


def test_a_diverging_run_is_frozen_and_the_others_continue_unchanged(data: DataSet) -> None:
    """The bits of the rest of the pack do not change when one of its runs diverges."""
    calm, wild = make_run("SGD", lr=0.05), make_run("SGD", lr=1e30)
    tame = make_run("SGD", lr=0.01)
    batches = Batches(data, [0], FLOAT32, CPU)
    packs = [Pack([calm, other], batches.steps, CPU) for other in (wild, tame)]
    for step in range(10):
        for pack in packs:
            pack.train_step(batches.batch(1, step))
    assert packs[0].members[1].diverged_epoch == 1
    assert packs[1].members[1].diverged_epoch is None
    for a, b in zip(packs[0].stack.member(0).values(), packs[1].stack.member(0).values(), strict=True):
        assert torch.equal(a, b)
    assert torch.isfinite(packs[0].loss_sum[0])


def test_an_optimizer_that_moves_its_parameters_is_named(data: DataSet) -> None:
    run = make_run("tests.trainables.moving_optimizer:Moving", lr=0.1)
    batches = Batches(data, [0], FLOAT32, CPU)
    pack = Pack([run], batches.steps, CPU)
    with pytest.raises(RuntimeError, match=r"Moving does not update conv1\.weight in place"):
        pack.train_step(batches.batch(1, 0))
