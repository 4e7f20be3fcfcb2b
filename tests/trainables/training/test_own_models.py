"""Models other than LeNet-5 train as in a plain PyTorch loop, in a pack and alone, and resume with the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from search_spaces import Protocol, Run
from search_spaces.errors import SpecError, UserError
from tests.trainables import own_models
from tests.trainables.small_runs import CPU, FLOAT64, make_run, options, tiny_data
from trainables.data import augmentation
from trainables.data.dataset import DataSet
from trainables.models.interface import Draws
from trainables.models.lenet5_wide import WideLeNet5
from trainables.models.registry import module_stack
from trainables.models.resnet8_nonorm import ResNet8NoNorm
from trainables.optim.optimizers import build_optimizer
from trainables.runtime.seeding import seeded_globals
from trainables.training.batches import Batch, Batches, Split
from trainables.training.checkpoints import Checkpoints
from trainables.training.loop import train
from trainables.training.messages import Assignment, EpochMetrics
from trainables.training.model_trial import try_model
from trainables.training.pack import Pack

OWN = "tests.trainables.own_models"
SMALL, NORMED = f"{OWN}:Small", f"{OWN}:Normed"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data() -> DataSet:
    return tiny_data()


def runs_of(model: str, protocol: Protocol = FLOAT64) -> list[Run]:
    """Three runs of one seed with different optimizers."""
    shared = replace(protocol, model=model)
    return [
        make_run("SGD", protocol=shared, lr=0.05, momentum=0.9),
        make_run("Adam", protocol=shared, lr=0.002),
        make_run("RMSprop", protocol=shared, lr=0.001),
    ]


def plain_training(run: Run, module_class: type[nn.Module], data: DataSet, steps: int) -> tuple[list[float], float]:
    """Train a module in a loop of PyTorch alone; return the loss of every step, and the validation loss at the end."""
    batches = Batches(data, [run.seed], run.protocol, CPU)
    with seeded_globals(CPU, run.seed, "weights"):
        dropout = {"dropout": run.protocol.dropout} if module_class in (WideLeNet5, ResNet8NoNorm) else {}
        model = module_class(data.classes, **dropout).double()
    optimizer = build_optimizer(
        run.configuration.optimizer, run.configuration.optimizer_params, model.parameters(), "test"
    )
    losses = []
    for index in range(steps):
        epoch, step = divmod(index, batches.steps)
        batch = batches.batch(epoch + 1, step)
        with seeded_globals(CPU, run.seed, "forward pass", epoch + 1, step):
            logits = model.train()(augmentation.normalise(batch.images[0], torch.float64))
        loss = F.cross_entropy(logits, batch.labels[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    val = Split.of(data.val_images, data.val_labels, CPU)
    with torch.no_grad():
        logits = model.eval()(augmentation.normalise(val.images, torch.float64))
    return losses, F.cross_entropy(logits, val.labels).item()


@pytest.mark.parametrize(
    ("name", "module_class", "steps"),
    [(SMALL, own_models.Small, 14), ("lenet5_wide", WideLeNet5, 3), ("resnet8_nonorm", ResNet8NoNorm, 3)],
)
def test_each_run_of_a_pack_of_three_is_a_plain_loop(
    data: DataSet, name: str, module_class: type[nn.Module], steps: int
) -> None:
    runs = runs_of(name, Protocol(batch_size=32 if name == SMALL else 6, dtype="float64"))
    few = replace(data, val_images=data.val_images[:20], val_labels=data.val_labels[:20])
    batches = Batches(data, [0, 0, 0], runs[0].protocol, CPU)
    pack = Pack(runs, batches.steps, CPU, classes=data.classes)
    losses = []
    for index in range(steps):
        epoch, step = divmod(index, batches.steps)
        pack.epoch, pack.step_in_epoch = epoch, step
        pack.train_step(batches.batch(epoch + 1, step))
        losses.append(pack.step_losses.tolist())
    final, _ = pack.evaluate(Split.of(few.val_images, few.val_labels, CPU))
    for k, run in enumerate(runs):
        expected, val_loss = plain_training(run, module_class, few, steps)
        assert [row[k] for row in losses] == pytest.approx(expected, rel=1e-9)
        assert final[k].item() == pytest.approx(val_loss, rel=1e-9)


def test_batch_statistics_are_those_of_a_plain_loop(data: DataSet) -> None:
    run = runs_of(NORMED)[0]
    rows = [row for report in train(assign([run], 2), data, CPU, options()) for row in report.rows]
    losses, val_loss = plain_training(run, own_models.Normed, data, 20)
    sizes = [32] * 9 + [300 - 9 * 32]
    mean = sum(loss * size for loss, size in zip(losses[10:], sizes, strict=True)) / 300
    assert rows[-1].train_loss == pytest.approx(mean, rel=1e-9)
    assert rows[-1].val_loss == pytest.approx(val_loss, rel=1e-9)


def assign(runs: list[Run], epochs: int) -> Assignment:
    return Assignment("pack", runs, epochs, test_epochs=frozenset({epochs}))


def without_times(rows: list[EpochMetrics]) -> list[EpochMetrics]:
    return [replace(row, epoch_seconds=0, eval_seconds=0) for row in rows]


@pytest.mark.parametrize(("name", "count"), [(SMALL, 3), (NORMED, 1)])
def test_a_pack_with_dropout_resumes_with_the_same_bits_within_an_epoch(
    data: DataSet, tmp_path: Path, name: str, count: int
) -> None:
    runs = runs_of(name, Protocol(batch_size=32))[:count]
    whole = [row for report in train(assign(runs, 2), data, CPU, options()) for row in report.rows]
    steps = iter([False] * 13 + [True])
    cut = options(checkpoints=Checkpoints(tmp_path), asked_to_stop=lambda: next(steps))
    assert list(train(assign(runs, 2), data, CPU, cut))[-1].stopped
    rest = list(train(assign(runs, 2), data, CPU, options(checkpoints=Checkpoints(tmp_path))))
    rows = [row for report in rest for row in report.rows]
    key = lambda row: (row.run_id, row.epoch)  # noqa: E731
    assert sorted(without_times(rows), key=key) == sorted(without_times(whole), key=key)


def test_the_bits_of_a_run_do_not_depend_on_its_pack_on_a_cpu(data: DataSet) -> None:
    runs = runs_of(SMALL, Protocol(batch_size=32))
    batches = Batches(data, [0, 0, 0], runs[0].protocol, CPU)
    packs = [Pack(members, batches.steps, CPU, classes=data.classes) for members in (runs, runs[1:2])]
    for step in range(8):
        for pack in packs:
            pack.train_step(batches.batch(1, step))
    together, alone = packs[0].stack.member(1), packs[1].stack.member(0)
    assert all(torch.equal(together[name], alone[name]) for name in alone)


def test_a_vectorised_pass_draws_what_a_single_one_draws() -> None:
    """``vmap`` with dropout: logits and gradients are those of the models one by one, in float64."""
    model = module_stack(replace(FLOAT64, model="lenet5_wide"), 10, seed=0)
    start, draws = model.initial_state(0, torch.float64), Draws(0, 1, 5)
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits, gradients = [], []
    for way in (model.vectorised_logits, lambda p, b, i, d: model.train_logits(p, b, i, None, d)):
        leaves = {key: torch.stack([value, 1.1 * value]).requires_grad_() for key, value in start.parameters.items()}
        logits.append(way(leaves, {}, images, draws))
        logits[-1].square().sum().backward()
        gradients.append(torch.cat([leaf.grad.flatten() for leaf in leaves.values() if leaf.grad is not None]))
    torch.testing.assert_close(*logits, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_initial_weights_come_from_the_seed_alone(data: DataSet) -> None:
    run = runs_of(SMALL)[0]
    torch.manual_seed(1)
    one = Pack([run], 1, CPU, classes=data.classes).stack.stacked["fc.weight"]
    torch.manual_seed(2)
    same, other = (
        Pack([replace(run, seed=seed)], 1, CPU, classes=data.classes).stack.stacked["fc.weight"] for seed in (0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_model_is_part_of_an_id_unless_it_is_the_default() -> None:
    run = make_run("SGD", lr=0.1)
    assert "model" not in run.protocol.to_dict()
    assert replace(run, protocol=replace(run.protocol, model="lenet5")).run_id == run.run_id
    other = replace(run, protocol=replace(run.protocol, model=SMALL))
    assert other.run_id != run.run_id
    assert Run.from_dict(other.to_dict()) == other


def test_a_trial_counts_parameters_and_multiplications() -> None:
    from trainables.models.lenet import LeNet5
    from trainables.training.model_trial import LENET5_PRODUCTS

    found = try_model(Protocol(model="lenet5_wide"), 100, [], "model")
    wide = WideLeNet5(100)
    convolutions = wide.conv1.weight.numel() * 28**2 + wide.conv2.weight.numel() * 10**2
    products = convolutions + sum(layer.weight.numel() for layer in (wide.fc1, wide.fc2, wide.fc3))
    lenet = LeNet5()
    by_hand = lenet.conv1.weight.numel() * 28**2 + lenet.conv2.weight.numel() * 10**2
    by_hand += sum(layer.weight.numel() for layer in (lenet.fc1, lenet.fc2, lenet.fc3))
    assert by_hand == LENET5_PRODUCTS
    assert found.cost == pytest.approx(products / LENET5_PRODUCTS)
    assert found.parameters == sum(p.numel() for p in wide.parameters()) == 260_172
    assert found.alone == found.cannot_resume == ""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_trial_finds_what_can_share_a_pack(dtype: str) -> None:
    assert try_model(Protocol(model=SMALL, dtype=dtype), 20, [], "model").alone == ""
    assert "norm.running_mean" in try_model(Protocol(model=NORMED, dtype=dtype), 20, [], "model").alone
    assert "vmap" in try_model(Protocol(model=f"{OWN}:Branching", dtype=dtype), 20, [], "model").alone


def test_a_trial_finds_state_that_a_checkpoint_does_not_hold() -> None:
    assert "after a checkpoint" in try_model(Protocol(model=f"{OWN}:Counting"), 20, [], "model").cannot_resume
    for name in (SMALL, NORMED, "resnet8_nonorm"):
        assert try_model(Protocol(model=name), 20, [], "model").cannot_resume == ""


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ten_outputs", r"\[6, 10\].*\[6, 20\]"), ("frozen", "conv.weight.*requires_grad"), ("unused", "extra.weight"),
        ("not_finite", "NaN.*first forward pass"), ("no_module", "returns 20.*torch.nn.Module"),
        ("a_class", "Small.*torch.nn.Module"), ("needs_more", "argument depth.*classes"),
        ("raises", "RuntimeError: no weights to be found"), ("leaves", "SystemExit: 0"), ("Pair", "tuple.*one tensor"),
        ("unseeded", "second call.*global generator"), ("lazy", "1.weight.*number of inputs"),
        ("without_parameters", "no parameters"), ("Falls", "ValueError: wrong shape"), ("PLAIN_VALUE", "is 3.*cannot"),
        ("nothing", "nothing.*valid.*Small"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_trained_is_refused_in_one_line(name: str, found: str) -> None:
    with pytest.raises(UserError, match=found) as error:
        try_model(Protocol(model=f"{OWN}:{name}"), 20, [], "mine.toml: model")
    line = str(error.value)
    assert line.startswith("mine.toml: model: ")
    assert name in line
    assert "\n" not in line


def test_an_unknown_name_lists_the_models() -> None:
    with pytest.raises(UserError, match=r"resnet.*valid: lenet5, lenet5_wide, module:factory, resnet8_nonorm"):
        try_model(Protocol(model="resnet"), 20, [], "model")


def test_a_package_that_is_not_listed_is_not_imported() -> None:
    with pytest.raises(SpecError, match=r"torchvision is not listed.*packages"):
        try_model(Protocol(model="torchvision.models:resnet18"), 20, [], "model")


@pytest.mark.parametrize("name", [SMALL, NORMED])
def test_clipping_an_average_and_a_closure_work_with_other_models(data: DataSet, tmp_path: Path, name: str) -> None:
    """The same numbers as torch's own in a plain loop, and the same bits after a resume within the first epoch."""
    protocol = replace(FLOAT64, model=name, grad_clip_norm=0.5, ema_decay=0.8, label_smoothing=0.1)
    run = make_run("LBFGS", protocol=protocol, lr=0.1, max_iter=2)
    few = replace(data, train_images=data.train_images[:96], train_labels=data.train_labels[:96])
    whole = [row for report in train(assign([run], 2), few, CPU, options()) for row in report.rows]
    steps = iter([False] * 1 + [True])
    cut = options(checkpoints=Checkpoints(tmp_path), asked_to_stop=lambda: next(steps))
    assert list(train(assign([run], 2), few, CPU, cut))[-1].stopped
    rest = [row for report in train(assign([run], 2), few, CPU, options(checkpoints=Checkpoints(tmp_path)))
            for row in report.rows]  # fmt: skip
    assert without_times(rest) == without_times(whole)

    batches = Batches(few, [0], protocol, CPU)
    with seeded_globals(CPU, 0, "weights"):
        model = (own_models.Small if name == SMALL else own_models.Normed)(data.classes).double()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.8))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=2)
    for step in range(batches.steps):
        batch = batches.batch(1, step)

        def closure(batch: Batch = batch, step: int = step) -> Tensor:
            optimizer.zero_grad()
            with seeded_globals(CPU, 0, "forward pass", 1, step):
                logits = model.train()(augmentation.normalise(batch.images[0], torch.float64))
            loss = F.cross_entropy(logits, batch.labels[0], label_smoothing=0.1)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            return loss

        optimizer.step(closure)
        average.update_parameters(model)
    images = augmentation.normalise(Split.of(few.val_images, few.val_labels, CPU).images, torch.float64)
    for mine, averaged in zip(model.parameters(), average.module.parameters(), strict=True):
        mine.data.copy_(averaged)
    expected = F.cross_entropy(model.eval()(images), torch.from_numpy(few.val_labels)).item()
    assert whole[0].val_loss == pytest.approx(expected, rel=1e-9)
