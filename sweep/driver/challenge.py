"""`sweep challenge`: one published run is trained again, in its pack, and compared with what was published."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from results.reports.baseline import ALL, MEASURED, Baseline, prediction_interval, published, read_baselines
from search_spaces import Configuration, Protocol, Run
from search_spaces.errors import SpecError, UnknownNameError
from search_spaces.run import TRAINING_VERSION

SAME, WITHIN, OTHER = "the same to the bit", "within its interval", "outside its interval"


@dataclass(frozen=True)
class Challenge:
    """A published run and the same run trained again."""

    row: dict[str, Any]
    found: dict[str, float | None]  # the measurements after the last epoch
    verdict: str
    split: str
    interval: tuple[float, float]

    @property
    def holds(self) -> bool:
        """Whether the published value is confirmed."""
        return self.verdict != OTHER

    def sentence(self) -> str:
        """Return the verdict with both values."""
        key = f"{self.split}_acc"
        then, now = (float("nan") if value is None else value for value in (self.row[key], self.found[key]))
        low, high = self.interval
        run = f"{self.row['run_id']} ({self.row['method']}, {self.row['phase']}, seed {self.row['seed']})"
        return (
            f"{run}: {self.verdict}; "
            f"{self.split} accuracy {then:.2f} % published, {now:.2f} % now, "
            f"interval of a further run {low:.2f} to {high:.2f} %"
        )


def published_row(place: str) -> tuple[Baseline, dict[str, Any]]:
    """Return the published run that ``place`` names: a run id or its beginning, or a baseline.

    Of a baseline it is the first evaluation run of the method with the highest mean test accuracy.

    Raises:
        UnknownNameError: there is neither such a run nor such a baseline.
    """
    try:
        baseline = read_baselines(place)[0]
    except UnknownNameError:
        for baseline in read_baselines(ALL) if published() else []:
            rows = baseline.runs[baseline.runs["run_id"].str.startswith(place)]
            if rows["run_id"].nunique() == 1:
                return baseline, _as_dict(rows.sort_values("epochs").iloc[-1])
        raise UnknownNameError("run or baseline", place, [*published(), "RUN", "FOLDER"]) from None
    evaluation = baseline.runs[baseline.runs["phase"] == "evaluation"]
    best = evaluation.groupby("method")["test_acc"].mean().idxmax()
    return baseline, _as_dict(evaluation[evaluation["method"] == best].sort_values("seed").iloc[0])


def _as_dict(row: pd.Series[Any]) -> dict[str, Any]:
    return {str(key): value for key, value in row.items()}


def challenge(place: str, data_source: str, say: Callable[[str], None] = lambda text: None) -> Challenge:
    """Train a published run again, with the runs of its pack and with its number of threads, and compare.

    Args:
        place: see :func:`published_row`.
        data_source: the data, as ``data`` of a spec; its ``labels`` and ``max_images`` are those of the baseline.
        say: called with a line after every epoch.

    Raises:
        UnknownNameError: see :func:`published_row`.
        SpecError: other data, another training version, a run that was changed, or code that is not listed.
    """
    import torch

    from trainables.data.dataset import load_data
    from trainables.runtime.devices import training_device
    from trainables.training.loop import train
    from trainables.training.messages import Assignment

    baseline, row = published_row(place)
    protocol = Protocol.from_dict(baseline.facts["protocol"])
    data = load_data(data_source, val_fraction=protocol.val_fraction, **baseline.data_options)
    for key, then, now in (
        ("training_version", baseline.facts["training_version"], TRAINING_VERSION),
        ("data", baseline.facts["data"], data.fingerprint),
    ):
        if then != now:
            raise SpecError(
                key, f"{now!s:.20}, but the baseline {baseline.name!r} has {then!s:.20}",
                "give its data with --data" if key == "data" else "use the version of lenet-sweep that trained it",
            )  # fmt: skip
    known = baseline.runs.drop_duplicates("run_id").set_index("run_id")
    ids = [run_id for run_id in json.loads(row["members"]) if run_id in known.index]
    runs = [
        Run(Configuration.from_dict(json.loads(known.loc[run_id, "configuration"])), int(known.loc[run_id, "seed"]),
            protocol, data.fingerprint)
        for run_id in ids
    ]  # fmt: skip
    _check_runs(baseline, runs, ids)
    epochs, tuning = int(row["epochs"]), row["phase"] == "tuning"
    threads = torch.get_num_threads()
    torch.set_num_threads(int(row["threads"]))
    found: dict[str, float | None] = dict.fromkeys(MEASURED)
    try:
        assignment = Assignment("challenge", runs, epochs, frozenset() if tuning else frozenset({epochs}))
        for report in train(assignment, data, training_device(False)):
            for measured in report.rows:
                if measured.run_id == row["run_id"]:
                    say(f"epoch {measured.epoch} of {epochs}: validation {measured.val_acc:.2f} %")
                    found = {key: getattr(measured, key) for key in MEASURED} if measured.epoch == epochs else found
    finally:
        torch.set_num_threads(threads)
    return _compared(baseline, row, found, "val" if tuning else "test")


def _check_runs(baseline: Baseline, runs: Sequence[Run], ids: Sequence[str]) -> None:
    """Refuse runs that are not those of their ids, and code that the spec of the baseline does not list.

    Raises:
        SpecError: the baseline was changed, or names code of a package that is not listed.
    """
    from trainables.optim.plugins import check_allowed
    from trainables.runtime.user_imports import check_named

    for run, run_id in zip(runs, ids, strict=True):
        where = f"baseline {baseline.name}, run {run_id}"
        if run.run_id != run_id:
            raise SpecError(
                where, "its configuration, seed or protocol is that of another run", "get the baseline again"
            )
        check_allowed(run.configuration, baseline.packages, where)
        if ":" in run.protocol.model:
            check_named(run.protocol.model, baseline.packages, f"{where}: model")


def _compared(baseline: Baseline, row: dict[str, Any], found: dict[str, float | None], split: str) -> Challenge:
    key = f"{split}_acc"
    same = all(row[name] == found[name] or (row[name] != row[name] and found[name] is None) for name in MEASURED)
    runs = baseline.runs
    group = runs[(runs["phase"] == row["phase"]) & (runs["method"] == row["method"]) & (runs["point"] == row["point"])]
    low, high = prediction_interval(group[key].dropna().tolist())
    value = found[key]
    inside = value is not None and low <= value <= high
    return Challenge(row, found, SAME if same else WITHIN if inside else OTHER, split, (low, high))
