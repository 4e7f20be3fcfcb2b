"""The command that follows on the results of a sweep, with the time that it takes."""

from __future__ import annotations

from dataclasses import dataclass

from results.ledger.arrays import SweepData
from results.ledger.ledger import Ledger
from results.ledger.queries import training_rate
from results.tables.comparison import compare_best
from search_spaces.errors import SweepFolderError
from sweep.driver.finalists import DEFAULT_SEEDS, DEFAULT_TOP, UNFINISHED, best_of_families
from sweep.folder.paths import CONFIRMATION, SweepFolder, resume_command, sweep_command
from sweep.folder.status import duration


@dataclass(frozen=True)
class NextStep:
    """A command, and how many seconds it takes; None if that is not known."""

    command: str
    seconds: float | None = None

    def __str__(self) -> str:
        return self.command + ("" if self.seconds is None else f" (about {rough(self.seconds)})")


def rough(seconds: float) -> str:
    """Return an estimated time: ``40 s``, ``4 min``, ``2 h 05 min``."""
    if 60 <= seconds < 3570:
        return f"{round(seconds / 60)} min"
    return duration(seconds)


def next_step(folder: SweepFolder, sweep: SweepData, rate: float | None = None) -> NextStep:
    """Return the next command: resume the sweep, retry its failed runs, confirm its best, or look at the report.

    ``rate`` is in run-epochs per second; None: that of the trials in the ledger.
    """
    if rate is None:
        with Ledger.open_read_only(folder.ledger) as ledger:
            rate = training_rate(ledger)
    statuses = [status for group in sweep.configurations for status in group.statuses]
    if any(status in UNFINISHED for status in statuses):
        return NextStep(resume_command(folder.name, folder.runs_dir), _seconds(_epochs_left(sweep), rate))
    if "failed" in statuses:
        return NextStep(resume_command(folder.name, folder.runs_dir, retry_failed=True))
    report = NextStep(sweep_command("report", folder.name, folder.runs_dir, "--open"))
    if sweep.benchmark is not None:  # its evaluation has new seeds already
        whole = len(sweep.benchmark.evaluated) == len(sweep.benchmark.methods)
        return report if whole else NextStep(resume_command(folder.name, folder.runs_dir))
    confirmation = folder.confirmation
    if confirmation is None:
        return _more_seeds(folder, sweep, rate) or report
    if confirmation.ledger.exists() or sweep.reference_id:
        return report
    try:
        chosen = best_of_families(sweep, DEFAULT_TOP)
    except SweepFolderError:
        return report
    seconds = _seconds(len(chosen) * DEFAULT_SEEDS * sweep.epochs, rate)
    return NextStep(sweep_command("confirm", folder.name, folder.runs_dir), seconds)


def _more_seeds(folder: SweepFolder, sweep: SweepData, rate: float | None) -> NextStep | None:
    """Return the command that doubles the seeds of a confirmation; None where every comparison is decided."""
    compared = compare_best(sweep)
    if compared is None or not compared.undecided:
        return None
    seeds = len({seed for group in sweep.configurations for seed in group.seeds})
    command = sweep_command(
        "confirm", folder.name.removesuffix(CONFIRMATION), folder.runs_dir, "--seeds", str(2 * seeds)
    )
    return NextStep(command, _seconds(len(sweep.configurations) * seeds * sweep.epochs, rate))


def _epochs_left(sweep: SweepData) -> int:
    """Return how many epochs the unfinished runs have left."""
    left = 0
    for group in sweep.configurations:
        for status, curve in zip(group.statuses, group.curves["epoch_seconds"], strict=True):
            if status in UNFINISHED:
                left += int((curve != curve).sum())  # NaN: not trained
    return left


def _seconds(run_epochs: int, rate: float | None) -> float | None:
    return run_epochs / rate if rate else None
