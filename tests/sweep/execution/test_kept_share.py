"""`gpus_per_trial = "auto"`: when the recorded share is valid, and when it is measured again; without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import sweep.execution.ray.gpu_share
from results.ledger.ledger import Ledger
from search_spaces.errors import LedgerError
from sweep.config.spec import Spec
from sweep.execution.ray.gpu_share import gpus_per_trial
from sweep.planning.plan import Pack
from tests.builders import two_by_two_runs
from tests.sweep.sweeps import spec
from trainables.profiling.gpu_share import Footprint, probe_footprint, share_of, whole_memory

GIB = 2**30
SMALL = Footprint(8 * GIB, GIB // 2, 80 * GIB)
LARGE = Footprint(30 * GIB, GIB, 80 * GIB)
PACKS = [Pack(tuple(two_by_two_runs()[:2]))]
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
    assert gpus_per_trial(AUTO, PACKS, None, ledger) == 0.3  # type: ignore[arg-type]
    assert asked == [whole_memory]


def test_on_gpus_of_another_memory_the_share_follows_from_what_the_pack_took(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(ledger, runs=2)
    asked = on_a_gpu(monkeypatch, 40 * GIB)
    expected = share_of(Footprint(SMALL.reserved, SMALL.context, 40 * GIB), 2)
    assert gpus_per_trial(AUTO, PACKS, None, ledger) == expected  # type: ignore[arg-type]
    assert asked == [whole_memory]
    kept = ledger.gpu_share()
    assert kept is not None
    assert (kept["share"], kept["whole"]) == (expected, 40 * GIB)


def test_a_larger_pack_than_the_probes_is_probed_for(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(ledger, runs=1)
    asked = on_a_gpu(monkeypatch, LARGE.whole)
    assert gpus_per_trial(AUTO, PACKS, None, ledger) == share_of(LARGE, 2)  # type: ignore[arg-type]
    assert asked == [probe_footprint]
    kept = ledger.gpu_share()
    assert kept is not None
    assert kept["runs"] == 2


def test_an_unreadable_share_is_reported_with_a_hint(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.keep_gpu_share({"runs": 2, "share": 0.3, "reserved": -5})
    on_a_gpu(monkeypatch, 40 * GIB)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: .*cannot be read .*; give --gpus-per-trial$"):
        gpus_per_trial(AUTO, PACKS, None, ledger)  # type: ignore[arg-type]
