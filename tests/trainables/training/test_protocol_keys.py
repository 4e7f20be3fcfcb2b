"""Clipping, label smoothing, averaged weights, decay of matrices and batch sizes: each equals plain PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from search_spaces import Protocol, Run
from search_spaces.errors import SpecError
from tests.trainables.small_runs import CPU, FLOAT64, make_run, options
from tests.trainables.training.test_resume import assert_deaths_leave_no_trace
from trainables.data import augmentation
from trainables.data.dataset import DataSet, load_data
from trainables.models.lenet import LeNet5, initial_parameters
from trainables.training.batches import Batches
from trainables.training.cuda_graphs import NoGraphs
from trainables.training.loop import train
from trainables.training.messages import Assignment
from trainables.training.pack import Pack

pytestmark = pytest.mark.usefixtures("one_thread")
EPOCHS = 2
KEYS: dict[str, dict[str, Any]] = {
    "grad_clip_norm": {"grad_clip_norm": 0.3},
    "label_smoothing": {"label_smoothing": 0.1},
    "ema_decay": {"ema_decay": 0.8},
    "weight_decay_on": {"weight_decay_on": "matrices"},
    "all": {"grad_clip_norm": 0.5, "label_smoothing": 0.2, "ema_decay": 0.7, "weight_decay_on": "matrices"},
}


@pytest.fixture(scope="module")
def few() -> DataSet:
    """100 images to train on, in three batches of 32 and a last one of 4; 100 to validate on."""
    return load_data("synthetic:n_train=200,n_test=100,seed=1", val_fraction=0.5)


def runs_of(protocol: Protocol) -> list[Run]:
    """Members of one pack with other optimizers, rates and seeds; Adam decays its weights, SGD's decay is large."""
    common: dict[str, Any] = {"protocol": protocol, "steps_per_epoch": 4}
    return [
        make_run("SGD", lr=0.1, momentum=0.9, weight_decay=0.1, **common),
        make_run("AdamW", lr=0.01, weight_decay=0.3, seed=1, **common),
        make_run("SGD", lr=0.01, **common),
    ]


def plain_training(run: Run, data: DataSet, epochs: int = EPOCHS) -> Iterator[tuple[float, float, list[torch.Tensor]]]:
    """Yield training loss, validation loss and trained weights after each epoch of one ordinary model."""
    protocol = run.conditions
    batches = Batches(data, [run.seed], protocol, CPU)
    model = LeNet5(data.classes).double()
    model.load_state_dict(initial_parameters(run.seed, torch.float64, data.classes))
    parameters = list(model.parameters())
    groups: Any = parameters
    if protocol.weight_decay_on == "matrices":
        vectors = [parameter for parameter in parameters if parameter.dim() < 2]
        groups = [{"params": [p for p in parameters if p.dim() >= 2]}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = getattr(torch.optim, run.configuration.optimizer)(groups, **run.configuration.optimizer_params)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(protocol.ema_decay or 0.5))
    images = torch.from_numpy(data.val_images)
    for epoch in range(epochs):
        total = 0.0
        for step in range(batches.steps):
            batch = batches.batch(epoch + 1, step)
            assert batch.masks is not None
            logits = model(
                augmentation.normalise(batch.images[0], torch.float64), (batch.masks[0][0], batch.masks[1][0])
            )
            loss = F.cross_entropy(logits, batch.labels[0], label_smoothing=protocol.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            if protocol.grad_clip_norm:
                torch.nn.utils.clip_grad_norm_(parameters, protocol.grad_clip_norm)
            optimizer.step()
            average.update_parameters(model)
            total += loss.item() * len(logits)
        with torch.no_grad():
            evaluated = average.module if protocol.ema_decay else model
            logits = evaluated(augmentation.normalise(images, torch.float64))
            val_loss = F.cross_entropy(logits, torch.from_numpy(data.val_labels)).item()
        yield total / batches.examples, val_loss, [parameter.detach().clone() for parameter in parameters]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_trains_every_member_of_a_pack_as_plain_pytorch(key: str, few: DataSet) -> None:
    runs = runs_of(replace(FLOAT64, **KEYS[key]))
    reports = list(train(Assignment("p", runs, EPOCHS, frozenset()), few, CPU, options()))
    for run in runs:
        ours = [row for report in reports for row in report.rows if row.run_id == run.run_id]
        theirs = list(plain_training(run, few))
        assert [row.train_loss for row in ours] == pytest.approx([loss for loss, _, _ in theirs], rel=1e-12)
        assert [row.val_loss for row in ours] == pytest.approx([loss for _, loss, _ in theirs], rel=1e-12)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_changes_the_numbers(key: str, few: DataSet) -> None:
    """Otherwise the comparison with plain PyTorch would prove nothing."""
    changed, plain = (list(plain_training(runs_of(replace(FLOAT64, **given))[0], few))[-1] for given in (KEYS[key], {}))
    assert changed[1] != pytest.approx(plain[1], rel=1e-6)


@pytest.mark.parametrize("key", ["ema_decay", "weight_decay_on", "all"])
def test_a_resume_gives_the_same_bits(key: str, few: DataSet) -> None:
    """Within the first epoch, at its end, and within the second."""
    protocol = Protocol(batch_size=32, **KEYS[key])
    assert_deaths_leave_no_trace(runs_of(protocol), few, [10, 8, 12])


@pytest.mark.parametrize("key", ["grad_clip_norm", "ema_decay", "all"])
def test_a_captured_step_trains_as_the_eager_one(key: str, few: DataSet) -> None:
    """Without the weight decay of Adam, whose multi-tensor kernels refuse a CPU."""
    runs = [
        make_run(
            "SGD", lr=lr, momentum=0.9, weight_decay=0.1, steps_per_epoch=4, protocol=replace(FLOAT64, **KEYS[key])
        )
        for lr in (0.1, 0.01)
    ]
    losses = []
    for graphs in (None, NoGraphs()):
        assignment = Assignment("p", runs, EPOCHS, frozenset())
        reports = list(train(assignment, few, CPU, options(graphs=graphs)))
        losses.append([row.val_loss for report in reports for row in report.rows])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)  # the rates of the device are in float32


def test_members_of_a_pack_with_another_batch_size_see_its_batches(few: DataSet) -> None:
    """Both members have 16 images in a batch; the protocol has 32."""
    runs = [
        replace(run, configuration=replace(run.configuration, batch_size=16)) for run in runs_of(FLOAT64)[::2]
    ]  # fmt: skip
    reports = list(train(Assignment("p", runs, 1, frozenset()), few, CPU, options()))
    for run in runs:
        ours = [row for report in reports for row in report.rows if row.run_id == run.run_id]
        ((train_loss, val_loss, _),) = plain_training(run, few, 1)
        assert (ours[0].train_loss, ours[0].val_loss) == pytest.approx((train_loss, val_loss), rel=1e-12)


def test_a_pack_on_a_cpu_refuses_tf32() -> None:
    """Every training makes a pack, so no row has a precision that its device has not."""
    with pytest.raises(SpecError, match=r"^protocol\.precision: 'tf32', but cpu has no TF32"):
        Pack([make_run("SGD", lr=0.1, protocol=Protocol(precision="tf32"))], 4, CPU)


def test_a_gradient_below_the_largest_norm_keeps_its_bits() -> None:
    runs = [make_run("SGD", lr=0.1, protocol=FLOAT64)]
    pack = Pack(runs, 4, CPU)
    gradients = [view.grad for view in pack.stack.member(0).values() if view.grad is not None]
    for gradient in gradients:
        gradient.fill_(1e-3)
    before = [gradient.clone() for gradient in gradients]
    pack.stack.clip_gradients(1e3)
    assert all(torch.equal(*pair) for pair in zip(gradients, before, strict=True))
