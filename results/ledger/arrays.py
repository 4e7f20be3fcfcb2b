"""The measured data of a sweep as arrays, from which all metrics, tables and figures are computed."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from results.ledger.benchmark import Benchmark, RunsOf, benchmark_of
from results.ledger.configuration_runs import CURVES, ConfigurationRuns, MeasuredCurves, grouped_runs
from results.ledger.data_facts import CIFAR100, OF_CIFAR100, DataFacts, kept_facts
from results.ledger.design import design_in
from results.ledger.ledger import Ledger
from results.ledger.phases import benchmark_in, read_phases
from results.metrics.convergence import default_target
from results.metrics.intervals import TOLERANCE
from results.metrics.sequential import look_level
from results.metrics.stability import chance_limit
from search_spaces.errors import LedgerError
from search_spaces.models import LENET5, model_title
from search_spaces.plain_text import counted

MAX_SEED_SETS = 50
"""Maximum number of different sets of seeds whose intersections are looked at."""

MAX_CELLS = 100_000_000
"""Maximum number of planned epochs of all runs; the arrays of more need over 8 GB."""

MAX_NAMED = 5
"""Maximum number of configurations that a note names."""

NOT_COMPARED = "Not compared, because without a result"
"""How the caveat that names configurations without a result begins."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SweepData:
    """A sweep's planned runs by configuration, with their common facts."""

    name: str
    epochs: int
    protocol: dict[str, Any]  # batch size and the like, with the data's fingerprint as ``data``
    data_name: str
    synthetic: bool
    devices: tuple[str, ...]
    threads: tuple[int, ...]
    pack_sizes: tuple[int, ...]
    versions: tuple[dict[str, str], ...]
    configurations: tuple[ConfigurationRuns, ...]
    given_target: float | None = None  # percent
    facts: DataFacts = OF_CIFAR100
    reference_id: str = ""  # of the configuration that was named before the runs
    benchmark: Benchmark | None = None  # its configurations are then those of the evaluation, once it has a result
    lint_ignored: Mapping[str, str] = field(default_factory=dict)  # code of a lint finding → the reason to ignore it
    max_seeds: int = 0  # of a sweep whose seeds are added until the comparisons are decided; 0: their number is fixed

    @cached_property
    def reference(self) -> ConfigurationRuns | None:
        """The configuration that was named before the runs as the one to compare with, if it has a result."""
        return next((group for group in self.counted if group.configuration_id == self.reference_id), None)

    @property
    def level(self) -> float:
        """The level of the tests: 5 %, divided by the number of looks where seeds are added until decided."""
        return look_level(self.max_seeds)

    @cached_property
    def target(self) -> float:
        """Target A*, a validation accuracy in percent: as given, or the default; NaN without a best configuration."""
        if self.given_target is not None:
            return self.given_target
        return default_target(self.best.final) if self.best else math.nan

    @cached_property
    def counted(self) -> tuple[ConfigurationRuns, ...]:
        """The configurations that have at least one result."""
        return tuple(group for group in self.configurations if group.counted.any())

    @property
    def partial(self) -> bool:
        """Whether some planned run has no result yet."""
        return any(not group.counted.all() for group in self.configurations)

    @cached_property
    def best(self) -> ConfigurationRuns | None:
        """The configuration with the highest mean final validation accuracy under the common seeds.

        The first one of those that are equal within 1e-9 pp. Only configurations with a result under each of
        :attr:`common_seeds` are eligible: one lucky seed is not compared with the mean of nine. None where every run
        ended at chance, or the highest mean is below :attr:`chance_limit`.
        """
        found, highest = None, self.chance_limit - 2 * TOLERANCE
        for group in self.eligible:
            mean = group.mean_under(self.common_seeds)
            if group.trained.any() and mean > highest + TOLERANCE:
                found, highest = group, mean
        return found

    @cached_property
    def common_seeds(self) -> frozenset[int]:
        """The seeds under which configurations are ranked: the set with the most paired runs.

        Of the sets of seeds of single configurations, and of two at a time, it has the largest number of seeds times
        number of configurations with all of them. It has at least half as many seeds as the largest set.
        """
        sets = list(dict.fromkeys(frozenset(group.counted_seeds) for group in self.counted))
        if not sets:
            return frozenset()
        pairs = [a & b for a, b in itertools.combinations(sets[:MAX_SEED_SETS], 2)]
        most = max(map(len, sets))
        candidates = [seeds for seeds in dict.fromkeys([*sets, *pairs]) if 2 * len(seeds) >= most]
        number = Counter(frozenset(group.counted_seeds) for group in self.counted)
        return max(
            candidates,
            key=lambda seeds: (len(seeds) * sum(n for other, n in number.items() if seeds <= other), len(seeds)),
        )

    @cached_property
    def eligible(self) -> tuple[ConfigurationRuns, ...]:
        """The configurations with a result under each of :attr:`common_seeds`."""
        return tuple(group for group in self.counted if self.common_seeds <= set(group.counted_seeds))

    @property
    def same_conditions(self) -> bool:
        """Whether all runs have one kind of device and one pack size, so that their seconds are comparable."""
        return len(self.devices) <= 1 and len(self.pack_sizes) <= 1

    @property
    def chance_limit(self) -> float:
        """Accuracy in percent below which a run has not learned; 2 for 100 classes."""
        return chance_limit(self.facts.classes)

    @property
    def is_cifar100(self) -> bool:
        """Whether the data are CIFAR-100 with its 100 classes."""
        return not self.synthetic and self.facts.title == CIFAR100

    @property
    def data_label(self) -> str:
        """Name of the data set, without the path of its folder; marked if it is synthetic."""
        return f"{self.data_name} (made from a seed)" if self.synthetic else self.facts.title

    @property
    def data_title(self) -> str:
        """What the data are, in words: the name of the data set, and not the path of its folder."""
        if self.synthetic:
            return "synthetic images"
        return self.facts.title if self.data_name else "no data"

    @property
    def model(self) -> str:
        """The name of the model."""
        return str(self.protocol.get("model", LENET5))

    def caveats(self) -> list[str]:
        """Return the notes that belong to every table and figure of this sweep."""
        if not self.epochs:  # a planned run has at least 1 epoch
            return ["Empty: no run is planned."]
        notes = [] if self.model == LENET5 else [f"Model: {model_title(self.model)}."]
        if self.synthetic:
            notes.append("Synthetic data (made from a seed): these numbers do not apply to CIFAR-100.")
        if self.partial:
            done = sum(int(group.counted.sum()) for group in self.configurations)
            planned = sum(len(group.run_ids) for group in self.configurations)
            notes.append(f"Partial: {done} of {planned} runs have a result so far.")
            without = [group.label for group in self.configurations if not group.counted.any()]
            if self.counted and without:
                more = f" and {len(without) - MAX_NAMED} more" if len(without) > MAX_NAMED else ""
                notes.append(f"{NOT_COMPARED}: {', '.join(without[:MAX_NAMED])}{more}.")
        if self.epochs < 50:
            length = counted(self.epochs, "epoch")
            notes.append(f"{length}; the study's protocol has 50. Schedules are scaled to the number of epochs.")
        return notes


@dataclass(frozen=True)
class Recorded:
    """The rows of which a :class:`SweepData` is made: those of a ledger, or of a published benchmark.

    Each run has ``run_id``, ``configuration`` (JSON), ``seed``, ``status``, ``target_epochs``, ``diverged_epoch``,
    ``data_name``, ``synthetic``, ``protocol`` (JSON) and ``data_fingerprint``. A row of an epoch has the run id, the
    epoch and the values of ``CURVES``. An attempt has its device, threads, pack size and versions (JSON).
    """

    runs: Sequence[dict[str, Any]]
    epochs: Sequence[tuple[Any, ...]]
    attempts: Sequence[tuple[Any, ...]]
    spec: str  # resolved
    phases: pd.DataFrame  # as read_phases returns
    facts: DataFacts


def load_sweep(ledger_path: Path, name: str = "", target: float | None = None) -> SweepData:
    """Read a sweep's ledger; ``target`` replaces the default target, a validation accuracy in percent.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    with Ledger.open_read_only(ledger_path) as ledger:
        phases = read_phases(ledger)
        # While a benchmark is evaluated, the runs of its tuning are not planned.
        read = "planned" if phases.empty else "(planned OR run_id IN (SELECT run_id FROM phases))"
        runs, epochs, attempts, spec = ledger.read(
            f"""
            SELECT run_id, configuration, seed, status, target_epochs, diverged_epoch, data_name, synthetic, protocol,
                   data_fingerprint
            FROM run_statuses WHERE {read} ORDER BY ordinal, seed, run_id
            """,
            f"""
            SELECT run_id, epoch, {", ".join(CURVES)}
            FROM epochs WHERE run_id IN (SELECT run_id FROM runs WHERE {read})
            """,
            """
            SELECT DISTINCT a.device, a.threads, e.pack_size, a.versions
            FROM epochs e JOIN attempts a USING (attempt_id) JOIN runs r USING (run_id) WHERE r.planned
            """,
            "SELECT value FROM meta WHERE key = 'spec'",
        )
        facts = kept_facts(ledger)
    rows = [dict(zip(runs.columns, row, strict=True)) for row in runs.rows]
    text = str(spec.rows[0][0]) if spec.rows else ""
    recorded = Recorded(rows, epochs.rows, attempts.rows, text, phases, facts)
    return sweep_of(recorded, name or ledger_path.parent.name, ledger_path, target)


def sweep_of(recorded: Recorded, name: str, path: Path, target: float | None = None) -> SweepData:
    """Return the sweep of recorded rows; ``path`` is where they were read.

    Raises:
        LedgerError: more epochs than tables and figures can have.
    """
    rows, facts, text = recorded.runs, recorded.facts, recorded.spec
    length = max((row["target_epochs"] for row in rows), default=0)
    with_rows = {row[0] for row in recorded.epochs}
    begun = {row["configuration"] for row in rows if row["run_id"] in with_rows}
    cells = length * sum(row["configuration"] in begun for row in rows)
    if cells > MAX_CELLS:
        raise LedgerError(
            f"{path}: has {cells // length} runs of {length} epochs; tables and figures can have "
            f"{MAX_CELLS} epochs of all runs. Split the sweep into several"
        )
    nothing: dict[str, Any] = {"data_name": "", "protocol": "{}", "data_fingerprint": ""}
    first = rows[0] if rows else nothing
    curves = MeasuredCurves(recorded.epochs, length)
    benchmark = None
    if not recorded.phases.empty:
        benchmark = benchmark_of(recorded.phases, benchmark_in(text), _reader(rows, curves, facts))
    evaluations = [runs for method in benchmark.methods for runs in method.evaluations] if benchmark else []
    return SweepData(
        name=name,
        epochs=benchmark.epochs if benchmark and evaluations else length,
        protocol={**json.loads(first["protocol"]), "data": first["data_fingerprint"]},
        data_name=first["data_name"],
        synthetic=any(row["synthetic"] for row in rows),
        devices=tuple(sorted({row[0] for row in recorded.attempts})),
        threads=tuple(sorted({row[1] for row in recorded.attempts})),
        pack_sizes=tuple(sorted({row[2] for row in recorded.attempts})),
        versions=tuple(json.loads(text) for text in sorted({row[3] for row in recorded.attempts})),
        given_target=target,
        **(design_in(text) if text else {}),
        facts=facts,
        configurations=tuple(evaluations) or grouped_runs(rows, curves, facts),
        benchmark=benchmark,
    )


def _reader(rows: Sequence[dict[str, Any]], curves: MeasuredCurves, facts: DataFacts) -> RunsOf:
    """Return the function that finds the runs of one configuration by their ids."""
    place_of = {row["run_id"]: i for i, row in enumerate(rows)}

    def runs_of(run_ids: Sequence[str], epochs: int) -> ConfigurationRuns | None:
        places = sorted(place_of[run_id] for run_id in run_ids if run_id in place_of)
        if not places:
            return None
        return grouped_runs([rows[i] for i in places], curves, facts, epochs)[0]

    return runs_of
