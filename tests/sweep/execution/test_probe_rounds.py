"""A pack that does not fit into the memory is left out of a probe, and the sizes that fit are chosen from."""

from __future__ import annotations

import math

import pytest
import torch

import sweep.execution.probe_rounds
from sweep.driver.pack_size import that_fit
from sweep.execution.executor import StepsToTime
from sweep.execution.probe_rounds import time_in_rounds
from sweep.planning.planner import StepTimes
from tests.trainables.small_runs import make_run, tiny_data
from trainables.profiling.probe import StepTimer
from trainables.training.pack import Pack


def test_a_size_that_does_not_fit_is_tried_once_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep.execution.probe_rounds, "PROBE_SECONDS", 0.0)
    tried: list[int] = []

    def measure(size: int, threads: int) -> list[float]:
        tried.append(size)
        return [1.0, math.inf] if size == 4 else [1.0, 3.0]

    times = time_in_rounds(StepsToTime([], [1, 2, 4], {1: 1.0}, most=2), measure)
    assert times == StepTimes({(1, 1): 2.0, (2, 1): 2.0})
    assert tried.count(4) == 1
    assert that_fit(range(1, 5), times) == [1, 2]
    assert that_fit([6], times) == [6]  # given by the user


def test_a_step_without_enough_memory_takes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Pack.train_step

    def small_gpu(pack: Pack, batch: object) -> None:
        if len(pack.runs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        step(pack, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Pack, "train_step", small_gpu)
    timer = StepTimer(tiny_data(), [make_run()], gpu=False)
    assert timer.seconds_or_infinity(3, 1) == math.inf
    assert 0 < timer.seconds_or_infinity(2, 1) < math.inf
