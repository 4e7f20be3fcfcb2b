"""The table of the learning rates of each step, from which a figure is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from results.figures.plot_data import CONFIGURATION, EPOCH, MEAN, NAMED, RUN
from results.figures.selection import select_lines
from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import ConfigurationRuns, Floats
from results.metrics.step_rates import step_rates
from results.tables.table import Column, Row, Table

LOG_RATES = (1e-30, 1e30)
"""The learning rates that are shown on a logarithmic axis."""
MAX_POINTS = 2_000
"""Maximum number of points of a line; a longer schedule is drawn at every second, third, … step of an epoch."""
TRAIN_IMAGES = 50_000
"""Images from which a ledger without the sizes of its data was divided."""
SAME = 1e-6
"""Relative difference up to which two learning rates are equal."""


def learning_rate_table(sweep: SweepData) -> Table | None:
    """Return the learning rate of each configuration by step, as used: one row per corner of its line.

    ``epoch`` is the place of the step in epochs from 0. Within an epoch the line is that of the schedule where this is
    known and agrees with the measured rates (:func:`results.metrics.step_rates.step_rates`), and otherwise straight
    from the first to the last step. Runs with different rates have a line each. None without any value.
    """
    selection = select_lines(sweep)
    rows: list[Row] = []
    straight = False
    for group in selection.configurations:
        named = group.label in selection.best
        for run, members in _distinct_runs(group):
            epochs, rates, known = _corners(sweep, group, members[0])
            straight |= not known and bool(len(rates))
            run_ids = [group.counted_ids[member] for member in members]
            rows += [
                Row({"configuration": group.label, "run": run, "epoch": x, "value": rate, "named": named}, run_ids)
                for x, rate in zip(epochs, rates, strict=True)
            ]
    if not rows:
        return None
    columns = [CONFIGURATION, RUN, EPOCH, Column("value", "Learning rate", decimals=6), NAMED]
    notes = [*selection.notes, *selection.style_note()]
    if any(row.values["run"] != MEAN for row in rows):
        notes.append("Where the rates of the runs differ, each run is a line.")
    if straight:
        notes.append("Where the rate changes within an epoch, a line is straight from its first to its last step.")
    return Table("learning_rate", "Learning rate by step", columns, rows, notes)


def _distinct_runs(group: ConfigurationRuns) -> Iterator[tuple[int, list[int]]]:
    """Yield the runs of one line each, the longest first: all of them, or each one if their rates differ."""
    places = sorted(range(group.n_done), key=lambda place: -int(_known(group, place).sum()))
    first = _measured(group, places[0])
    same = all(
        np.allclose(first[:, part], _measured(group, place)[:, part], rtol=SAME, atol=0)
        for place in places
        if (part := _known(group, place)).any()
    )
    if same:
        yield MEAN, places
    else:
        yield from ((place, [place]) for place in sorted(places))


def _measured(group: ConfigurationRuns, place: int) -> Floats:
    """Return the first, mean and last rate ``[3, E]`` of a counted run."""
    return np.stack([group.curves[key][group.counted][place] for key in ("lr_first", "lr", "lr_last")])


def _known(group: ConfigurationRuns, place: int) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(_measured(group, place)).all(axis=0))


def _corners(sweep: SweepData, group: ConfigurationRuns, place: int) -> tuple[list[float], list[float], bool]:
    """Return the places in epochs and the rates of a run's line, and whether the line is right within epochs."""
    measured, known = _measured(group, place), _known(group, place)
    length = int(known.argmin()) if not known.all() else len(known)  # up to the divergence
    for steps in _steps_per_epoch(sweep, group):
        found = _schedule(group, steps, length)
        if found is not None and _agrees(found, measured[:, :length]):
            shown = sorted({*range(0, found.size, math.ceil(found.size / MAX_POINTS)), found.size - 1})
            return [step / steps for step in shown], found.ravel()[shown].tolist(), True
    warmup = float(group.configuration.warmup)
    places: list[float] = []
    rates: list[float] = []
    right = True
    for epoch, (first, last) in enumerate(
        zip(measured[0, :length].tolist(), measured[2, :length].tolist(), strict=True)
    ):
        places += [float(epoch), float(epoch + 1)]
        rates += [first, last]
        if not math.isclose(first, last, rel_tol=SAME):
            right &= epoch < warmup
            if epoch < warmup < epoch + 1:  # the rate is constant from the end of the warm-up
                places[-1:], rates[-1:] = [warmup, epoch + 1.0], [last, last]
    return places, rates, right


def _schedule(group: ConfigurationRuns, steps: int, epochs: int) -> Floats | None:
    """Return the rates ``[epochs, steps]`` by the formula of the scheduler."""
    configuration = group.configuration
    warmup = round(configuration.warmup * steps)
    rates = step_rates(configuration.scheduler, configuration.scheduler_params, warmup, steps * epochs)
    return None if rates is None else rates.reshape(epochs, steps)


def _agrees(rates: Floats, measured: Floats) -> bool:
    """Whether ``rates [E, steps]`` have the measured first, mean and last rates ``[3, E]``."""
    found = np.stack([rates[:, 0], rates.mean(axis=1), rates[:, -1]])
    return bool(np.allclose(found, measured, rtol=SAME, atol=0))


def _steps_per_epoch(sweep: SweepData, group: ConfigurationRuns) -> list[int]:
    """Return the possible numbers of steps of an epoch, from the size of the data or of the schedule."""
    batch = group.configuration.batch_size or sweep.protocol.get("batch_size", 0)
    share = sweep.protocol.get("val_fraction", 0)
    found = []
    if isinstance(batch, int) and batch > 0 and isinstance(share, int | float) and 0 < share < 1:
        images = TRAIN_IMAGES if sweep.facts.val_images is None else sweep.facts.val_images / share
        rounded = round((1 - share) * images / batch)
        found += [rounded, rounded + 1, rounded - 1]
    total = group.configuration.scheduler_params.get("total_steps")
    if isinstance(total, int) and sweep.epochs > group.configuration.warmup:
        found.append(round(total / (sweep.epochs - group.configuration.warmup)))
    return [steps for steps in dict.fromkeys(found) if steps > 0]
