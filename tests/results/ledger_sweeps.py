"""Sweeps with chosen curves, by way of a real ledger."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from results.ledger.arrays import SweepData, load_sweep
from results.ledger.data_facts import DataFacts, keep_facts
from results.ledger.ledger import Ledger
from results.ledger.phases import PhaseRow, write_phases
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


@dataclass(frozen=True)
class TunedMethod:
    """A method of a designed benchmark, by final validation accuracies in percent.

    ``points`` is for each study a list a point, of a value a tuning seed; ``evaluation`` is for each study a value an
    evaluation seed. ``tests`` are the accuracies of the evaluation on test. None is a run that diverged.
    """

    points: Sequence[Sequence[Sequence[float | None]]]
    evaluation: Sequence[Sequence[float | None]]
    untuned: Sequence[float | None] = ()
    tests: Sequence[Sequence[float | None]] = ()
    selected: Sequence[int] = ()
    rates: Sequence[float] = ()
    shared_seed: bool = False  # whether the first evaluation seed is the first tuning seed


def write_benchmark(
    path: Path, methods: Mapping[str, TunedMethod], *, epochs: int = 4, spec: str = "", stopped: Collection[int] = (),
    tested_too_early: str = "",
) -> None:  # fmt: skip
    """Write the ledger of a benchmark; a point of a method differs from another one in the learning rate.

    ``tested_too_early``: a phase whose first run has a test accuracy after its first epoch.
    The evaluation seeds of study s are 100·s, 100·s + 1, …; the selected point is the best one by mean accuracy.
    """
    runs: dict[str, Run] = {}
    finals: dict[str, tuple[float | None, float | None]] = {}
    phases: list[PhaseRow] = []

    def add(run: Run, val: float | None, test: float | None, *row: Any, **more: Any) -> None:
        runs[run.run_id] = run
        finals[run.run_id] = (val, test)
        phases.append(PhaseRow(run.run_id, *row, **more))

    for place, (name, method) in enumerate(methods.items()):
        for study, points in enumerate(method.points, start=1):
            rates = method.rates or [0.001 * (number + 1) for number in range(len(points))]
            choices = [Configuration("Adam", {"lr": rate, "weight_decay": 0.1 * place}) for rate in rates]
            for number, values in enumerate(points):
                for seed, value in enumerate(values):
                    run = Run(choices[number], 10 * study + seed, Protocol(), "d" * 16)
                    add(run, value, None, "tuning", study, name, number, epochs, stopped=number in stopped)
            means = [sum(map(_or_chance, values)) / len(values) for values in points]
            chosen = method.selected[study - 1] if method.selected else means.index(max(means))
            for seed, value in enumerate(method.evaluation[study - 1] if method.evaluation else ()):
                own = 10 * study if method.shared_seed and not seed else 100 * study + seed
                run = Run(choices[chosen], own, Protocol(), "d" * 16)
                test = method.tests[study - 1][seed] if method.tests else value
                add(run, value, test, "evaluation", study, name, chosen, epochs)
        for seed, value in enumerate(method.untuned):
            run = Run(Configuration("Adam", {"lr": 0.5, "weight_decay": 0.1 * place}), 100 + seed, Protocol(), "d" * 16)
            add(run, value, value, "untuned", 1, name, -1, epochs)
    rows = []
    early = next((row.run_id for row in phases if row.phase == tested_too_early), "")
    for run_id, run in runs.items():
        val, test = finals[run_id]
        for epoch, accuracy in enumerate(climb(_or_chance(val), epochs), start=1):
            facts = {"test_acc": _or_chance(test)} if test is not None and epoch == epochs else {}
            if epoch == 1 and run_id == early:
                facts = {"test_acc": 5.0}
            rows.append(row_of(run, epoch, val_acc=accuracy, **facts))
    with Ledger.create_or_open(path) as ledger:
        ledger.plan(list(runs.values()), epochs, data_name="cifar100", synthetic=False)
        ledger.record(
            [attempt_of(list(runs.values()))], rows, {key: 2 for key, (val, _) in finals.items() if val is None}
        )
        last = {row.run_id for row in phases if row.phase != "tuning"}
        if last:  # as a benchmark does for its evaluation; the runs of the tuning are then not planned
            ledger.plan(
                [runs[run_id] for run_id in runs if run_id in last], epochs, data_name="cifar100", synthetic=False
            )
        write_phases(ledger, ("tuning", "evaluation", "untuned"), phases)
        if spec:
            ledger.keep("spec", spec)


def _or_chance(value: float | None) -> float:
    return 1.0 if value is None else value


def benchmark_of(folder: Path, methods: Mapping[str, TunedMethod], **facts: Any) -> SweepData:
    """Write a ledger as :func:`write_benchmark` does, and load it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_benchmark(folder / "ledger.sqlite", methods, **facts)
    return load_sweep(folder / "ledger.sqlite", "bench")
