"""Learning-rate range tests: where the loss falls steepest, where it bursts, and what that suggests.

L. N. Smith, *Cyclical Learning Rates for Training Neural Networks* (2017); the rules are fastai's ``lr_find``, changed
where a loss that starts at chance, ln 100 = 4.6, asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from results.analyses.file_format import SYNTHETIC_NOTE, read_analysis
from results.figures.label_layout import legend_below, write_notes
from results.figures.style import DOUBLE_COLUMN, GREY, MOST_DIRECT_LABELS, RC, Looks, colour_of
from results.tables.table import Column, Row, Table, Value
from search_spaces.errors import LedgerError

Array = npt.NDArray[np.float64]

KIND = "lr-range"
BETA = 0.9
CHANCE = math.log(100)
"""The cross-entropy of guessing among 100 classes; a network whose units have died sits there."""
LEAST_FALL = 0.01
"""Share by which a smoothed loss must fall before its slope says anything."""
BURST = 0.05
"""Share above its lowest at which a loss has burst. fastai says 3, which a loss that starts at 4.6 need not reach."""
NORMAL_MEDIAN = 0.6745
"""The median of |z| for a standard normal z."""
NOISES = 6.0
"""A fall or a burst is also more than so many standard deviations of what single batches do to the smoothed loss."""

RANGE_CAPTIONS = {
    "lr_range": "Learning-rate range test: the training loss while the rate rises at every step, smoothed; the single "
    "batches' are faint.",
}


@dataclass(frozen=True)
class RangeTest:
    """One configuration's range test over S steps; NaN from the step whose loss was not finite."""

    label: str
    lr: Array  # [S]
    loss: Array  # [S], of the step's batch
    moved: Array  # [S], L2 distance of the weights from their start, after the step
    about: Mapping[str, Any]

    @property
    def smooth(self) -> Array:
        """The smoothed loss ``[S]``."""
        return smoothed(self.loss)


def read_range_test(path: Path) -> RangeTest:
    """Read one configuration's range test: the columns ``lr``, ``loss`` and ``moved``, and what they are of.

    Raises:
        LedgerError: the file is missing, torn, or of another analysis.
    """
    file = read_analysis(path)
    try:
        if file.about["kind"] != KIND:
            raise LedgerError(f"{path}: is of kind {file.about['kind']}, no range test")
        lr, loss, moved = (np.asarray(file.columns[name], np.float64) for name in ("lr", "loss", "moved"))
        return RangeTest(str(file.about["label"]), lr, loss, moved, file.about)
    except KeyError as error:
        raise LedgerError(f"{path}: has no {error}; delete it and make it again") from error


def smoothed(loss: Array, beta: float = BETA) -> Array:
    """Return the bias-corrected exponential average ``[S]`` of the finite losses; NaN where a loss is not finite.

    v_t = β v_{t−1} + (1 − β) l_t, corrected v_t/(1 − β^t), as Kingma and Ba, *Adam* (2015); t counts finite losses.
    """
    finite = np.isfinite(loss)
    known = pd.Series(np.where(finite, loss, np.nan))
    averages = known.ewm(alpha=1 - beta, adjust=True, ignore_na=True).mean().to_numpy()
    return np.where(finite, averages, np.nan)


def settled_step(smooth: Array) -> int:
    """Return the step from which a smoothed loss counts: a tenth of all, as fastai; the first averages are of few."""
    return len(smooth) // 10


def divergence_step(smooth: Array) -> int | None:
    """Return the first step whose smoothed loss ``[S]`` has burst; None where none has.

    That is: not finite; or 5 % (and six noises) above its lowest so far; or back at chance after it was 1 % below.
    """
    lowest, noise = math.inf, batch_noise(smooth)
    for i, value in enumerate(smooth):
        if not math.isfinite(value):
            return i
        if i < settled_step(smooth):
            continue
        if value > lowest + max(BURST * lowest, NOISES * noise) or (has_learned(lowest) and value >= CHANCE):
            return i
        lowest = min(lowest, float(value))
    return None


def has_learned(loss: float) -> bool:
    """Tell whether a loss is clearly below chance; a network that never was cannot be seen to burst in time."""
    return loss < (1 - LEAST_FALL) * CHANCE


def batch_noise(smooth: Array) -> float:
    """Return the standard deviation of a smoothed loss of white noise that moves as ``smooth`` ``[S]`` mostly does.

    For v_t = β v_{t−1} + (1 − β) l_t with Var l = σ², Var v = σ²(1 − β)/(1 + β) and Var(v_t − v_{t−1}) =
    2(1 − β)·Var v. The increments' SD is estimated by their median: bursts and falls are few.
    """
    increments = np.abs(np.diff(smooth[settled_step(smooth) :]))
    known = increments[np.isfinite(increments)]
    return float(np.median(known)) / NORMAL_MEDIAN / math.sqrt(2 * (1 - BETA)) if len(known) else 0.0


def divergence_point(lr: Array, smooth: Array) -> float | None:
    """Return the rate of :func:`divergence_step`."""
    step = divergence_step(smooth)
    return None if step is None else float(lr[step])


def suggest_steepest(lr: Array, smooth: Array) -> float | None:
    """Return the rate where the smoothed loss falls fastest over log lr, before its lowest; fastai's ``steep``.

    None where it never fell by 1 % and six noises: what looks like a slope there is noise.
    """
    begin, end = settled_step(smooth), divergence_step(smooth)
    counted = smooth[begin:end]
    if len(counted) < 2:
        return None
    lowest = int(counted.argmin())
    if counted[0] - counted[lowest] < max(LEAST_FALL * counted[0], NOISES * batch_noise(smooth)):
        return None
    slope = np.gradient(counted, np.log(lr[begin:end]))
    return float(lr[begin + int(slope[: lowest + 1].argmin())])


def suggest_tenth(lr: Array, smooth: Array) -> float | None:
    """Return a tenth of the rate at which the loss burst.

    None where it did not within the range, or where it had never been below chance: a burst is seen too late then.
    """
    step = divergence_step(smooth)
    if not step or not has_learned(float(smooth[:step].min())):
        return None
    return float(lr[step]) / 10


def range_names(tests: Sequence[RangeTest]) -> list[str]:
    """Return a name of its own for each test of another run: its label, and what tells it from those of the same label.

    That is the seed where it differs among them, then the data, then the beginning of the run's id.
    """
    names = [test.label for test in tests]
    seeds = [f"seed {test.about.get('seed')}" for test in tests]
    data = [Path(str(test.about.get("data"))).name for test in tests]  # a folder's, without where it lies
    run_ids = [str(test.about.get("run_id"))[:8] for test in tests]
    for facts in (seeds, data, run_ids):
        known = set(zip(names, facts, strict=True))
        several = {name for name in names if sum(one == name for one, _ in known) > 1}
        names = [f"{name} {fact}" if name in several else name for name, fact in zip(names, facts, strict=True)]
    return names


def range_table(tests: Sequence[RangeTest]) -> Table:
    """Return the table ``lr_range``: what each configuration's range test suggests, a row a configuration."""
    columns = (
        Column("configuration", "Configuration"), Column("lr", "Rate asked", decimals=6),
        Column("steepest", "Steepest fall at", decimals=6), Column("tenth", "A tenth of the burst", decimals=6),
        Column("diverged", "Bursts at", decimals=6), Column("lowest_loss", "Lowest smoothed loss", decimals=3),
        Column("lowest_lr", "at rate", decimals=6), Column("moved", "Weights moved", "L2", decimals=3),
    )  # fmt: skip
    caption = "Learning-rate range test: what the rise of the rate suggests"
    rows = [_row(test, name) for test, name in zip(tests, range_names(tests), strict=True)]
    return Table("lr_range", caption, columns, rows, _notes(tests), _data(tests))


def _row(test: RangeTest, name: str) -> Row:
    smooth, end = test.smooth, divergence_step(test.smooth)
    counted = smooth[settled_step(smooth) : end]
    moved = test.moved[:end][np.isfinite(test.moved[:end])]
    lowest = settled_step(smooth) + int(counted.argmin()) if len(counted) else None
    asked = test.about.get("configuration", {}).get("optimizer", {}).get("lr")
    values = {
        "configuration": name,
        "lr": float(asked) if isinstance(asked, int | float) else None,
        "steepest": suggest_steepest(test.lr, smooth),
        "tenth": suggest_tenth(test.lr, smooth),
        "diverged": divergence_point(test.lr, smooth),
        "lowest_loss": None if lowest is None else float(smooth[lowest]),
        "lowest_lr": None if lowest is None else float(test.lr[lowest]),
        "moved": float(moved[-1]) if len(moved) else None,
    }
    return Row(values, [str(test.about["run_id"])] if "run_id" in test.about else [])


def _notes(tests: Sequence[RangeTest]) -> list[str]:
    notes = []
    for lr in {(len(test.lr), test.lr[0], test.lr[-1]): test.lr for test in tests}.values():
        lag = BETA / (1 - BETA) * math.log10(lr[-1] / lr[0]) / (len(lr) - 1)
        notes.append(
            f"{len(lr)} steps from {lr[0]:g} to {lr[-1]:g}. The loss is an average over steps (β = {BETA:g}) that lags "
            f"by about 9 of them: {lag:.2g} decades of the rate."
        )
    shared = {str(test.about["start"]) for test in tests if "start" in test.about}
    notes += [f"Start: {start}." for start in sorted(shared)]
    flat = [test.label for test in tests if not _tells(test)]
    if flat:
        notes.append(
            f"No suggestion for {len(flat)} of {len(tests)}: the loss did not fall by 1 % and by six times the noise "
            "of single batches, and did not burst after it was 1 % below chance (4.605). Take more steps, or start "
            "from weights that have left the plateau."
        )
    if any(test.about.get("synthetic") for test in tests):
        notes.append(SYNTHETIC_NOTE)
    return notes


def _tells(test: RangeTest) -> bool:
    return suggest_steepest(test.lr, test.smooth) is not None or suggest_tenth(test.lr, test.smooth) is not None


def _data(tests: Sequence[RangeTest]) -> str:
    names = {f"{t.about['data']}{' (made from a seed)' if t.about.get('synthetic') else ''}" for t in tests}
    return ", ".join(sorted(names))


def range_curves(tests: Sequence[RangeTest]) -> Table:
    """Return the table ``lr_range_curves`` that the figure draws: a row a configuration and step.

    ``steepest`` holds the smoothed loss at the rate of the steepest fall, ``tenth`` that at a tenth of the burst.
    """
    columns = (
        Column("configuration", "Configuration"), Column("lr", "Learning rate", decimals=8),
        Column("loss", "Training loss", decimals=4), Column("smoothed", "Smoothed training loss", decimals=4),
        Column("moved", "Weights moved", "L2", decimals=4), Column("steepest", "at the steepest fall", decimals=4),
        Column("tenth", "at a tenth of the burst", decimals=4),
    )  # fmt: skip
    rows = []
    for test, name in zip(tests, range_names(tests), strict=True):
        smooth = test.smooth
        marks = {"steepest": suggest_steepest(test.lr, smooth), "tenth": suggest_tenth(test.lr, smooth)}
        at = {
            key: None if rate is None else int(np.abs(np.log(test.lr / rate)).argmin()) for key, rate in marks.items()
        }
        for i, (lr, loss, average, moved) in enumerate(zip(test.lr, test.loss, smooth, test.moved, strict=True)):
            values: dict[str, Value] = {key: float(average) for key, step in at.items() if step == i}
            values |= {"configuration": name, "lr": float(lr), "loss": float(loss), "smoothed": float(average)}
            rows.append(Row({**values, "moved": float(moved)}, [str(test.about.get("run_id", ""))]))
    return Table("lr_range_curves", RANGE_CAPTIONS["lr_range"], columns, rows, _notes(tests), _data(tests))


def range_figures(tests: Sequence[RangeTest]) -> dict[str, Figure]:
    """Return the figure ``lr_range``; empty without tests."""
    if not tests:
        return {}
    table = range_curves(tests)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(DOUBLE_COLUMN, 3.0), layout="constrained")
        write_notes(figure, table.notes)
        draw_range(figure.add_subplot(), table, colour_of(range_names(tests)))
    return {"lr_range": figure}


def draw_range(axes: Axes, table: Table, looks: Looks) -> None:
    """Draw the smoothed loss against the rate, a line a configuration, with its suggestions marked on it."""
    names = list(dict.fromkeys(str(row.values["configuration"]) for row in table.rows))
    lines: list[Line2D] = []
    shown: list[Array] = []
    raw: list[Array] = []
    for name in names:
        rows = [row.values for row in table.rows if row.values["configuration"] == name]
        series = {key: np.array([_number(row.get(key)) for row in rows]) for key in ("lr", "loss", "smoothed")}
        look = looks[name]
        if len(names) <= MOST_DIRECT_LABELS:
            axes.plot(series["lr"], series["loss"], color=look.colour, alpha=0.22, linewidth=0.6)
        lines += axes.plot(series["lr"], series["smoothed"], color=look.colour, linestyle=look.dash, label=name)
        for key, face in (("steepest", look.colour), ("tenth", "white")):
            marks = [(_number(row["lr"]), _number(row[key])) for row in rows if row.get(key) is not None]
            axes.plot(
                *zip(*marks, strict=True) if marks else ([], []), linestyle="none", marker="o", markersize=4.5,
                color=look.colour, markerfacecolor=face, zorder=3,
            )  # fmt: skip
        shown.append(series["smoothed"][len(rows) // 10 :])
        raw.append(series["loss"][: len(rows) // 2])
    axes.set(xscale="log", xlabel=_title(table, "lr"), ylabel="Training loss")
    _limit(axes, table, shown, raw)
    keys = [Line2D([], [], color=GREY, linestyle="none", marker="o", markerfacecolor=face) for face in (GREY, "white")]
    axes.legend(keys, ["steepest fall", "a tenth of the burst"], loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    legend_below(axes, lines, names)


def _limit(axes: Axes, table: Table, shown: Sequence[Array], raw: Sequence[Array]) -> None:
    """Show the curves' fall, what batches scatter, and half as much above: a whole burst would flatten it."""
    rates = [_number(row.values["lr"]) for row in table.rows]
    axes.set_xlim(min(rates), max(rates))
    axes.xaxis.set_major_locator(LogLocator(numticks=12))
    axes.xaxis.set_minor_formatter(NullFormatter())
    known = [curve[np.isfinite(curve)] for curve in shown if np.isfinite(curve).any()]
    if not known:
        return
    scatter = np.concatenate([curve[np.isfinite(curve)] for curve in raw])
    lowest, highest = np.quantile(scatter, [0.05, 0.95]) if len(scatter) else (math.inf, -math.inf)
    low = min(float(lowest), *(float(curve.min()) for curve in known))
    start = max(float(highest), *(float(curve[0]) for curve in known))
    room = max(start - low, 0.02 * start)
    axes.set_ylim(low - 0.15 * room, start + 0.5 * room)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _title(table: Table, key: str) -> str:
    return next(column.title for column in table.columns if column.key == key)
