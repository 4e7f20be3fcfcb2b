"""The probe measures a real step, without code of a user."""

from __future__ import annotations

import pytest

from tests.trainables.small_runs import make_run, tiny_data
from trainables.profiling.probe import RUN_STEPS, StepTimer
from trainables.training.pack import Pack


@pytest.mark.parametrize("size", [1, 3, 8])
def test_a_pack_of_any_size_takes_steps_of_the_runs_optimizers(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for packs larger than the number of runs; a pack of one takes several steps, so that they can be timed."""
    seen: list[Pack] = []
    step = Pack.train_step
    monkeypatch.setattr(Pack, "train_step", lambda pack, batch: (seen.append(pack), step(pack, batch))[1])
    timer = StepTimer(tiny_data(), [make_run("Adam"), make_run("SGD", lr=0.1)], gpu=False)
    assert timer.seconds(size, 1) > 0
    assert timer.device() == "cpu"
    assert len(seen) == max(1, -(-RUN_STEPS // size))
    assert [run.configuration.optimizer for run in seen[0].runs] == (["Adam", "SGD"] * size)[:size]
    assert seen[0].step_in_epoch == len(seen)


def test_more_steps_than_an_epoch_has_begin_it_again() -> None:
    timer = StepTimer(tiny_data(), [make_run()], gpu=False)
    assert all(timer.seconds(1, 1) > 0 for _ in range(6))


def test_an_optimizer_of_a_users_own_is_not_run() -> None:
    """It may count its steps, or end its process: this one would end the tests."""
    poison = make_run("tests.sweep.poison:Poison")
    assert StepTimer(tiny_data(), [poison], gpu=False).seconds(2, 1) > 0
