"""A sweep as an Optuna study in SQLite: one trial for each run, its value is the final validation accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from results.ledger.arrays import load_sweep
from results.ledger.ledger import Ledger
from search_spaces.atomic_write import atomic_write
from search_spaces.errors import SweepFolderError
from sweep.folder.paths import SweepFolder
from sweep.tracking.tracked_run import Epoch, TrackedRun, recorded_epochs, tracked_runs

STATES = {
    "done": TrialState.COMPLETE, "diverged": TrialState.COMPLETE, "failed": TrialState.FAIL,
    "running": TrialState.RUNNING, "interrupted": TrialState.RUNNING,
}  # fmt: skip
"""State of a run → Optuna's state; any other run is waiting."""
VALUE = "final validation accuracy (%)"
"""What the value of a trial is."""
LOG_FACTOR = 10
"""A positive parameter whose largest value is at least this times its smallest one is on a logarithmic scale."""


def write_study(folder: SweepFolder, out: Path) -> Path:
    """Write ``optuna.db`` with one study, which has the sweep's name; an older file is replaced.

    A diverged run has chance as its value, as in the tables. The seed and the configuration's label are attributes
    of a trial, not parameters.

    Raises:
        LedgerError: the ledger cannot be read.
        SweepFolderError: the file cannot be written.
    """
    with Ledger.open_read_only(folder.ledger) as ledger:
        runs, epochs = tracked_runs(ledger, folder.name), recorded_epochs(ledger)
    sweep = load_sweep(folder.ledger, folder.name)
    finals = {
        run_id: (float(val), float(test))
        for group in sweep.configurations
        for run_id, val, test in zip(
            group.counted_ids, group.final, group.accuracy("test")[:, -1], strict=True
        )
    }  # fmt: skip
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = out / "optuna.db"
    facts = {
        "value": "final validation accuracy (%)", "data": sweep.data_name, "epochs": sweep.epochs,
        "synthetic": sweep.synthetic,
    }  # fmt: skip
    try:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as unfinished:
            storage = optuna.storages.RDBStorage(f"sqlite:///{unfinished.absolute()}")
            study = optuna.create_study(storage=storage, study_name=folder.name, direction="maximize")
            for key, value in facts.items():
                study.set_user_attr(key, value)
            study.add_trials(_trials(runs, epochs, finals))
            storage.remove_session()
            storage.engine.dispose()
    except OSError as error:
        raise SweepFolderError(f"{path}: cannot be written ({error.strerror}); give another --out") from error
    return path


def _trials(
    runs: Sequence[TrackedRun], epochs: Sequence[Epoch], finals: Mapping[str, tuple[float, float]]
) -> list[FrozenTrial]:
    parameters = [{key: _plain(value) for key, value in run.parameters.items() if key != "seed"} for run in runs]
    distributions = _distributions(parameters)
    by_run: dict[str, list[Epoch]] = {}
    for epoch in epochs:
        by_run.setdefault(epoch.run_id, []).append(epoch)
    trials = []
    for number, (run, given) in enumerate(zip(runs, parameters, strict=True)):
        state = STATES.get(run.status, TrialState.WAITING)
        val, test = finals.get(run.run_id, (None, None))
        if state == TrialState.COMPLETE and val is None:  # a divergence in a run without an accuracy for every epoch
            state = TrialState.FAIL
        of_run = by_run.get(run.run_id, [])
        moments = (of_run[0].begun, of_run[-1].time) if of_run else ()
        times = [datetime.fromtimestamp(moment, UTC).replace(tzinfo=None) for moment in moments]
        attributes = {"configuration": run.label, "seed": run.seed, "run_id": run.run_id, "status": run.status}
        if test is not None and test == test:
            attributes["test_acc"] = test
        trials.append(
            FrozenTrial(
                number=number, trial_id=number, state=state,
                value=val if state == TrialState.COMPLETE else None, values=None,
                datetime_start=times[0] if times else datetime.now(UTC).replace(tzinfo=None),
                datetime_complete=times[-1] if times and state.is_finished() else None,
                params=given, distributions={key: distributions[key] for key in given},
                user_attrs=attributes, system_attrs={},
                intermediate_values={one.epoch: one.values["val_acc"] for one in of_run if "val_acc" in one.values},
            )
        )  # fmt: skip
        if state.is_finished() and trials[-1].datetime_complete is None:
            trials[-1].datetime_complete = trials[-1].datetime_start
    return trials


def _distributions(rows: Sequence[Mapping[str, Any]]) -> dict[str, BaseDistribution]:
    """Return the distribution of each parameter over all runs: a range of numbers, or a list of choices."""
    found: dict[str, BaseDistribution] = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = list(dict.fromkeys(row[key] for row in rows if key in row))
        kinds = {type(value) for value in values}
        if kinds <= {int, float} and len(values) > 1:
            low, high = min(values), max(values)
            log = low > 0 and high >= LOG_FACTOR * low
            found[key] = (
                IntDistribution(low, high, log=log)
                if kinds == {int}
                else FloatDistribution(float(low), float(high), log=log)
            )
        else:
            found[key] = CategoricalDistribution(values)
    return found


def _plain(value: Any) -> Any:
    """Return a value that Optuna can store as a choice or a number."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
