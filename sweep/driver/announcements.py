"""What a driver prints before it trains, and which runs are left to train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console

from results.ledger.ledger import Ledger
from search_spaces import Run
from search_spaces.plain_text import counted
from sweep.config.spec import Spec
from sweep.driver.changes import announce_changes, spec_edits
from sweep.folder.paths import SweepFolder, resume_command
from sweep.planning.plan import Pack, make_packs

if TYPE_CHECKING:
    from trainables.data.dataset import DataSet


@dataclass(frozen=True)
class Left:
    """What is left to train: the runs to train, the ids of the finished ones among them, and the failed runs."""

    wanted: list[Run]
    finished: set[str]
    failed: set[str]

    @property
    def to_train(self) -> int:
        """How many runs have no result yet and get one."""
        return len(self.wanted) - len(self.finished)


def left_to_train(ledger: Ledger | None, spec: Spec, runs: Sequence[Run], retry_failed: bool) -> Left:
    """Return what is left to train; ``ledger`` is None for a new sweep.

    Without a retry, a failed run is left out: its pack is split, and the members without a result get new packs and
    start again. With a retry, the failed run is trained like any other, and its pack is continued unchanged.
    """
    if ledger is None:
        return Left(list(runs), set(), set())
    ids = [run.run_id for run in runs]
    finished = ledger.finished(ids, spec.epochs)
    failed = set() if retry_failed else ledger.failed(ids, spec.epochs)
    return Left([run for run in runs if run.run_id not in failed], finished, failed)


def packs_left(ledger: Ledger | None, left: Left, size: int) -> list[Pack]:
    """Return the packs to train, with new packs of at most ``size`` runs."""
    return make_packs(left.wanted, left.finished, ledger.packs(str(size)) if ledger else {}, size)


def tell_start(console: Console, spec: Spec, runs: Sequence[Run], left: Left, data: DataSet) -> None:
    """Print the size of the sweep, and how much of it is left."""
    made = " (generated images, not CIFAR-100)" if data.synthetic else ""
    text = f"sweep {spec.name}: {counted(len(runs), 'run')}, {counted(spec.epochs, 'epoch')}, data {data.name}{made}; "
    if left.to_train:
        text += f"{len(left.finished)} done before, {left.to_train} to train"
    elif left.failed:
        text += f"{len(left.finished)} done before, nothing to train"
    else:
        text += "all done before, nothing to train"
    tell(console, text)


def tell_changes(
    console: Console, ledger: Ledger, spec: Spec, runs: Sequence[Run], left: Left, folder: SweepFolder
) -> None:
    """Print what this changes in the ledger, and which runs stay failed."""
    tell(console, *(f"  {line}" for line in announce_changes(ledger, runs, spec.epochs)))
    if left.failed:
        again = resume_command(folder.name, folder.runs_dir, retry_failed=True)
        tell(console, f"  {len(left.failed)} failed before; to retry: {again}")


def tell_edits(console: Console, ledger: Ledger, folder: SweepFolder, resuming: bool) -> None:
    """Report manual edits of the folder's spec: `sweep resume` applies them, `sweep run` overwrites them."""
    written = ledger.kept_spec()
    if written is None or not folder.spec.exists():
        return
    present = folder.spec.read_text(encoding="utf-8", errors="replace")
    if present != written:
        then = "this command applies the edit" if resuming else "`run` ignores this edit; `resume` applies it"
        edits = "; ".join(spec_edits(written, present))
        tell(console, f"{folder.spec} was edited since sweep wrote it: {edits}; {then}")


def tell(console: Console, *lines: str) -> None:
    """Print lines as they are."""
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
