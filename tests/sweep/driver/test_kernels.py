"""Kernels of the gradients: as the spec asks, as the ledger has them, or as a measurement chooses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import sweep.driver.kernels as driver_kernels
from results.ledger.ledger import Ledger
from search_spaces.errors import SpecError
from sweep.driver.kernels import choose_kernels
from tests.sweep.sweeps import run, spec
from tests.trainables.small_runs import make_run, tiny_data
from trainables.models import compiled_convolutions
from trainables.models.compiled_convolutions import CompilerError

RUNS = [make_run("SGD", lr=0.1)]


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    with Ledger.create_or_open(tmp_path / "ledger.sqlite") as opened:
        yield opened


def times(monkeypatch: pytest.MonkeyPatch, torch: float, compiled: float) -> list[int]:
    """Let a measurement return these seconds, on a machine that compiles; the list has one entry for each."""
    measured: list[int] = []

    def found(*_: object) -> dict[str, float]:
        measured.append(1)
        return {"torch": torch, "compiled": compiled}

    monkeypatch.setattr(driver_kernels, "_measured", found)
    monkeypatch.setattr(compiled_convolutions, "library", lambda: None)
    return measured


def chosen(ledger: Ledger, **resources: Any) -> tuple[str, str]:
    given = spec(**{f"resources.{key}": value for key, value in resources.items()})
    found, line = choose_kernels(given, RUNS, ledger, tiny_data())
    return found.resources.kernels, line


@pytest.mark.parametrize(("compiled", "right"), [(0.5, "compiled"), (0.97, "torch"), (2.0, "torch")])
def test_auto_means_the_faster_kernels_beyond_noise_and_a_resume_keeps_them(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, compiled: float, right: str
) -> None:
    measured = times(monkeypatch, 1.0, compiled)
    assert chosen(ledger, kernels="auto")[0] == right
    times(monkeypatch, compiled, 1.0)
    found, line = chosen(ledger, kernels="auto")
    assert found == right
    assert "as chosen before" in line
    assert len(measured) == 1


def test_nothing_is_measured_for_pytorchs_kernels_or_a_gpu(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = times(monkeypatch, 1.0, 0.1)
    assert chosen(ledger) == ("torch", "")
    assert chosen(ledger, kernels="auto", gpus_per_trial=1) == ("torch", "")
    assert not measured


def test_without_a_compiler_auto_means_pytorch_and_compiled_is_refused(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise CompilerError("no C++ compiler found")

    monkeypatch.setattr(compiled_convolutions, "library", refuse)
    monkeypatch.setattr("trainables.models.kernels.library", refuse)
    assert chosen(ledger, kernels="auto") == ("torch", "kernels: torch (no C++ compiler found)")
    with pytest.raises(SpecError, match=r"resources\.kernels.*no C\+\+ compiler found"):
        chosen(ledger, kernels="compiled")
    ledger.keep("kernels", "compiled")
    with pytest.raises(SpecError, match=r"resources\.kernels"):
        chosen(ledger, kernels="auto")


@pytest.mark.skipif(not any(map(shutil.which, compiled_convolutions.COMPILERS)), reason="no C++ compiler")
def test_a_sweep_with_compiled_kernels_records_them_and_learns_the_same(tmp_path: Path) -> None:
    losses = {}
    for kernels in ("torch", "compiled"):
        given = spec(
            epochs=1, seeds=1, test_epochs="last", **{"resources.kernels": kernels, "protocol.dtype": "float64"}
        )
        outcome, _ = run(given, tmp_path / kernels)
        with Ledger.open_read_only(outcome.folder.ledger) as opened:
            versions = [json.loads(text) for (text,) in opened.rows("SELECT versions FROM attempts", {})]
            losses[kernels] = [row[0] for row in opened.rows("SELECT val_loss FROM epochs ORDER BY run_id", {})]
        assert {found.get("kernels", "torch") for found in versions} == {kernels}
    assert losses["compiled"] == pytest.approx(losses["torch"], rel=1e-8)
