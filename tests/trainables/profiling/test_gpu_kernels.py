"""The fastest candidate is chosen; within the noise it is the one that is used without a measurement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import torch

from search_spaces import Protocol
from search_spaces.errors import SpecError
from tests.trainables.small_runs import make_run, tiny_data
from trainables.models.lenet import CONVOLUTIONS
from trainables.profiling.gpu_kernels import ROUNDS, fastest, measured_kernels
from trainables.profiling.probe import StepTimer
from trainables.training.cuda_graphs import WARM_UPS


@pytest.mark.parametrize(
    ("times", "best"),
    [
        ({"usual": 2.0, "other": 1.0}, "other"),
        ({"usual": 1.0, "other": 2.0}, "usual"),
        ({"usual": 1.04, "other": 1.0}, "usual"),
        ({"usual": 1.06, "other": 1.0}, "other"),
    ],
)
def test_the_fastest_is_chosen_beyond_the_noise(times: Mapping[str, float], best: str) -> None:
    assert fastest(times, "usual", lambda name: times[name]) == best


def test_warm_up_and_outliers_do_not_choose() -> None:
    """The first steps of a candidate run eagerly, or are captured; one slow step is no median."""
    slow, good = [9.0] * (WARM_UPS + 1), [1.0] * (ROUNDS - 1)
    times: dict[str, Iterator[float]] = {"usual": iter([2.0] * 99), "other": iter([*slow, 50.0, *good])}
    assert fastest(times, "usual", lambda name: next(times[name])) == "other"


def test_a_candidate_without_enough_memory_is_left_out() -> None:
    def seconds(name: str, refused: tuple[str, ...]) -> float:
        if name in refused:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return {"usual": 1.0, "other": 5.0}[name]

    assert fastest(["usual", "other"], "usual", lambda name: seconds(name, ("usual",))) == "other"
    assert fastest(["usual", "other"], "usual", lambda name: seconds(name, ("usual", "other"))) is None


@pytest.mark.parametrize("kernels", CONVOLUTIONS)
def test_a_step_is_timed_with_the_kernels_that_are_asked_for(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is not that of the device."""
    used: list[str] = []
    for name, one in CONVOLUTIONS.items():
        convolve = type(one).convolve
        monkeypatch.setattr(
            type(one), "convolve",
            lambda *given, name=name, convolve=convolve: (used.append(name), convolve(*given))[1],
        )  # fmt: skip
    assert StepTimer(tiny_data(), [make_run()], False, kernels).seconds(4, 1) > 0
    assert set(used) == {kernels}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_nothing_is_measured_and_tf32_is_refused() -> None:
    assert measured_kernels([make_run()], [1], tiny_data()) == {}
    with pytest.raises(SpecError, match=r"^protocol\.precision: 'tf32', but cpu has no TF32"):
        measured_kernels([make_run(protocol=Protocol(precision="tf32"))], [], tiny_data())
