"""A pack that is trained again for its trajectory uses the kernels that the ledger has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import trainables.models.compiled_convolutions
from results.ledger.ledger import Ledger
from results.ledger.queries import TrainedPack, pack_of
from sweep.analyses import trajectories
from tests.builders import attempt_of, row_of, two_by_two_runs
from trainables.models.compiled_convolutions import CompilerError

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
RUNS = two_by_two_runs()[:2]


@pytest.mark.parametrize("kernels", ["", "compiled", "grouped"])
def test_the_kernels_of_a_pack_are_read_from_its_last_attempt(tmp_path: Path, kernels: str) -> None:
    versions = {"torch": "2.15"} | ({"kernels": kernels} if kernels else {})
    with Ledger.create_or_open(tmp_path / "ledger.sqlite") as ledger:
        ledger.plan(RUNS, 1, data_name="cifar100", synthetic=False)
        attempt = replace(attempt_of(RUNS), versions=versions)
        ledger.record([attempt], [row_of(run, 1, attempt_id=attempt.attempt_id) for run in RUNS], {})
        found = pack_of(ledger, RUNS[0].run_id)
    assert found is not None
    assert found.kernels == kernels


@pytest.mark.parametrize(
    ("recorded", "device", "used"),
    [
        ("", CPU, "torch"), ("compiled", CPU, "compiled"), ("grouped", CPU, "torch"),
        ("", GPU, "torch"), ("compiled", GPU, "torch"), ("grouped", GPU, "grouped"),
    ],
)  # fmt: skip
def test_recorded_kernels_are_used_on_the_same_kind_of_device(
    recorded: str, device: torch.device, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainables.models.compiled_convolutions, "library", SimpleNamespace)
    assert trajectories._kernels(TrainedPack("p", [], 1, recorded), device) == used


def test_without_a_compiler_a_compiled_pack_is_trained_again_by_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise CompilerError("no C++ compiler found")

    monkeypatch.setattr(trainables.models.compiled_convolutions, "library", refuse)
    assert trajectories._kernels(TrainedPack("p", [], 1, "compiled"), CPU) == "torch"
