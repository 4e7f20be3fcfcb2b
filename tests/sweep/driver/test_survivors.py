"""Runs of several packs that are packed again from their checkpoints have the bits of an uninterrupted pack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from search_spaces import Run
from sweep.driver.survivors import joined
from tests.trainables.small_runs import CPU, make_run, options, tiny_data
from trainables.training.checkpoints import Checkpoints
from trainables.training.loop import train
from trainables.training.messages import Assignment

pytestmark = pytest.mark.usefixtures("one_thread")
ADAM, SGD = make_run("Adam", "CosineAnnealingLR", lr=0.003), make_run(lr=0.05, momentum=0.9)
RMS, PLAIN = make_run("RMSprop", lr=0.001), make_run(lr=0.1)


def trained(runs: Sequence[Run], epochs: int, place: Path) -> dict[str, Any]:
    checkpoints = Checkpoints(place)
    assignment = Assignment("pack", runs, epochs, frozenset())
    list(train(assignment, tiny_data(), CPU, options(checkpoints=checkpoints)))
    state = checkpoints.newest()
    assert state is not None
    return state


def measured(state: dict[str, Any]) -> list[list[dict[str, Any]]]:
    kept = ("epoch", "train_loss", "train_acc", "val_loss", "val_acc", "lr_last")
    return [[{key: row[key] for key in kept} for row in member["rows"]] for member in state["members"]]


def test_survivors_of_two_packs_continue_with_the_bits_of_a_pack_of_their_own(tmp_path: Path) -> None:
    first, second = trained([ADAM, PLAIN], 1, tmp_path / "a"), trained([RMS, SGD], 1, tmp_path / "b")
    ids = [ADAM.run_id, SGD.run_id]
    state = joined(ids, [first, second])
    assert state is not None
    Checkpoints(tmp_path / "c").save(state)
    found = trained([ADAM, SGD], 3, tmp_path / "c")
    expected = trained([ADAM, SGD], 3, tmp_path / "d")
    assert measured(found) == measured(expected)
    assert [len(rows) for rows in measured(found)] == [3, 3]
    for one, other in zip(found["members"], expected["members"], strict=True):
        assert all((one["parameters"][key] == value).all() for key, value in other["parameters"].items())


def test_states_that_do_not_fit_are_not_joined(tmp_path: Path) -> None:
    first, second = trained([ADAM], 1, tmp_path / "a"), trained([SGD], 2, tmp_path / "b")
    ids = [ADAM.run_id, SGD.run_id]
    assert joined(ids, [first, second]) is None  # after different epochs
    assert joined(ids, [first, None]) is None
    assert joined(ids, [first, first]) is None  # the second run is not in it
    assert joined(ids[:1], [{**first, "step_in_epoch": 3}]) is None
    assert joined(ids[:1], [{**first, "resumes": False}]) is None
