"""The driver of a sweep: what `sweep run` and `sweep resume` do, which is the same act."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from results.ledger.data_facts import DataFacts, keep_facts
from results.ledger.ledger import Ledger
from results.ledger.phases import benchmark_in
from search_spaces import Run
from search_spaces.errors import SpecError, SweepFolderError, UserError
from search_spaces.labels import configuration_labels
from search_spaces.plain_text import counted
from sweep.config.data import load_spec_data
from sweep.config.spec import Spec
from sweep.config.toml import parse_resolved, spec_text
from sweep.driver.announcements import left_to_train, packs_left, tell, tell_changes, tell_edits, tell_start
from sweep.driver.kernels import choose_kernels
from sweep.driver.pack_size import SECONDS_PER_EXAMPLE, Packing, choose_packing, device_kind, known_packing
from sweep.driver.same_sweep import check_same_protocol, check_same_reference
from sweep.driver.survivors import join_checkpoints
from sweep.execution.executor import Executor
from sweep.execution.session import SweepSession
from sweep.execution.training import train_packs
from sweep.folder.control import Control, ControlFolder, ControlStorage
from sweep.folder.lease import Lease
from sweep.folder.lease_places import FolderLease
from sweep.folder.leftovers import remove_unfinished
from sweep.folder.paths import SweepFolder, write_atomically
from sweep.folder.provenance import own_code, write_provenance
from sweep.folder.status import duration
from sweep.folder.trust import check_trusted, remember
from sweep.planning.model import plan_model
from sweep.planning.plan import (
    DEFAULT_PACK,
    Pack,
    longest_first,
    make_runs,
    resolve_configurations,
    told_own_packs,
    told_restarts,
)
from sweep.planning.reference import reference_id
from sweep.progress.live_view import Progress, Recorded
from sweep.tracking.of_sweep import tracking_of
from sweep.tracking.registry import check_trackers

if TYPE_CHECKING:
    from results.ledger.arrays import SweepData
    from trainables.data.dataset import DataSet

PACKS_SHOWN = 20
"""Packs that a dry run lists."""


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended: the folder, and how many runs have each status."""

    folder: SweepFolder
    statuses: Mapping[str, str]
    rate: float | None = None  # run-epochs per second; None if nothing was trained

    def count(self, status: str) -> int:
        """Return how many runs have ``status``."""
        return sum(1 for found in self.statuses.values() if found == status)

    @cached_property
    def data(self) -> SweepData:
        """The measurements."""
        from results.ledger.arrays import load_sweep  # pandas: training does not wait for its import

        return load_sweep(self.folder.ledger, self.folder.name)

    @property
    def answer(self) -> list[str]:
        """The answer of the sweep so far, in a few sentences."""
        from results.reports.summary import answer

        return answer(self.data)

    @property
    def all_done(self) -> bool:
        """Whether every run has its result; a diverged run is one."""
        return all(status in ("done", "diverged") for status in self.statuses.values())


def read_resolved(folder: SweepFolder, overrides: Mapping[str, Any]) -> Spec:
    """Return the spec that a sweep's folder holds, with ``overrides`` on top.

    Raises:
        SpecError: the file is missing or invalid.
    """
    try:
        text = folder.spec.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or "it is no UTF-8"
        raise SpecError(str(folder.spec), f"cannot be read ({problem})", "`sweep run` writes it again") from error
    return parse_resolved(text, where=str(folder.spec), name=folder.name, overrides={**overrides, "name": folder.name})


@dataclass(frozen=True)
class Stage:
    """A part of a benchmark: some runs of a spec, and what is written in place of the spec."""

    run_ids: Collection[str]  # those of the spec that are trained
    text: str  # of the folder's sweep.toml
    planned: Callable[[Ledger], None]  # called after the runs are planned
    continues: bool = False  # runs of other packs are continued from their checkpoints


@dataclass(frozen=True)
class DriveOptions:
    """How :func:`drive` runs a sweep. None of it is kept in the sweep."""

    dry_run: bool = False  # only show what would be trained
    fail_fast: bool = False  # the first failure ends the sweep
    retry_failed: bool = False  # also retry runs that failed before
    resuming: bool = False  # the spec is that of the folder's own sweep.toml
    in_process: bool = False  # train in this process, without Ray
    stage: Stage | None = None  # a part of a benchmark
    from_file: frozenset[str] = frozenset()  # keys of the spec (sweep.folder.trust) whose values come from a file
    ray: ExitStack | None = None  # keeps Ray open for further calls until it is closed; None: for this call only
    started: ExitStack | None = None  # has a Ray that was started before; the executor ends it
    data: DataSet | None = None  # that of the spec, if it is loaded already
    say_step: Callable[[str], None] = lambda step: None  # called with the next step; empty: training begins


def make_executor(options: DriveOptions) -> Executor:
    """Return the executor that trains the packs; without Ray where it is this process."""
    if options.in_process:
        from sweep.execution.in_process import InProcessExecutor

        return InProcessExecutor()
    from sweep.execution.ray.executor import RayExecutor

    return RayExecutor(options.ray, options.started)


DEFAULT_OPTIONS = DriveOptions()


def drive(spec: Spec, runs_dir: Path, console: Console, options: DriveOptions = DEFAULT_OPTIONS) -> Outcome | None:
    """Train the runs of ``spec`` that the ledger has not finished; return the outcome, or None for a dry run.

    The caller makes the tables, the figures and the report (``sweep.driver.outputs.make_outputs``).

    Args:
        spec: the spec of the sweep.
        runs_dir: the folder with the folders of the sweeps.
        console: where progress is printed. With ``in_process`` it should not be a terminal: a live view hides the
            prompt of a debugger.
        options: how the sweep is run.

    Raises:
        UserError: an error in the spec, the data or the folder; nothing has been trained.
        KeyboardInterrupt: Ctrl-C; the ledger is consistent, and the same command continues the sweep.
    """
    from sweep.folder.snapshot import published, sweep_storage
    from trainables.runtime.user_imports import in_sweep_folder

    if spec.benchmark is not None:
        raise SpecError(spec.name, "is a benchmark", f"sweep benchmark {spec.name}")
    check_trackers(spec.tracking.trackers)
    executor = make_executor(options)
    executor.check(spec, runs_dir)
    folder = SweepFolder(runs_dir, spec.name)
    check_trusted(folder, spec, options.from_file, resuming=options.resuming)
    storage = sweep_storage(spec)
    if in_sweep_folder(Path.cwd()):  # Ray puts the working directory before the libraries of its workers
        raise SweepFolderError(
            f"{Path.cwd()}: is inside a sweep's folder, where a file could be imported in place of a library; "
            "go to another directory"
        )
    spec.expanded()  # reports an error in the spec before the data is loaded
    if (data := options.data) is None:
        options.say_step(f"reading the data {spec.data}")
        data = load_spec_data(spec.data, spec.data_options)
    steps_per_epoch = math.ceil(len(data.train_labels) / spec.protocol.batch_size)
    spec, model = plan_model(spec, data.classes)
    found = resolve_configurations(spec, steps_per_epoch, len(data.train_labels), model.layout)
    configurations = model.configurations(found)
    spec = spec.model_copy(update={"reference": reference_id(spec.reference, configurations)})
    runs = make_runs(spec, configurations, data.fingerprint)
    stage = options.stage
    if stage is not None:
        runs = [run for run in runs if run.run_id in stage.run_ids]
    if data.notes:
        tell(console, f"data {data.name}: {'; '.join(data.notes)}")
    tell(console, *model.lines(), *told_own_packs(configurations), *told_restarts(configurations))
    if options.dry_run:
        _tell_plan(console, spec, runs, folder, len(data.train_labels) * model.cost, options.retry_failed)
        return None
    with _driven(folder, lambda text: tell(console, text)) as control, Ledger.create_or_open(folder.ledger) as ledger:
        planned_before = folder.spec.exists()
        check_same_protocol(ledger, folder, runs[0])
        check_same_reference(ledger, spec)
        if stage is None and benchmark_in(ledger.kept_spec() or "") is not None:
            raise SpecError(spec.name, "is the name of a benchmark", "start the sweep under another name: --name NAME")
        left = left_to_train(ledger, spec, runs, options.retry_failed)
        tell_edits(console, ledger, folder, options.resuming)
        tell_start(console, spec, runs, left, data)
        if stage is None:
            tell_changes(console, ledger, spec, runs, left, folder)
        with ExitStack() as stack:
            snapshots = None
            if storage is not None:
                snapshots = stack.enter_context(
                    published(folder, storage, lambda text: tell(console, text), control.driver)
                )
                if planned_before:  # else there is nothing to resume
                    control.serve(ControlStorage(storage))
            packs: list[Pack] = []
            if left.to_train:  # refuses what has no place before anything is written
                options.say_step(executor.opening)
                resources = stack.enter_context(
                    executor.open(spec, configurations, lambda text: tell(console, text), lambda: control.asked)
                )
                options.say_step("choosing the pack size and the threads")
                chosen, line = choose_kernels(spec, left.wanted, ledger, data)
                tell(console, *filter(None, [line]))
                packing, at_a_time = choose_packing(chosen, left, folder, ledger, data, executor, model.cost)
                packs = longest_first(packs_left(ledger, left, packing.size), spec.epochs, ledger.epochs_recorded())
                tell(console, packing.told([len(pack.runs) for pack in packs], at_a_time))
                chosen = _as_chosen(chosen, packing, executor.gpus_per_trial(chosen, packs, data, ledger))
                measured = executor.gpu_kernels(chosen, packs, data, ledger)
                write_provenance(folder, data, dict(resources), packing.to_dict(), own_code(runs))
                if packing.chosen:
                    ledger.keep_packing(device_kind(spec.resources), json.dumps(packing.to_dict()))
            ledger.plan(runs, spec.epochs, data_name=data.name, synthetic=data.synthetic)
            if stage is not None:
                stage.planned(ledger)
            keep_facts(ledger, DataFacts(data.title, data.classes, len(data.val_labels), len(data.test_labels)))
            if packs:
                ledger.plan_packs([(pack.pack_id, pack.run_ids) for pack in packs], str(packing.size))
            if stage is not None and stage.continues:
                join_checkpoints(folder, spec, ledger, packs)
            if options.retry_failed:
                ledger.retry([run.run_id for run in runs])
            text = stage.text if stage else spec_text(spec, configurations)
            write_atomically(folder.spec, text)
            remember(folder, spec)
            if storage is not None and not planned_before:
                control.serve(ControlStorage(storage))
            ledger.keep_spec(text)
            ledger.interrupt()  # runs that an earlier driver left in the state "running"
            if packs:
                progress = _progress(chosen, runs, ledger, console)
                options.say_step("")
                with tracking_of(folder, ledger, spec.tracking.trackers, progress.say) as tracking:
                    session = SweepSession(
                        chosen,
                        folder,
                        ledger,
                        data,
                        progress,
                        control,
                        snapshots,
                        tracking,
                        options.fail_fast,
                        measured,
                    )
                    try:
                        with progress:
                            train_packs(session, packs, executor)
                    finally:
                        ledger.interrupt()
        return Outcome(folder, ledger.statuses(), progress.mean_rate if packs else None)


@contextmanager
def _driven(folder: SweepFolder, say: Callable[[str], None] = lambda text: None) -> Iterator[Control]:
    """Create the folder, acquire its lease, and serve requests from other terminals.

    A new folder is removed again if a user error or Ctrl-C ends the sweep before it is planned.
    """
    new = not folder.path.exists()
    folder.create()
    with Lease(FolderLease(folder.lock), say=say) as lease:  # no other process uses a folder that is removed
        remove_unfinished(folder)
        try:
            with Control(lease.holder) as control:
                control.serve(ControlFolder(folder.control))
                yield control
        except (UserError, KeyboardInterrupt):
            if new and not folder.spec.exists():
                with suppress(FileNotFoundError):  # Ray deleted the folder with its job
                    shutil.rmtree(folder.path)
            raise


def _progress(spec: Spec, runs: Sequence[Run], ledger: Ledger, console: Console) -> Progress:
    labels = configuration_labels(list(dict.fromkeys(run.configuration for run in runs)))
    names = {run.run_id: f"{labels[run.configuration.configuration_id]}, seed {run.seed}" for run in runs}
    return Progress(runs, Recorded.of(ledger), spec.epochs, names, console)


def _as_chosen(spec: Spec, packing: Packing, gpus: float) -> Spec:
    """Return ``spec`` with the chosen numbers of CPUs and GPUs in place of `auto`."""
    cpus = spec.resources.cpus if spec.resources.cpus_per_trial != "auto" else float(packing.threads)
    resources = spec.resources.model_copy(update={"cpus_per_trial": cpus, "gpus_per_trial": gpus})
    return spec.model_copy(update={"resources": resources})


def _tell_plan(
    console: Console, spec: Spec, runs: Sequence[Run], folder: SweepFolder, examples: float, retry_failed: bool
) -> None:
    """Print what would be trained; nothing is written. ``examples`` is multiplied by the cost of the model."""
    with ExitStack() as stack:
        ledger = None
        if folder.ledger.exists():
            folder.check_links()
            ledger = stack.enter_context(Ledger.open_read_only(folder.ledger))
            check_same_protocol(ledger, folder, runs[0])
            tell_edits(console, ledger, folder, resuming=False)
        left = left_to_train(ledger, spec, runs, retry_failed)
        size, _, _ = known_packing(spec, ledger)
        packs = packs_left(ledger, left, size or DEFAULT_PACK)
        one_run = spec.epochs * examples * SECONDS_PER_EXAMPLE
        hours = one_run * sum(len(pack.runs) for pack in packs) / 3600
        tell(
            console,
            f"sweep {spec.name}: {counted(len(runs), 'run')} "
            f"({counted(len(runs) // len(spec.seed_list), 'configuration')} × {counted(len(spec.seed_list), 'seed')}), "
            f"{counted(spec.epochs, 'epoch')} each, on {spec.data}",
            f"{len(left.finished)} of them are finished, {left.to_train} are left, "
            f"in {counted(len(packs), 'pack')}"
            + ("" if size else f" of up to {DEFAULT_PACK}; the pack size is chosen when the sweep starts"),
        )
        if ledger is not None:
            tell_changes(console, ledger, spec, runs, left, folder)
        tell(
            console,
            f"expected: about {hours:.2f} CPU-hours in total, estimated for one CPU thread"
            f" ({duration(one_run)} per run); divide by the number of concurrent trials",
        )
    labels = configuration_labels(list(dict.fromkeys(run.configuration for run in runs)))
    for pack in packs[:PACKS_SHOWN]:
        names = "; ".join(f"{labels[run.configuration.configuration_id]} seed {run.seed}" for run in pack.runs)
        tell(console, f"  pack {pack.pack_id}: {names}")
    if len(packs) > PACKS_SHOWN:
        tell(console, f"  and {counted(len(packs) - PACKS_SHOWN, 'more pack')}")
