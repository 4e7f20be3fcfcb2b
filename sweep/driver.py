"""The driver of a sweep: what `sweep run` and `sweep resume` do, which is the same act."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from results.export import export
from results.ledger import Ledger
from search_spaces import Run
from search_spaces.errors import SpecError
from search_spaces.labels import configuration_labels
from sweep.folder import SweepFolder, write_aside
from sweep.plan import AUTO_PACK, Pack, make_packs, make_runs, resolve_configurations
from sweep.progress import Progress, duration
from sweep.spec import Spec, parse_spec, spec_text

SECONDS_PER_EXAMPLE = 7e-5
"""Training time of one image of one run on one CPU thread, in packs of four: only for `--dry-run`'s estimate."""


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended: the folder, and how many runs have each status."""

    folder: SweepFolder
    statuses: Mapping[str, str] = field(default_factory=dict)

    def count(self, status: str) -> int:
        """Return how many runs have ``status``."""
        return sum(1 for found in self.statuses.values() if found == status)

    @property
    def all_done(self) -> bool:
        """Whether every run has its result; a diverged run is one."""
        return all(status in ("done", "diverged") for status in self.statuses.values())


def read_resolved(folder: SweepFolder, overrides: Mapping[str, Any]) -> Spec:
    """Return the spec that a sweep's folder holds, with ``overrides`` on top.

    Raises:
        SpecError: the file is missing, or somebody made it unreadable.
    """
    try:
        text = folder.spec.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(str(folder.spec), f"cannot be read ({error.strerror})", "`sweep run` writes it anew") from error
    return parse_spec(text, where=str(folder.spec), name=folder.name, overrides=overrides)


def drive(
    spec: Spec, runs_dir: Path, console: Console, *, dry_run: bool = False, fail_fast: bool = False
) -> Outcome | None:
    """Train what ``spec`` asks for and the ledger does not have; export the tables; None for a dry run.

    Raises:
        UserError: anything in the spec, the data or the folder that cannot be; nothing has been trained then.
        KeyboardInterrupt: Ctrl-C; the ledger is consistent, and the same command goes on.
    """
    from trainables.dataset import load_data

    folder = SweepFolder(runs_dir, spec.name)
    spec.expanded()  # a slip in the spec is told before the data is waited for
    data = load_data(spec.data, val_fraction=spec.protocol.val_fraction)
    steps_per_epoch = math.ceil(len(data.train_labels) / spec.protocol.batch_size)
    configurations = resolve_configurations(spec, steps_per_epoch)
    runs = make_runs(spec, configurations, data.fingerprint)
    _check_same_protocol(folder, runs[0])
    size = AUTO_PACK if spec.resources.pack == "auto" else spec.resources.pack

    if dry_run:
        finished, earlier = _on_record(folder, runs, spec.epochs)
        packs = make_packs(runs, finished, earlier, size)
        _tell_plan(console, spec, runs, finished, packs, len(data.train_labels))
        return None

    folder.create()
    with Ledger.create_or_open(folder.ledger) as ledger:
        ledger.plan(runs, spec.epochs, data_name=data.name, synthetic=data.synthetic)
        write_aside(folder.spec, spec_text(spec, configurations))
        ledger.interrupt()  # what an earlier driver left running runs no more
        finished = ledger.finished([run.run_id for run in runs], spec.epochs)
        packs = make_packs(runs, finished, ledger.packs(), size)
        _tell_start(console, spec, runs, finished, packs, data.name, data.synthetic)
        if packs:
            labels = configuration_labels(configurations)
            progress = Progress(
                runs, ledger.statuses(), spec.epochs, ledger.epochs_recorded(),
                {run.run_id: f"{labels[run.configuration.configuration_id]}, seed {run.seed}" for run in runs}, console,
            )  # fmt: skip
            _train(spec, packs, data, folder, ledger, progress, fail_fast)
        outcome = Outcome(folder, ledger.statuses())
    export(folder.ledger, folder.tables, ["csv"])
    return outcome


def _train(
    spec: Spec, packs: Sequence[Pack], data: Any, folder: SweepFolder, ledger: Ledger, progress: Progress,
    fail_fast: bool,
) -> None:  # fmt: skip
    from sweep.provenance import write_provenance
    from sweep.runner import check_resources, ray_session, train_packs

    try:
        with ray_session(spec.resources.address) as available:
            check_resources(spec, available)
            write_provenance(folder, data, available)
            with progress:
                train_packs(spec, packs, data, folder, ledger, progress, fail_fast=fail_fast)
    finally:
        ledger.interrupt()


def _on_record(folder: SweepFolder, runs: Sequence[Run], epochs: int) -> tuple[set[str], dict[str, list[str]]]:
    """Return the finished runs and the earlier packs, of a sweep that may not have begun."""
    if not folder.ledger.exists():
        return set(), {}
    with Ledger.open_read_only(folder.ledger) as ledger:
        return ledger.finished([run.run_id for run in runs], epochs), ledger.packs()


def _check_same_protocol(folder: SweepFolder, run: Run) -> None:
    """Refuse to continue a sweep under another protocol or on other data: its rows would not compare."""
    if not folder.ledger.exists():
        return
    with Ledger.open_read_only(folder.ledger) as ledger:
        before = ledger.protocol()
    if before is None:
        return
    now = {**run.protocol.to_dict(), "data": run.data_fingerprint}
    for key, value in now.items():
        if before.get(key, value) != value:
            raise SpecError(
                key, f"the sweep {folder.name!r} was begun with {before[key]}, this asks for {value}",
                "begin another one with --name",
            )  # fmt: skip


def _tell_plan(
    console: Console, spec: Spec, runs: Sequence[Run], finished: set[str], packs: Sequence[Pack], examples: int
) -> None:
    todo = len(runs) - len(finished)
    one_run = spec.epochs * examples * SECONDS_PER_EXAMPLE
    hours = one_run * sum(len(pack.runs) for pack in packs) / 3600
    lines = [
        f"sweep {spec.name}: {len(runs)} runs ({len(runs) // len(spec.seed_list)} configurations × "
        f"{len(spec.seed_list)} seeds), {spec.epochs} epochs each, on {spec.data}",
        f"the ledger has {len(finished)} of them, {todo} are left, in {len(packs)} packs",
        f"expected: about {hours:.2f} CPU-hours in all, by a rule of thumb of one CPU thread"
        f" ({duration(one_run)} a run); divide by the trials that train at a time",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    labels = configuration_labels(list(dict.fromkeys(run.configuration for run in runs)))
    for pack in packs:
        names = "; ".join(f"{labels[run.configuration.configuration_id]} seed {run.seed}" for run in pack.runs)
        console.print(f"  pack {pack.pack_id}: {names}", highlight=False, markup=False, soft_wrap=True)


def _tell_start(
    console: Console, spec: Spec, runs: Sequence[Run], finished: set[str], packs: Sequence[Pack], data_name: str,
    synthetic: bool,
) -> None:  # fmt: skip
    made = " (made from a seed: not CIFAR-100)" if synthetic else ""
    text = f"sweep {spec.name}: {len(runs)} runs, {spec.epochs} epochs, data {data_name}{made}; "
    if packs:
        text += f"{len(finished)} done before, {len(runs) - len(finished)} to train in {len(packs)} packs"
    else:
        text += "all done before, nothing to train"
    console.print(text, highlight=False, markup=False, soft_wrap=True)
