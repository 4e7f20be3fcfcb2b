"""`sweep benchmark`: every method is tuned with the same budget, and its best point is evaluated under new seeds.

The loop plans from the ledger and trains what is missing, so an interrupted benchmark continues in whichever phase it
is, and a method that is added later trains its own runs only.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from results.ledger.data_facts import DataFacts
from results.ledger.ledger import Ledger
from results.ledger.phases import UNTUNED_POINT, PhaseRow, benchmark_in, read_phases, write_phases
from results.tables.standings import standings
from search_spaces import Configuration, Run
from search_spaces.errors import LedgerError, SpecError
from search_spaces.method import Method
from search_spaces.plain_text import counted
from sweep.config.data import load_spec_data
from sweep.config.spec import Spec
from sweep.config.toml import benchmark_text, configuration_block
from sweep.driver.announcements import tell
from sweep.driver.benchmark_plan import power_lines, tell_benchmark
from sweep.driver.driver import DEFAULT_OPTIONS, DriveOptions, Outcome, Stage, drive
from sweep.driver.tuning import Placed, Point, StudyTuning, tune_study
from sweep.folder.paths import SweepFolder
from sweep.planning.model import plan_model
from sweep.planning.sampling import check_grids

if TYPE_CHECKING:
    from trainables.optim.tiny_model import Layout


@dataclass(frozen=True)
class Results:
    """Final validation accuracies in the ledger."""

    accuracies: Mapping[tuple[str, int], float]  # run id and epoch → percent
    diverged: Mapping[str, int]  # run id → epoch
    chance: float

    def accuracy(self, run_id: str, epochs: int) -> float | None:
        """Return the accuracy in percent after ``epochs``, chance for a diverged run; None without a result."""
        if self.diverged.get(run_id, epochs + 1) <= epochs:
            return self.chance
        return self.accuracies.get((run_id, epochs))

    def score(self, run_ids: Sequence[str], epochs: int) -> float | None:
        """Return the mean accuracy of a point's runs, chance if any of them diverged; None until all have a result.

        As in :func:`results.metrics.tuning.best_point`, a point that diverges under one seed is not selected for its
        mean under the others.
        """
        found = [self.accuracy(run_id, epochs) for run_id in run_ids]
        known = [value for value in found if value is not None]
        if len(known) < len(found):
            return None
        if any(self.diverged.get(run_id, epochs + 1) <= epochs for run_id in run_ids):
            return self.chance
        return math.fsum(known) / len(known)


def read_results(ledger: Ledger, chance: float) -> Results:
    """Read the results for the selection: validation only.

    Raises:
        LedgerError: a run of the tuning has a test accuracy; a selection that saw the test split is not used.
    """
    seen = ledger.rows(
        """
        SELECT p.run_id, p.method FROM phases p JOIN epochs e USING (run_id)
        WHERE p.phase = 'tuning' AND e.test_acc IS NOT NULL LIMIT 1
        """,
        {},
    )
    if seen:
        run_id, method = seen[0]
        raise LedgerError(
            f"{ledger.path}: the run {run_id} of {method!r} has a test accuracy in the tuning phase, where test is "
            "never evaluated; start another benchmark with --name"
        )
    epochs, diverged = ledger.read(
        "SELECT run_id, epoch, val_acc FROM epochs",
        "SELECT run_id, diverged_epoch FROM runs WHERE diverged_epoch IS NOT NULL",
    )
    values = {(run_id, epoch): chance if found is None else float(found) for run_id, epoch, found in epochs.rows}
    return Results(values, dict(diverged.rows), chance)


@dataclass(frozen=True)
class BenchmarkPlan:
    """A benchmark with its data: which runs its points are."""

    spec: Spec
    fingerprint: str
    steps_per_epoch: int
    layout: Layout = ()  # of the parameters of the model; empty: LeNet-5's

    @cached_property
    def methods(self) -> list[Method]:
        """The methods."""
        return self.spec.checked_methods()

    @property
    def design(self) -> Any:
        """The table ``[benchmark]``."""
        return self.spec.benchmark

    @property
    def studies(self) -> range:
        """The studies, from 1."""
        return range(1, self.design.studies + 1)

    @cached_property
    def _resolved(self) -> dict[tuple[str, int, str], Configuration]:
        return {}

    def resolve(self, configuration: Configuration, epochs: int, name: str) -> Configuration:
        """Return the configuration with defaults and with its schedule for ``epochs``.

        Raises:
            SpecError: an invalid value; the message begins with the name of the method.
        """
        from trainables.optim.validation import complete_configuration

        key = (configuration.key, epochs, name)
        if key not in self._resolved:
            where = f"{self.spec.name}: method {name}"
            if configuration.warmup >= epochs:
                raise SpecError(f"{where}: warmup", f"{configuration.warmup} of {epochs} epochs", "a shorter warm-up")
            self._resolved[key] = complete_configuration(
                configuration, epochs, self.steps_per_epoch, where, self.spec.imports.packages,
                self.spec.shared_protocol, self.layout,
            )  # fmt: skip
        return self._resolved[key]

    def tuned(self, point: Point, epochs: int) -> Configuration:
        """Return the configuration of a point with its schedule for ``epochs``."""
        return self.resolve(point.method.point(point.values), epochs, repr(point.method.name))

    def untuned(self, method: Method) -> Configuration:
        """Return the untuned configuration of a method for the evaluation."""
        return self.resolve(method.untuned(), self.spec.epochs, f"{method.name!r}, its untuned point (key `untuned`)")

    def run(self, configuration: Configuration, seed: int) -> Run:
        """Return the run of a configuration under a seed."""
        return Run(configuration, seed, self.spec.shared_protocol, self.fingerprint)

    def check(self) -> None:
        """Resolve the untuned and the first points of every method, so that an error is found before any training.

        Raises:
            SpecError: an invalid value, or grids of different sizes.
        """
        if self.design.sampler == "grid":
            check_grids(self.methods, self.design.budget, self.spec.name)
        for method in self.methods:
            self.untuned(method)
        for tuning in self.tune(None):
            for placed in tuning.placed:
                self.tuned(placed.point, self.spec.tuning_epochs)
                self.tuned(placed.point, self.spec.epochs)

    def tune(self, results: Results | None) -> list[StudyTuning]:
        """Return the tuning of every study that the results so far lead to."""

        def score(point: Point, epochs: int) -> float | None:
            if results is None:
                return None
            configuration = self.tuned(point, self.spec.tuning_epochs)
            seeds = self.design.seeds_of_tuning(point.study)
            return results.score([self.run(configuration, seed).run_id for seed in seeds], epochs)

        return [tune_study(self.methods, self.design, self.spec.tuning_epochs, study, score) for study in self.studies]

    def tuning_rows(self, tunings: Sequence[StudyTuning]) -> Iterator[tuple[PhaseRow, Run]]:
        """Yield the runs of the tuning."""
        for placed in (one for tuning in tunings for one in tuning.placed):
            point = placed.point
            for seed in self.design.seeds_of_tuning(point.study):
                run = self.run(self.tuned(point, self.spec.tuning_epochs), seed)
                yield _row(run, "tuning", placed), run

    def evaluation_rows(self, tunings: Sequence[StudyTuning], seeds: int) -> Iterator[tuple[PhaseRow, Run]]:
        """Yield the runs of the evaluation: the selected and the untuned point of every method, the same seeds."""
        epochs = self.spec.epochs
        for tuning in tunings:
            for method in self.methods:
                best = tuning.methods[method.name].best.point
                for seed in self.design.seeds_of_evaluation(tuning.study, seeds)[:seeds]:
                    run = self.run(self.tuned(best, epochs), seed)
                    yield PhaseRow(run.run_id, "evaluation", tuning.study, method.name, best.index, epochs), run
                    run = self.run(self.untuned(method), seed)
                    yield PhaseRow(run.run_id, "untuned", tuning.study, method.name, UNTUNED_POINT, epochs), run

    def stage_spec(self, runs: Collection[Run], epochs: int, *, test: bool) -> Spec:
        """Return the spec that trains these runs; without ``test``, the test split is never evaluated."""
        blocks = {run.configuration.key: configuration_block(run.configuration) for run in runs}
        return self.spec.model_copy(
            update={
                "benchmark": None, "methods": [], "configurations": list(blocks.values()), "epochs": epochs,
                "seeds": sorted({run.seed for run in runs}), "test_epochs": "last" if test else [],
                "max_runs": max(self.spec.max_runs, len(blocks) * len({run.seed for run in runs})),
            }
        )  # fmt: skip


def _row(run: Run, phase: Any, placed: Placed) -> PhaseRow:
    point = placed.point
    return PhaseRow(
        run.run_id, phase, point.study, point.method.name, point.index, placed.epochs, placed.rung, placed.stopped
    )


def drive_benchmark(
    spec: Spec, runs_dir: Path, console: Console, options: DriveOptions = DEFAULT_OPTIONS
) -> Outcome | None:
    """Tune every method, select by validation, evaluate under new seeds; return the outcome of the last phase.

    Ray is started and the data are read once for all phases. Arguments, return value and errors as in
    :func:`sweep.driver.driver.drive`.
    """
    with ExitStack() as ray:
        return _drive_phases(spec, runs_dir, console, replace(options, ray=ray))


def _drive_phases(spec: Spec, runs_dir: Path, console: Console, options: DriveOptions) -> Outcome | None:
    if spec.benchmark is None:
        raise SpecError(spec.name, "has no [benchmark]", f"sweep run {spec.name}, or sweep spaces")
    data = load_spec_data(spec.data, spec.data_options)
    steps = math.ceil(len(data.train_labels) / spec.protocol.batch_size)
    spec, model = plan_model(spec, data.classes)
    plan = BenchmarkPlan(spec, data.fingerprint, steps, model.layout)
    plan.check()
    folder = SweepFolder(runs_dir, spec.name)
    chance = DataFacts(data.title, data.classes).chance
    if options.dry_run:
        with _existing(folder) as ledger:
            tell_benchmark(console, spec, plan.methods, ledger, len(data.train_labels))
        return None
    options = replace(options, data=data)
    tell(console, *power_lines(plan.design, len(plan.methods), None)[1:])
    text = benchmark_text(spec)
    notes: list[str] = []
    while True:
        with _existing(folder) as ledger:
            tunings = plan.tune(read_results(ledger, chance) if ledger else None)
            rows = list(plan.tuning_rows(tunings))
            left = _unfinished(ledger, rows)
        for note in (note for tuning in tunings for note in tuning.notes):
            if note not in notes:
                notes.append(note)
                tell(console, note)
        _check_equal(tunings)
        if not left:
            break
        epochs = min(row.epochs for row in left)
        runs = {run.run_id: run for row, run in rows if row.epochs == epochs}
        tell(console, f"tuning: {_spending(plan, tunings)}")
        stage = Stage(
            runs,
            text,
            partial(write_phases, phases=["tuning"], rows=[row for row, _ in rows]),
            continues=bool(plan.design.halving),
        )
        outcome = drive(
            plan.stage_spec(runs.values(), epochs, test=False), runs_dir, console, replace(options, stage=stage)
        )
        if outcome is None or not outcome.all_done:
            return outcome
    for tuning in tunings:
        for name, method in tuning.methods.items():
            chosen = ", ".join(f"{key} = {value}" for key, value in method.best.point.values.items())
            score = method.scores[method.best.point.index]
            tell(console, f"selected in study {tuning.study}: {name}: {chosen} (validation {score:.2f} %)")
    return _evaluate(plan, tunings, [row for row, _ in rows], runs_dir, console, replace(options, stage=None))


def _evaluate(
    plan: BenchmarkPlan, tunings: Sequence[StudyTuning], tuning_rows: Sequence[PhaseRow], runs_dir: Path,
    console: Console, options: DriveOptions,
) -> Outcome | None:  # fmt: skip
    """Train the selected and the untuned points under the evaluation seeds; for ``auto``, until decided."""
    looks = plan.design.looks
    with _existing(SweepFolder(runs_dir, plan.spec.name)) as ledger:
        evaluated = read_phases(ledger).query("phase == 'evaluation'") if ledger else None
    before = 0 if evaluated is None or evaluated.empty else int(evaluated.groupby(["method", "study"]).size().max())
    text, outcome = benchmark_text(plan.spec), None
    for look in [look for look in looks if look >= before] or looks[-1:]:
        rows = list(plan.evaluation_rows(tunings, look))
        written = [*tuning_rows, *(row for row, _ in rows)]
        runs = {run.run_id: run for _, run in rows}
        tell(console, f"evaluation: {counted(len(plan.methods), 'method')}, tuned and untuned, {look} new seeds")
        stage = Stage(runs, text, partial(write_phases, phases=["tuning", "evaluation", "untuned"], rows=written))
        spec = plan.stage_spec(runs.values(), plan.spec.epochs, test=True)
        outcome = drive(spec, runs_dir, console, replace(options, stage=stage))
        if outcome is None or not outcome.all_done or len(looks) == 1:
            return outcome
        compared = standings(outcome.data)
        undecided = len(compared.undecided) if compared else 0
        tell(console, f"{look} of up to {looks[-1]} seeds: {counted(undecided, 'comparison')} undecided")
        if not undecided:
            break
    return outcome


@contextmanager
def _existing(folder: SweepFolder) -> Iterator[Ledger | None]:
    """Open the ledger for reading; None if there is none yet.

    Raises:
        SpecError: the folder has another kind of sweep.
    """
    if not folder.ledger.exists():
        yield None
        return
    folder.check_links()
    with Ledger.open_read_only(folder.ledger) as ledger:
        if benchmark_in(ledger.kept_spec() or "") is None and ledger.targets():
            raise SpecError(
                folder.name, "is a sweep that is no benchmark", "start the benchmark under another name: --name NAME"
            )
        yield ledger


def _unfinished(ledger: Ledger | None, rows: Sequence[tuple[PhaseRow, Run]]) -> list[PhaseRow]:
    """Return the rows whose run has no result after its epochs."""
    finished: dict[int, set[str]] = {}
    for epochs in {row.epochs for row, _ in rows}:
        ids = [row.run_id for row, _ in rows if row.epochs == epochs]
        finished[epochs] = ledger.finished(ids, epochs) if ledger else set()
    return [row for row, _ in rows if row.run_id not in finished[row.epochs]]


def _check_equal(tunings: Sequence[StudyTuning]) -> None:
    """Refuse unequal spending: with a complete tuning, every method has spent the same."""
    for tuning in tunings:
        spent = {name: sum(one.epochs for one in method.placed) for name, method in tuning.methods.items()}
        if tuning.complete and len(set(spent.values())) > 1:
            raise SpecError("benchmark", f"study {tuning.study} would spend {spent} run-epochs", "equal budgets")


def _spending(plan: BenchmarkPlan, tunings: Sequence[StudyTuning]) -> str:
    """Return the run-epochs of every method so far."""
    seeds = len(plan.design.seeds_of_tuning(1))
    each = {
        method.name: seeds * sum(one.epochs for tuning in tunings for one in tuning.methods[method.name].placed)
        for method in plan.methods
    }
    if len(set(each.values())) == 1:
        return f"{next(iter(each.values())):,} run-epochs for each of {len(each)} methods"
    return ", ".join(f"{name} {spent:,}" for name, spent in each.items()) + " run-epochs so far"
