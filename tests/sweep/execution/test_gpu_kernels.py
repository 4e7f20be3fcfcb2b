"""The kernels of a pack size on a GPU: measured once, kept in the ledger, and used from then on; without a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import sweep.execution.ray.gpu_kernels
from results.ledger.ledger import Ledger
from search_spaces.errors import LedgerError, SpecError
from sweep.config.spec import Spec
from sweep.execution.ray.gpu_kernels import KEY, gpu_kernels
from sweep.execution.ray.gpu_task import GpuTaskError
from sweep.execution.training import trial_spec
from sweep.folder.paths import SweepFolder
from sweep.planning.plan import Pack
from tests.builders import two_by_two_runs
from tests.sweep.sweeps import spec
from trainables.profiling.gpu_kernels import measured_kernels

RUNS = two_by_two_runs()
PAIR, ALL = Pack(tuple(RUNS[:2])), Pack(tuple(RUNS))
LARGE: Any = SimpleNamespace(train_labels=np.zeros(2**26, dtype=np.int8))
LONG: Spec = spec(**{"resources.gpus_per_trial": 0.25})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.create_or_open(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def measure(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[Sequence[int]]:
    """Answer every measurement; return the list of the sizes that were asked for."""
    asked: list[Sequence[int]] = []

    def on_a_gpu(work: Any, runs: Any, sizes: Sequence[int], data: Any) -> dict[int, str]:
        assert work is measured_kernels
        asked.append(list(sizes))
        if isinstance(answer, Exception):
            raise answer
        return dict.fromkeys(sizes, answer)

    monkeypatch.setattr(sweep.execution.ray.gpu_kernels, "on_a_gpu", on_a_gpu)
    return asked


def test_a_size_is_measured_once_and_keeps_its_choice(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resume on another day may measure other times; a new size is measured without a change to the old one."""
    asked = measure(monkeypatch, "grouped")
    assert gpu_kernels(LONG, [PAIR], LARGE, ledger) == {2: "grouped"}
    asked_again = measure(monkeypatch, "matrix products")
    assert gpu_kernels(LONG, [PAIR], LARGE, ledger) == {2: "grouped"}
    assert gpu_kernels(LONG, [PAIR, ALL], LARGE, ledger) == {2: "grouped", 4: "matrix products"}
    assert (asked, asked_again) == ([[2]], [[4]])


def test_the_choice_reaches_the_trial(tmp_path: Path) -> None:
    session: Any = SimpleNamespace(spec=LONG, folder=SweepFolder(tmp_path, "s"), gpu_kernels={2: "grouped"})
    assert trial_spec(session, PAIR).kernels == "grouped"
    assert trial_spec(session, ALL).kernels == "torch"


@pytest.mark.parametrize(
    ("kept", "context"), [({"context": 700, "runs": 2}, 700), ({"context": -5}, 0), ({"context": "many"}, 0), (None, 0)]
)
def test_the_measured_context_reaches_the_trial(tmp_path: Path, ledger: Ledger, kept: Any, context: int) -> None:
    if kept is not None:
        ledger.keep_gpu_share(kept)
    session: Any = SimpleNamespace(spec=LONG, folder=SweepFolder(tmp_path, "s"), gpu_kernels={}, ledger=ledger)
    assert trial_spec(session, PAIR, gpus=0.25).gpu_context == context
    assert trial_spec(session, PAIR).gpu_context == 0


@pytest.mark.parametrize(
    "answer", [GpuTaskError("no GPU was free"), "a short sweep"], ids=["failed", "short"]
)  # fmt: skip
def test_a_size_that_was_not_measured_first_is_never_measured(
    answer: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint may have steps of it."""
    short: Any = SimpleNamespace(train_labels=np.zeros(128))
    measure(monkeypatch, answer)
    assert gpu_kernels(LONG, [PAIR], LARGE if isinstance(answer, GpuTaskError) else short, ledger) == {}
    asked = measure(monkeypatch, "grouped")
    assert gpu_kernels(LONG, [PAIR], LARGE, ledger) == {}
    assert asked == []


def test_packs_of_an_earlier_version_are_not_measured(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "epochs_recorded", lambda _: {RUNS[0].run_id: 1})
    asked = measure(monkeypatch, "grouped")
    assert gpu_kernels(LONG, [PAIR], LARGE, ledger) == {}
    assert asked == []


def test_on_a_cpu_nothing_is_measured_or_kept(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = measure(monkeypatch, "grouped")
    assert gpu_kernels(spec(), [PAIR], LARGE, ledger) == {}
    assert asked == []
    assert ledger.kept(KEY) is None


def test_tf32_is_refused_before_anything_is_trained(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    tf32 = spec(**{"resources.gpus_per_trial": 0.25, "protocol.precision": "tf32"})
    measure(monkeypatch, SpecError("protocol.precision", "'tf32', but cpu has no TF32"))
    with pytest.raises(SpecError, match=r"^protocol\.precision: 'tf32', but cpu has no TF32"):
        gpu_kernels(tf32, [PAIR], LARGE, ledger)


@pytest.mark.parametrize("text", ["[]", '{"2": "fft"}', '{"two": "grouped"}', "{"])
def test_an_unreadable_choice_is_reported(text: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(monkeypatch, "grouped")
    ledger.keep(KEY, text)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: its kernels on a GPU cannot be read"):
        gpu_kernels(LONG, [PAIR], LARGE, ledger)
    assert ledger.kept(KEY) == text
