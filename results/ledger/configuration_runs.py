"""The runs of one configuration as arrays: one row per run, one column per epoch."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from results.ledger.data_facts import OF_CIFAR100, DataFacts
from results.metrics.intervals import Estimate, mean_over_runs
from results.metrics.stability import at_chance
from search_spaces import Configuration
from search_spaces.labels import configuration_labels
from search_spaces.plain_text import plain_text

CURVES = (
    "train_loss", "train_acc", "val_loss", "val_acc", "test_loss", "test_acc",
    "lr", "lr_first", "lr_last", "epoch_seconds",
)  # fmt: skip

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ConfigurationRuns:
    """One configuration and its n planned runs, in the order of their seeds.

    ``curves`` holds ``[n, E]`` for each name in :data:`CURVES`, NaN if missing in the ledger.
    """

    configuration: Configuration
    label: str
    run_ids: tuple[str, ...]
    seeds: tuple[int, ...]
    statuses: tuple[str, ...]
    diverged_epochs: Floats  # [n], from 1; NaN for a run that did not diverge
    curves: dict[str, Floats]
    facts: DataFacts = OF_CIFAR100

    @property
    def configuration_id(self) -> str:
        """The configuration's id."""
        return self.configuration.configuration_id

    @cached_property
    def columns(self) -> dict[str, Any]:
        """The configuration, flat: ``optimizer``, ``optimizer.lr``, …"""
        return self.configuration.columns()

    @cached_property
    def counted(self) -> npt.NDArray[np.bool_]:
        """Boolean ``[n]``: runs with a result, done or diverged, with an accuracy for every epoch."""
        counts = np.array([status in ("done", "diverged") for status in self.statuses], dtype=np.bool_)
        counts[counts] = np.isfinite(self._with_chance("val", counts)).all(axis=1)
        return counts

    @cached_property
    def counted_ids(self) -> tuple[str, ...]:
        """Run ids of the counted runs."""
        return tuple(run_id for run_id, counts in zip(self.run_ids, self.counted, strict=True) if counts)

    @cached_property
    def counted_seeds(self) -> tuple[int, ...]:
        """Seeds of the counted runs."""
        return tuple(seed for seed, counts in zip(self.seeds, self.counted, strict=True) if counts)

    def accuracy(self, split: str = "val") -> Floats:
        """Return the accuracy ``[k, E]`` in percent of the k counted runs; chance from a divergence on."""
        return self._with_chance(split, self.counted)

    def _with_chance(self, split: str, runs: npt.NDArray[np.bool_]) -> Floats:
        values = self.curves[f"{split}_acc"][runs]
        epochs = np.arange(1, values.shape[1] + 1)
        return np.where(epochs >= self.diverged_epochs[runs, None], self.facts.chance, values)

    @cached_property
    def diverged(self) -> npt.NDArray[np.bool_]:
        """Boolean ``[k]``: counted runs that diverged."""
        return np.isfinite(self.diverged_epochs[self.counted])

    @cached_property
    def final(self) -> Floats:
        """Validation accuracy ``[k]`` in percent after the last epoch."""
        return self.accuracy()[:, -1]

    @cached_property
    def trained(self) -> npt.NDArray[np.bool_]:
        """Boolean ``[k]``: counted runs that did not diverge and did not end at chance on validation."""
        return ~self.diverged & ~at_chance(self.final, self.facts.classes)

    def mean(self, split: str = "val") -> Estimate:
        """Return the mean final accuracy in percent, without an interval where a run did not train."""
        return mean_over_runs(self.accuracy(split)[:, -1], ~self.trained)

    def mean_under(self, seeds: Collection[int]) -> float:
        """Return the mean final validation accuracy in percent of the counted runs under ``seeds``."""
        return float(self.final[[seed in seeds for seed in self.counted_seeds]].mean())

    @property
    def n_done(self) -> int:
        """The number of counted runs."""
        return int(self.counted.sum())

    @property
    def share_of_runs(self) -> str:
        """The number of counted runs, and the status of the others: ``2 of 3 (1 failed)``."""
        without = [
            "without an accuracy for every epoch" if status in ("done", "diverged") else status
            for status, counts in zip(self.statuses, self.counted, strict=True)
            if not counts
        ]
        words = [f"{without.count(status)} {status}" for status in dict.fromkeys(without)]
        return f"{len(self.run_ids) - len(without)} of {len(self.run_ids)}" + (
            f" ({', '.join(words)})" if words else ""
        )


class MeasuredCurves:
    """The measured values of the runs that have begun; the other runs have no memory for their epochs."""

    def __init__(self, rows: Sequence[tuple[Any, ...]], epochs: int) -> None:
        """``rows`` are run id, epoch, and the values of :data:`CURVES`; later epochs than ``epochs`` are left out."""
        self._place_of = {run_id: place for place, run_id in enumerate(dict.fromkeys(row[0] for row in rows))}
        self._cube = np.full((len(self._place_of), epochs, len(CURVES)), np.nan)
        if rows:
            table = np.array([row[1:] for row in rows], dtype=np.float64)  # None becomes NaN
            places = np.array([self._place_of[row[0]] for row in rows], dtype=np.int64)
            epoch_index = table[:, 0].astype(np.int64) - 1
            planned = epoch_index < epochs
            self._cube[places[planned], epoch_index[planned]] = table[planned, 1:]

    def of(self, run_ids: Sequence[str], epochs: int | None = None) -> dict[str, Floats]:
        """Return ``[runs, epochs]`` for each name in :data:`CURVES`, up to an epoch; NaN if missing in the ledger."""
        cube = self._cube[:, :epochs]
        begun = [place for place, run_id in enumerate(run_ids) if run_id in self._place_of]
        if not begun:
            return dict.fromkeys(CURVES, np.broadcast_to(np.nan, (len(run_ids), cube.shape[1])))
        found = np.full((len(run_ids), *cube.shape[1:]), np.nan)
        found[begun] = cube[[self._place_of[run_ids[place]] for place in begun]]
        return {name: found[..., i] for i, name in enumerate(CURVES)}


def _diverged_epoch(row: dict[str, Any]) -> float:
    """Return NaN for a run that did not diverge, or only after the planned epochs."""
    return float(row["diverged_epoch"]) if row["status"] == "diverged" else np.nan


def grouped_runs(
    rows: Sequence[dict[str, Any]], curves: MeasuredCurves, facts: DataFacts, epochs: int | None = None
) -> tuple[ConfigurationRuns, ...]:
    """Return the runs by configuration, in the order of ``rows``, up to an epoch."""
    members: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        members.setdefault(row["configuration"], []).append(row)
    configurations = {text: Configuration.from_dict(json.loads(text)) for text in members}
    labels = configuration_labels(list(configurations.values()))
    return tuple(
        ConfigurationRuns(
            configuration=configurations[text],
            label=plain_text(labels[configurations[text].configuration_id]),
            run_ids=tuple(row["run_id"] for row in group),
            seeds=tuple(row["seed"] for row in group),
            statuses=tuple(row["status"] for row in group),
            diverged_epochs=np.array([_diverged_epoch(row) for row in group]),
            curves=curves.of([row["run_id"] for row in group], epochs),
            facts=facts,
        )
        for text, group in members.items()
    )
