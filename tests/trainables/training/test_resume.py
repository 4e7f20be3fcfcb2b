"""A pack that is killed at any step and resumes ends with the same bits: rows, weights, state."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import Protocol, Run
from tests.trainables.optim.test_schedulers import PARAMS as SCHEDULER_PARAMS
from tests.trainables.small_runs import CPU, FLOAT32, FLOAT64, make_run, options
from trainables.data.dataset import DataSet, load_data
from trainables.optim.optimizers import IMPLEMENTATION, OPTIMIZERS
from trainables.optim.schedulers import SCHEDULERS
from trainables.optim.signature import defaults_of
from trainables.training.checkpoints import Checkpoints
from trainables.training.loop import train
from trainables.training.messages import Assignment, EpochMetrics

EPOCHS, STEPS = 3, 4
EVERY_STEP = 31.0  # seconds per reading: more than the loop waits between two checkpoints
TIMES = ("epoch_seconds", "eval_seconds", "attempt_id")
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
    "Adam": [{}, {"amsgrad": True}],
    "AdamW": [{}, {"amsgrad": True}],
    "NAdam": [{}, {"decoupled_weight_decay": True, "weight_decay": 0.01}],
    "RMSprop": [{}, {"momentum": 0.9, "centered": True}],
    "ASGD": [{}, {"t0": 3.0}],
}
"""Parameters that make an optimizer keep more state, or another kind."""


class Death(Exception):
    """The process is killed here."""


class MortalClock:
    """A clock that advances by ``seconds`` at every reading, and kills the process at the last reading.

    The loop reads it before and after every step, before it saves, and before and after the evaluation.
    """

    def __init__(self, seconds: float, looks: int | None = None) -> None:
        self._now = itertools.count(0.0, seconds)
        self._left = looks

    def __call__(self) -> float:
        if self._left is not None:
            if self._left == 0:
                raise Death
            self._left -= 1
        return next(self._now)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def few() -> DataSet:
    """100 images to train on, in three batches of 32 and a last one of 4; 100 to validate on."""
    return load_data("synthetic:n_train=200,n_test=100,seed=1", val_fraction=0.5)


def run_of(
    optimizer: str, scheduler: str, protocol: Protocol = FLOAT32, *, seed: int = 0, lr: float = 0.003,
    warmup: float = 0, params: dict[str, Any] | None = None,
) -> Run:  # fmt: skip
    """A run of any registered pair; a cyclic schedule does not change the momentum if the optimizer has none."""
    schedule = dict(SCHEDULER_PARAMS.get(scheduler, {}))
    has = {**defaults_of(OPTIMIZERS[optimizer], IMPLEMENTATION), **(params or {})}
    if scheduler in ("CyclicLR", "OneCycleLR"):
        schedule["cycle_momentum"] = bool(has.get("betas") or has.get("momentum"))
    return make_run(
        optimizer, scheduler, seed=seed, epochs=EPOCHS, steps_per_epoch=STEPS, protocol=protocol,
        scheduler_params=schedule, warmup=warmup, lr=lr, **(params or {}),
    )  # fmt: skip


def bits(value: Any) -> Any:
    """``value`` in a form whose equality is equality of bits: NaN is NaN, and -0.0 is not 0.0."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes())
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [bits(item) for item in value]
    return value.hex() if isinstance(value, float) else value


def members_of(checkpoints: Checkpoints) -> list[dict[str, Any]]:
    """The content of the newest checkpoint for each member, without times."""
    state = checkpoints.newest()
    assert state is not None
    members = []
    for member in state["members"]:
        rows = [{key: value for key, value in row.items() if key not in TIMES} for row in member["rows"]]
        members.append(bits({**member, "rows": rows}))
    return members


def rows_of(rows: Sequence[EpochMetrics]) -> list[Any]:
    """Rows in the ledger's order, without times."""
    ordered = sorted(rows, key=lambda row: (row.run_id, row.epoch))
    return [bits({key: value for key, value in vars(row).items() if key not in TIMES}) for row in ordered]


def assert_deaths_leave_no_trace(
    runs: list[Run], data: DataSet, deaths: Sequence[int], seconds: float = EVERY_STEP
) -> None:
    """Train without a break, and again with a kill after so many readings, each time from the newest checkpoint.

    The last attempt alone must report every row, because reports of the killed ones may be lost.
    """
    assignment = Assignment("pack", runs, EPOCHS, frozenset({2, EPOCHS}))
    with tempfile.TemporaryDirectory() as place:
        undisturbed, killed = Checkpoints(Path(place) / "undisturbed"), Checkpoints(Path(place) / "killed")
        whole = [
            r for report in train(assignment, data, CPU, options("0", checkpoints=undisturbed)) for r in report.rows
        ]
        for attempt, looks in enumerate([*deaths, None]):
            rows: list[EpochMetrics] = []
            try:
                clock = MortalClock(seconds, looks)
                for report in train(assignment, data, CPU, options(str(attempt), checkpoints=killed, clock=clock)):
                    rows.extend(report.rows)
            except Death:
                known = rows_of(whole)
                assert all(row in known for row in rows_of(rows))
        assert rows_of(rows) == rows_of(whole)
        assert members_of(killed) == members_of(undisturbed)


def test_a_pack_that_is_killed_repeatedly_ends_with_the_same_bits(few: DataSet) -> None:
    """Each time one reading later: all parts of a step, two ends of epochs, and a member that diverges."""
    runs = [
        run_of("SGD", "CyclicLR", lr=0.05, params={"momentum": 0.9}),
        run_of("Adam", "ReduceLROnPlateau", warmup=0.5, params={"amsgrad": True}),
        run_of("NAdam", "MultiStepLR", seed=1),
        run_of("SGD", "none", lr=1e30),
    ]
    assert_deaths_leave_no_trace(runs, few, range(13))


def test_the_checkpoints_of_these_tests_are_within_an_epoch(few: DataSet, tmp_path: Path) -> None:
    """Otherwise they would not test a resume within an epoch."""
    assignment, checkpoints = Assignment("pack", [run_of("SGD", "none")], EPOCHS, frozenset()), Checkpoints(tmp_path)
    with pytest.raises(Death):
        list(train(assignment, few, CPU, options(checkpoints=checkpoints, clock=MortalClock(EVERY_STEP, 1 + 4 * 2))))
    state = checkpoints.newest()
    assert state is not None
    assert (state["epoch"], state["step_in_epoch"]) == (0, 2)


@pytest.mark.parametrize(
    "protocol", [FLOAT32, pytest.param(FLOAT64, marks=pytest.mark.slow)], ids=lambda protocol: protocol.dtype
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_resumes_within_an_epoch_with_the_same_bits(
    optimizer: str, protocol: Protocol, few: DataSet
) -> None:
    """With each of its variants. NAdam's product of momenta is float32 beside float64 weights."""
    runs = [run_of(optimizer, "none", protocol, params=params) for params in VARIANTS.get(optimizer, [{}])]
    assert_deaths_leave_no_trace(runs, few, [10, 10])


@pytest.mark.parametrize("warmup", [0, 0.5, 1])
@pytest.mark.parametrize("scheduler", ["none", *SCHEDULERS])
def test_every_scheduler_resumes_with_the_same_bits(scheduler: str, warmup: float, few: DataSet) -> None:
    """Kills within the first epoch, at its end, and within the second."""
    run = run_of("SGD", scheduler, lr=0.05, warmup=warmup, params={"momentum": 0.9})
    assert_deaths_leave_no_trace([run], few, [10, 8, 12])


@st.composite
def runs_of_a_pack(draw: st.DrawFn) -> list[Run]:
    """One to four different runs under one protocol."""
    protocol = replace(FLOAT32, augment=draw(st.booleans()), dropout=draw(st.sampled_from([0.0, 0.3])))
    runs: dict[str, Run] = {}
    for _ in range(draw(st.integers(1, 4))):
        optimizer = draw(st.sampled_from(list(OPTIMIZERS)))
        run = run_of(
            optimizer,
            draw(st.sampled_from(["none", *SCHEDULERS])),
            protocol,
            seed=draw(st.integers(0, 2)),
            lr=draw(st.sampled_from([0.003, 0.05, 1e30])),
            warmup=draw(st.sampled_from([0, 0.5, 1])),
            params=draw(st.sampled_from(VARIANTS.get(optimizer, [{}]))),
        )
        runs[run.run_id] = run
    return list(runs.values())


@pytest.mark.slow
@settings(max_examples=25 if settings.default.max_examples == 100 else settings.default.max_examples)
@given(
    runs=runs_of_a_pack(),
    deaths=st.lists(st.integers(0, (4 * STEPS + 3) * EPOCHS), min_size=1, max_size=4),
    seconds=st.sampled_from([0.1, 3.0, 8.0, EVERY_STEP]),
)
def test_any_pack_that_is_killed_at_any_step_ends_with_the_same_bits(
    few: DataSet, runs: list[Run], deaths: list[int], seconds: float
) -> None:
    """Any optimizer, scheduler, warm-up and pack, and checkpoints after every step or only after epochs."""
    assert_deaths_leave_no_trace(runs, few, deaths, seconds)
