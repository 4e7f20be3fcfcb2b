"""The epoch loop: what it records, when it evaluates the test split, and what it reports first after a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from search_spaces import TRAINING_VERSION, Protocol, Run
from tests.trainables.small_runs import CPU, FLOAT64, make_run, options
from trainables.data import augmentation
from trainables.data.dataset import DataSet
from trainables.models.lenet import LeNet5
from trainables.training.batches import Batches
from trainables.training.checkpoints import Checkpoints
from trainables.training.loop import train
from trainables.training.messages import Assignment, Report
from trainables.training.pack import Pack

TIMES = ("epoch_seconds", "eval_seconds")


def assign(runs: list[Run], epochs: int = 3, test_epochs: frozenset[int] = frozenset()) -> Assignment:
    return Assignment("pack", runs, epochs, test_epochs)


def rows_of(reports: list[Report]) -> list[dict[str, Any]]:
    rows = {(row.run_id, row.epoch): row for report in reports for row in report.rows}
    return [{k: v for k, v in vars(rows[key]).items() if k not in TIMES} for key in sorted(rows)]


def mixed_runs() -> list[Run]:
    return [
        make_run("SGD", "CyclicLR", lr=0.05, momentum=0.9, scheduler_params={"step_size_up": 4}),
        make_run("Adam", "ReduceLROnPlateau", lr=0.003, scheduler_params={"patience": 0}, warmup=0.5),
        make_run("NAdam", "MultiStepLR", lr=0.003, scheduler_params={"milestones": [1, 2]}, seed=1),
    ]


def test_the_first_report_after_a_restart_carries_what_the_checkpoint_holds(data: DataSet, tmp_path: Path) -> None:
    """So a death between checkpoint and ledger loses nothing."""
    list(train(assign(mixed_runs(), epochs=2), data, CPU, options("first", checkpoints=Checkpoints(tmp_path))))
    reports = train(assign(mixed_runs(), epochs=3), data, CPU, options("second", checkpoints=Checkpoints(tmp_path)))
    first, second = list(reports)
    assert {row.epoch for row in first.rows} == {1, 2}
    assert {row.attempt_id for row in first.rows} == {"first"}
    assert [attempt.attempt_id for attempt in first.attempts] == ["first", "second"]
    assert (first.fresh, first.done) == (False, False)
    assert {row.epoch for row in second.rows} == {3}
    assert {row.attempt_id for row in second.rows} == {"second"}
    assert (second.fresh, second.done) == (True, True)


def test_training_reads_the_test_split_only_at_the_named_epochs(data: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    evaluate = Pack.evaluate

    def watched(self: Pack, split: Any) -> Any:
        if np.shares_memory(split.images.numpy(), data.test_images):
            seen.append(self.epoch + 1)
        return evaluate(self, split)

    monkeypatch.setattr(Pack, "evaluate", watched)
    reports = list(train(assign([make_run("SGD", lr=0.1)], 4, frozenset({2, 4})), data, CPU, options()))
    assert seen == [2, 4]
    assert [row.test_acc is not None for report in reports for row in report.rows] == [False, True, False, True]


def test_no_number_but_the_test_columns_depends_on_the_test_split(data: DataSet) -> None:
    shuffled = replace(data, test_images=data.test_images[::-1].copy())
    runs = [make_run("Adam", "ReduceLROnPlateau", scheduler_params={"patience": 0})]
    a, b = (rows_of(list(train(assign(runs, 3, frozenset({1, 2, 3})), d, CPU, options()))) for d in (data, shuffled))
    tested = ("test_loss", "test_acc")
    assert [{k: v for k, v in row.items() if k not in tested} for row in a] == [
        {k: v for k, v in row.items() if k not in tested} for row in b
    ]
    assert [row["test_loss"] for row in a] != [row["test_loss"] for row in b]


def test_validation_numbers_are_those_of_a_plain_module(data: DataSet, tmp_path: Path) -> None:
    """Loss and accuracy in evaluation mode, from the weights that training left."""
    run = make_run("Adam", protocol=FLOAT64)
    pack_state: dict[str, Any] = {}

    class Kept(Checkpoints):
        def save(self, state: Any) -> Path:
            pack_state.update(state)
            return Path()

    (report,) = train(assign([run], 1, frozenset({1})), data, CPU, options(checkpoints=Kept(tmp_path)))
    model = LeNet5().double()
    model.load_state_dict(pack_state["members"][0]["parameters"])
    (row,) = report.rows
    for split in ("val", "test"):
        images = augmentation.normalise(torch.from_numpy(getattr(data, f"{split}_images")), torch.float64)
        labels = torch.from_numpy(getattr(data, f"{split}_labels"))
        logits = model(images)
        assert getattr(row, f"{split}_loss") == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-12)
        assert getattr(row, f"{split}_acc") == pytest.approx(100 * (logits.argmax(1) == labels).double().mean().item())


def test_the_rates_of_an_epoch_are_those_that_its_batches_used(data: DataSet) -> None:
    run = make_run("SGD", "OneCycleLR", lr=0.1, momentum=0.9)
    rows = [row for report in train(assign([run]), data, CPU, options()) for row in report.rows]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=30)
    used = []
    for _ in range(30):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    for epoch, row in enumerate(rows):
        of_epoch = used[10 * epoch : 10 * epoch + 10]
        assert (row.lr_first, row.lr_last) == (of_epoch[0], of_epoch[-1])
        assert row.lr == pytest.approx(np.mean(of_epoch))


def test_a_diverged_run_ends_and_its_epoch_is_reported(data: DataSet) -> None:
    runs = [make_run("SGD", lr=1e30), make_run("SGD", lr=0.05)]
    reports = list(train(assign(runs), data, CPU, options()))
    assert reports[-1].diverged == {runs[0].run_id: 1}
    assert [row.epoch for r in reports for row in r.rows if row.run_id == runs[1].run_id] == [1, 2, 3]
    assert not [row for r in reports for row in r.rows if row.run_id == runs[0].run_id]
    assert reports[-1].done


def test_a_pack_whose_runs_all_diverged_is_done(data: DataSet) -> None:
    reports = list(train(assign([make_run("SGD", lr=1e30)], epochs=50), data, CPU, options()))
    assert len(reports) == 1
    assert reports[0].done


def test_the_last_smaller_batch_is_trained_too(data: DataSet) -> None:
    batches = Batches(data, [0], Protocol(batch_size=128), CPU)
    assert batches.steps == 3
    assert [batches.batch(1, step).labels.shape[1] for step in range(3)] == [128, 128, 44]
    seen = torch.cat([batches.batch(1, step).labels[0] for step in range(3)])
    assert sorted(seen.tolist()) == sorted(data.train_labels.tolist())


GOLDEN_TRAINING_VERSION = 1
GOLDEN_VAL_LOSS = 4.276005720339882


def test_training_semantics_have_not_changed_unnoticed(data: DataSet) -> None:
    """The only test that compares with earlier output of this code. If the numbers change for a good reason, increase
    ``TRAINING_VERSION`` and put the new number here: every run id changes with it, and old rows are not mixed with new.
    """
    run = make_run("Adam", "CosineAnnealingLR", protocol=FLOAT64, lr=0.003, warmup=1)
    reports = list(train(assign([run]), data, CPU, options()))
    assert TRAINING_VERSION == GOLDEN_TRAINING_VERSION
    assert reports[-1].rows[0].val_loss == pytest.approx(GOLDEN_VAL_LOSS, rel=1e-9)
