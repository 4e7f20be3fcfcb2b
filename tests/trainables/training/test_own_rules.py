"""Optimizers and schedules of a user in a pack: the weights move, and a resume gives the same bits or a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import Configuration, Run
from tests.trainables.own_rules import ObjectState, Plain
from tests.trainables.small_runs import CPU, FLOAT32, FLOAT64, make_run, options
from tests.trainables.training.test_resume import Death, MortalClock, assert_deaths_leave_no_trace, rows_of
from trainables.data.dataset import DataSet, load_data
from trainables.training.batches import Batches, Split
from trainables.training.checkpoints import Checkpoints, UnreadableStateError
from trainables.training.loop import train
from trainables.training.messages import Assignment
from trainables.training.pack import Pack, evaluate

OWN = "tests.trainables.own_rules:"
EVERY_STEP = 31.0  # seconds per reading of the clock: a checkpoint after every step
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def few() -> DataSet:
    """100 images to train on, in three batches of 32 and a last one of 4; 100 to validate on."""
    return load_data("synthetic:n_train=200,n_test=100,seed=1", val_fraction=0.5)


def weights_after(name: str, data: DataSet, steps: int = 6) -> list[bytes]:
    run = make_run(name, lr=0.05)
    batches = Batches(data, [0], FLOAT32, CPU)
    pack = Pack([run], batches.steps, CPU)
    for step in range(steps):
        pack.train_step(batches.batch(1, step % batches.steps))
    return [view.detach().numpy().tobytes() for view in pack.stack.member(0).values()]


def test_an_optimizer_that_drops_its_gradients_trains_as_one_that_keeps_them(few: DataSet) -> None:
    assert weights_after(f"{OWN}DropsGradients", few) == weights_after(f"{OWN}Plain", few)
    assert weights_after(f"{OWN}Plain", few) == weights_after("SGD", few)


def test_an_optimizer_that_replaces_its_gradients_trains(few: DataSet) -> None:
    """As SGD with weight decay, which adds the decay to a copy."""
    run = make_run("SGD", lr=0.05, weight_decay=0.01)
    batches = Batches(few, [0], FLOAT32, CPU)
    pack = Pack([run], batches.steps, CPU)
    for step in range(6):
        pack.train_step(batches.batch(1, step % batches.steps))
    theirs = torch.cat([view.flatten() for view in pack.stack.member(0).values()])
    ours = torch.cat(
        [torch.frombuffer(bytearray(one), dtype=torch.float32) for one in weights_after(f"{OWN}NewGradients", few)]
    )
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-7)


def test_new_parameter_groups_follow_the_schedule(few: DataSet) -> None:
    """The recorded rates and losses are those of the same rule with its first groups."""
    found = []
    for name in ("Plain", "ReplacesGroups"):
        halves: dict[str, Any] = {"step_size": 1, "gamma": 0.5}
        run = make_run(OWN + name, "StepLR", scheduler_params=halves, lr=0.05, steps_per_epoch=4)
        reports = train(Assignment("pack", [run], 3, frozenset()), few, CPU, options())
        found.append([(row.lr, row.train_loss) for report in reports for row in report.rows])
    assert [rate for rate, _ in found[0]] == [0.05, 0.025, 0.0125]
    assert found[0] == found[1]


def test_parameters_that_get_new_storage_later_end_the_run_with_their_name(few: DataSet) -> None:
    """At the 13th step; the first step is not the only one that is checked."""
    run = make_run(f"{OWN}MovesLate", lr=0.05)
    assignment = Assignment("pack", [run], 5, frozenset())
    reports = train(assignment, few, CPU, options())
    with pytest.raises(RuntimeError, match=r"MovesLate does not update conv1\.weight in place"):
        list(reports)


@pytest.mark.parametrize("protocol", [FLOAT32, FLOAT64], ids=lambda protocol: protocol.dtype)
def test_state_of_every_kind_that_a_checkpoint_holds_resumes_exactly(protocol: Any, few: DataSet) -> None:
    """Random draws, state under a name, NumPy numbers, and gradients that are replaced."""
    names = ("Noisy", "KeyedByName", "NumPyState", "DropsGradients", "NoneRate", "ReplacesGroups", "OtherDraws")
    runs = [make_run(OWN + name, protocol=protocol, steps_per_epoch=4) for name in names]
    assert_deaths_leave_no_trace(runs, few, [10, 9])


@pytest.mark.parametrize(
    ("scheduler", "params"),
    [
        ("LambdaLR", {"lr_lambda": f"{OWN}numpy_factor"}),
        ("LambdaLR", {"lr_lambda": f"{OWN}random_factor"}),
        ("MultiplicativeLR", {"lr_lambda": f"{OWN}tensor_factor"}),
        (f"{OWN}KeepsALambda", {"interval": "batch"}),
    ],
)
def test_a_schedule_of_a_user_resumes_exactly(scheduler: str, params: dict[str, Any], few: DataSet) -> None:
    run = make_run("SGD", scheduler, scheduler_params=params, lr=0.05, steps_per_epoch=4)
    assert_deaths_leave_no_trace([run], few, [10, 8, 12])


def test_random_draws_of_an_optimizer_depend_on_the_seed_and_not_on_other_draws(few: DataSet) -> None:
    torch.manual_seed(1)
    first = weights_after(f"{OWN}Noisy", few)
    torch.manual_seed(2)
    assert weights_after(f"{OWN}Noisy", few) == first


def test_weights_of_the_evaluation_mode_are_evaluated_and_stored(few: DataSet, tmp_path: Path) -> None:
    """The mean of the weights after each step, from a plain loop; training continues from the other weights."""
    run = make_run(f"{OWN}Averaging", lr=0.05, protocol=FLOAT64, epochs=2, steps_per_epoch=4)
    plain = make_run("SGD", lr=0.05, protocol=FLOAT64)
    batches = Batches(few, [0], FLOAT64, CPU)
    pack = Pack([plain], batches.steps, CPU)
    seen = []
    for step in range(8):
        pack.epoch, pack.step_in_epoch = divmod(step, 4)
        pack.train_step(batches.batch(step // 4 + 1, step % 4))
        seen.append({name: view.detach().clone() for name, view in pack.stack.member(0).items()})
    means = {name: torch.stack([step[name] for step in seen]).mean(0) for name in seen[0]}
    reports = list(train(Assignment("p", [run], 2, frozenset()), few, CPU, options(checkpoints=Checkpoints(tmp_path))))
    state = Checkpoints(tmp_path).newest()
    assert state is not None
    for name, mean in means.items():
        torch.testing.assert_close(state["members"][0]["parameters"][name], mean, rtol=1e-12, atol=1e-14)
    stacked = {name: mean[None] for name, mean in means.items()}
    split = Split.of(few.val_images, few.val_labels, CPU)
    assert reports[-1].rows[0].val_loss == pytest.approx(evaluate(stacked, split)[0].item(), rel=1e-9)


def test_an_optimizer_with_two_modes_resumes_exactly(few: DataSet) -> None:
    """Within the first epoch, at its end, and within the second."""
    run = make_run(f"{OWN}Averaging", lr=0.05, steps_per_epoch=4)
    assert_deaths_leave_no_trace([run], few, [10, 8, 12])


def test_a_pack_that_cannot_resume_restarts_and_repeats_its_rows(few: DataSet, tmp_path: Path) -> None:
    """It dies in epoch 2 of 4; the next attempt reports every row once, with the bits of a training without a break."""
    run = make_run(f"{OWN}Lookahead", lr=0.05, epochs=4, steps_per_epoch=4)
    assignment = Assignment("pack", [run], 4, frozenset({4}), resumes=False)
    whole = [row for report in train(assignment, few, CPU, options()) for row in report.rows]
    assert [row.epoch for row in whole] == [1, 2, 3, 4]
    clock = MortalClock(EVERY_STEP, 22)
    with pytest.raises(Death):
        list(train(assignment, few, CPU, options("1", checkpoints=Checkpoints(tmp_path), clock=clock)))
    again = list(train(assignment, few, CPU, options("2", checkpoints=Checkpoints(tmp_path))))
    assert [row.epoch for report in again for row in report.rows] == [1, 2, 3, 4]
    assert rows_of([row for report in again for row in report.rows]) == rows_of(whole)
    assert all(report.fresh for report in again)
    state = Checkpoints(tmp_path).newest()
    assert state is not None
    assert state["epoch"] == 4
    assert "optimizer" not in state["members"][0]  # weights for analyses, and no state


def test_a_checkpoint_without_state_is_not_resumed(few: DataSet, tmp_path: Path) -> None:
    """The class may have been corrected in the meantime."""
    run = make_run("SGD", lr=0.05, steps_per_epoch=4)
    assignment = Assignment("pack", [run], 2, frozenset(), resumes=False)
    list(train(assignment, few, CPU, options(checkpoints=Checkpoints(tmp_path))))
    later = replace(assignment, epochs=3, resumes=True)
    reports = list(train(later, few, CPU, options(checkpoints=Checkpoints(tmp_path))))
    assert [row.epoch for report in reports for row in report.rows] == [1, 2, 3]


def test_a_state_that_cannot_be_read_back_ends_the_run(few: DataSet, tmp_path: Path) -> None:
    """Otherwise every interruption would restart it from the first epoch."""
    run = make_run(f"{OWN}ObjectState", lr=0.05, steps_per_epoch=4)
    assignment = Assignment("pack", [run], 2, frozenset())
    assert issubclass(ObjectState, Plain)
    with pytest.raises(UnreadableStateError):
        list(train(assignment, few, CPU, options(checkpoints=Checkpoints(tmp_path))))
    assert Checkpoints(tmp_path).newest() is None


def test_a_finite_loss_beyond_the_range_of_float32_is_not_a_divergence(few: DataSet) -> None:
    """float64 holds a loss of 1e40."""
    configuration = Configuration("SGD", {**make_run("SGD", lr=1e-300).configuration.optimizer_params})
    run = Run(configuration, 0, FLOAT64, "tiny")
    batches = Batches(few, [0], FLOAT64, CPU)
    pack = Pack([run], batches.steps, CPU)
    with torch.no_grad():
        pack.stack.stacked["fc3.weight"].mul_(1e40)
    start = [{name: view.detach() for name, view in pack.stack.member(0).items()}]
    (report,) = train(Assignment("pack", [run], 1, frozenset()), few, CPU, options(start=start))
    assert report.diverged == {}
    assert report.rows[0].val_loss > 3.5e38
