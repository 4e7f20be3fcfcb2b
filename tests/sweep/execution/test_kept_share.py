"""`gpus_per_trial = "auto"`: when the recorded share is valid, and when it is measured again; without a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import sweep.execution.ray.gpu_share
from results.ledger.ledger import Ledger
from search_spaces.errors import LedgerError
from sweep.config.spec import Spec
from sweep.execution.cluster_slots import ClusterSlots
from sweep.execution.executor import ProbeError, StepsToTime
from sweep.execution.ray.gpu_share import fastest_share, gpus_per_trial
from sweep.planning.plan import Pack
from sweep.planning.planner import StepTimes
from tests.builders import two_by_two_runs
from tests.sweep.sweeps import spec
from trainables.profiling.gpu_share import Footprint, probe_footprint, share_of, whole_memory

GIB = 2**30
SMALL = Footprint(8 * GIB, GIB // 2, 80 * GIB)
LARGE = Footprint(30 * GIB, GIB, 80 * GIB)
PACKS = [Pack(tuple(two_by_two_runs()[:2]))]
ONE_GPU = ClusterSlots({"node": {"CPU": 8.0, "GPU": 1.0}})
FEW: Any = SimpleNamespace(train_labels=np.zeros(2**7, dtype=np.int8))
MANY: Any = SimpleNamespace(train_labels=np.zeros(2**26, dtype=np.int8))
AUTO: Spec = spec(**{"resources.gpus_per_trial": "auto"})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.create_or_open(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def on_a_gpu(monkeypatch: pytest.MonkeyPatch, whole: int, footprint: Footprint = LARGE) -> list[Any]:
    """Simulate a GPU of ``whole`` bytes; return the list of its calls."""
    asked: list[Any] = []

    def answer(work: Any, *arguments: Any) -> Any:
        asked.append(work)
        return {whole_memory: whole, probe_footprint: footprint}[work]

    monkeypatch.setattr(sweep.execution.ray.gpu_share, "_on_a_gpu", answer)
    return asked


def keep(ledger: Ledger, runs: int, share: float = 0.3) -> None:
    ledger.keep_gpu_share({"runs": runs, "share": share, **asdict(SMALL)})


@pytest.mark.parametrize("whole", [SMALL.whole, 0])
def test_a_kept_share_holds_on_gpus_of_the_same_memory_and_on_such_as_are_only_numbers(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    keep(ledger, runs=2)
    asked = on_a_gpu(monkeypatch, whole)
    assert gpus_per_trial(AUTO, PACKS, FEW, ledger, ONE_GPU) == 0.3
    assert asked == [whole_memory]


def test_on_gpus_of_another_memory_the_share_follows_from_what_the_pack_took(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(ledger, runs=2)
    asked = on_a_gpu(monkeypatch, 40 * GIB)
    expected = share_of(Footprint(SMALL.reserved, SMALL.context, 40 * GIB), 2)
    assert gpus_per_trial(AUTO, PACKS, FEW, ledger, ONE_GPU) == expected
    assert asked == [whole_memory]
    kept = ledger.gpu_share()
    assert kept is not None
    assert (kept["share"], kept["whole"]) == (expected, 40 * GIB)


def test_a_larger_pack_than_the_probes_is_probed_for(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(ledger, runs=1)
    asked = on_a_gpu(monkeypatch, LARGE.whole)
    assert gpus_per_trial(AUTO, PACKS, FEW, ledger, ONE_GPU) == 1.0  # one pack has a whole GPU
    assert asked == [probe_footprint]
    kept = ledger.gpu_share()
    assert kept is not None
    assert kept["runs"] == 2


def test_an_unreadable_share_is_reported_with_a_hint(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.keep_gpu_share({"runs": 2, "share": 0.3, "reserved": -5})
    on_a_gpu(monkeypatch, 40 * GIB)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: .*cannot be read .*; give --gpus-per-trial$"):
        gpus_per_trial(AUTO, PACKS, FEW, ledger, ONE_GPU)


FOUR = [Pack((run,)) for run in two_by_two_runs()]


def throughput(monkeypatch: pytest.MonkeyPatch, seconds: Mapping[float, float | None]) -> list[float]:
    """Answer the probe of each share with the seconds of a step, or with a failure; return the list of the shares."""
    asked: list[float] = []

    def probe(slots: ClusterSlots, resources: Any, data: Any, steps: StepsToTime) -> StepTimes:
        asked.append(resources.gpus_per_trial)
        assert steps.most == round(1 / resources.gpus_per_trial) * len(slots.nodes)  # every GPU is full
        if (found := seconds[resources.gpus_per_trial]) is None:
            raise ProbeError("no slot was free")
        return StepTimes({(1, 1): found})

    monkeypatch.setattr(sweep.execution.ray.probes, "probe", probe)
    return asked


@pytest.mark.parametrize(
    ("seconds", "share"),
    [
        ({1.0: 1.0, 0.5: 2.0, 0.25: 4.0}, 1.0),  # they take turns
        ({1.0: 1.0, 0.5: 1.1, 0.25: 2.3}, 0.5),
        ({1.0: 1.0, 0.5: 1.1, 0.25: 1.2}, 0.25),
        ({1.0: 1.0, 0.5: 1.92, 0.25: 3.85}, 1.0),  # within the noise
        ({1.0: 1.0, 0.5: None}, 1.0),
        ({1.0: None}, 1.0),
    ],
)
def test_processes_share_a_gpu_where_they_take_more_steps_together(
    seconds: Mapping[float, float | None], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = throughput(monkeypatch, seconds)
    assert fastest_share(AUTO, FOUR, MANY, ONE_GPU, least=1 / 16) == share
    assert asked == list(seconds)


@pytest.mark.parametrize(
    ("packs", "data", "least", "asked"),
    [(FOUR, MANY, 0.5, [1.0, 0.5]), (FOUR[:3], MANY, 0.1, [1.0, 0.5]), (FOUR[:1], MANY, 0.1, []), (FOUR, FEW, 0.1, [])],
    ids=["memory for two", "three packs", "one pack", "a short sweep"],
)
def test_only_shares_that_could_be_used_are_measured(
    packs: list[Pack], data: Any, least: float, asked: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = throughput(monkeypatch, dict.fromkeys((1.0, 0.5, 0.25), 1.0))
    fastest_share(AUTO, packs, data, ONE_GPU, least)
    assert seen == asked


def test_the_share_of_the_highest_throughput_is_kept(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """And an earlier share is used on GPUs with less memory only where the pack fits."""
    on_a_gpu(monkeypatch, SMALL.whole, SMALL)
    throughput(monkeypatch, {1.0: 1.0, 0.5: 1.0, 0.25: 3.0})
    assert gpus_per_trial(AUTO, FOUR, MANY, ledger, ONE_GPU) == 0.5
    assert gpus_per_trial(AUTO, FOUR, MANY, ledger, ONE_GPU) == 0.5
    on_a_gpu(monkeypatch, 12 * GIB)
    assert gpus_per_trial(AUTO, FOUR, MANY, ledger, ONE_GPU) == 1.0
