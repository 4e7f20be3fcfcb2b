"""Sweeps with chosen curves, by way of a real ledger."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from results.ledger.arrays import SweepData, load_sweep
from results.ledger.data_facts import DataFacts, keep_facts
from results.ledger.ledger import Ledger
from search_spaces import Configuration
from search_spaces.run import Protocol, Run
from tests.builders import attempt_of, row_of

Curve = Sequence[float | None]

MOMENTUM = Configuration("SGD", {"lr": 0.01, "momentum": 0.9, "dampening": 0, "nesterov": False})
PLAIN = Configuration("SGD", {"lr": 0.01, "momentum": 0, "dampening": 0, "nesterov": False})
ADAM = Configuration("Adam", {"lr": 0.001, "betas": [0.9, 0.999]})


def write_ledger(
    path: Path,
    curves: Mapping[Configuration, Sequence[Curve]],
    *,
    tests: Mapping[Configuration, Sequence[float | None]] | None = None,
    diverged: Mapping[tuple[Configuration, int], int] | None = None,
    failed: Collection[tuple[Configuration, int]] = (),
    epochs: int = 10,
    protocol: Protocol | None = None,
    fingerprint: str = "d" * 16,
    synthetic: bool = False,
    data_name: str = "cifar100",
    measured: Mapping[str, Any] | None = None,
    about: DataFacts | None = None,
    **attempt: Any,
) -> dict[tuple[Configuration, int], str]:
    """Write validation curves, a list a seed; return the run ids by configuration and seed.

    A curve shorter than ``epochs`` is a run that still trains, an empty one has not started; ``tests`` are the test
    accuracies after the last epoch.
    """
    runs = {
        (configuration, seed): Run(configuration, seed, protocol or Protocol(), fingerprint)
        for configuration, members in curves.items()
        for seed in range(len(members))
    }
    rows = []
    for (configuration, seed), run in runs.items():
        curve = curves[configuration][seed]
        for epoch, accuracy in enumerate(curve, start=1):
            facts = {"val_acc": accuracy, **(measured or {})}
            if tests and epoch == epochs:
                facts["test_acc"] = tests[configuration][seed]
            rows.append(row_of(run, epoch, **facts))
    begun = [run for (configuration, seed), run in runs.items() if curves[configuration][seed]]
    with Ledger.create_or_open(path) as ledger:
        ledger.plan(list(runs.values()), epochs, data_name=data_name, synthetic=synthetic)
        if about:
            keep_facts(ledger, about)
        if begun:
            lost = {runs[key].run_id: epoch for key, epoch in (diverged or {}).items()}
            ledger.record([replace(attempt_of(begun), **attempt)], rows, lost)
        if failed:
            ledger.fail([runs[key].run_id for key in failed], "out of memory")
    return {key: run.run_id for key, run in runs.items()}


def sweep_of(folder: Path, curves: Mapping[Configuration, Sequence[Curve]], **facts: Any) -> SweepData:
    """Write a ledger as :func:`write_ledger` does, and load it; ``target`` and ``name`` are for loading."""
    loading = {key: facts.pop(key) for key in ("target", "name") if key in facts}
    folder.mkdir(parents=True, exist_ok=True)
    write_ledger(folder / "ledger.sqlite", curves, **facts)
    return load_sweep(folder / "ledger.sqlite", **loading)


def climb(final: float, epochs: int = 10) -> list[float]:
    """Return a straight line from 0 at epoch 0 to ``final``."""
    return [final * epoch / epochs for epoch in range(1, epochs + 1)]
