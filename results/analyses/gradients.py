"""Captured gradients of one layer: file format and tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from results.analyses.file_format import SYNTHETIC_NOTE, AnalysisWriter, analysis_writer, data_label, read_analysis
from results.metrics import gradients as metrics
from results.metrics.gradients import AdamStages, Floats
from results.tables.table import Column, Row, Table, Value
from search_spaces import NO_SCHEDULER
from search_spaces.errors import LedgerError
from search_spaces.plain_text import counted

KIND = "gradients"
BETAS = (0.9, 0.99, 0.999)
BETA = 0.9
BETA2, EPS = 0.999, 1e-8
"""Adam's defaults, for the adapted stage of a run with another optimizer."""

MAX_BUFFERED_VALUES = 1_000_000
"""Maximum number of values in the writer's buffer: single rows would give a file that is slow to read."""

Array = npt.NDArray[Any]


class GradientWriter:
    """Writer of a capture, step by step; see :func:`gradient_writer`."""

    def __init__(self, writer: AnalysisWriter) -> None:
        self._writer = writer
        self._rows: list[dict[str, Array]] = []

    def record(self, step: int, epoch: int, gradient: Array, weights: Array, loss: float) -> None:
        """Add one step; ``gradient`` and the weights before the step are ``[P]``."""
        if len(self._rows) * 2 * gradient.size > MAX_BUFFERED_VALUES:
            self._flush()
        row = {"step": step, "epoch": epoch, "gradient": gradient, "weights": weights, "loss": loss}
        self._rows.append({name: np.asarray(value)[None] for name, value in row.items()})

    def finish(self, noise: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the remaining rows and the noise sums, for ``layer`` and ``all``."""
        self._flush({"noise": {name: dict(sums) for name, sums in noise.items()}})

    def _flush(self, about: Mapping[str, Any] | None = None) -> None:
        columns = {name: np.concatenate([row[name] for row in self._rows]) for name in self._rows[0]}
        self._writer.append(columns, about)
        self._rows = []


@contextmanager
def gradient_writer(path: Path, about: Mapping[str, Any]) -> Iterator[GradientWriter]:
    """Write a capture to ``path``, which appears when it is complete; call :meth:`GradientWriter.finish` last.

    Args:
        path: the file.
        about: the metadata of every analysis, and ``layer``, ``layer_shape``, ``batch_size`` and ``beta``, the
            configured β.

    Raises:
        OSError: the folder cannot be written.
    """
    with analysis_writer(path, {**about, "kind": KIND}) as writer:
        yield GradientWriter(writer)


@dataclass(frozen=True)
class GradientCapture:
    """Gradients of one layer with P elements over T steps of a run."""

    gradients: Floats  # [T, P]
    weights: Floats  # [T, P], before each step
    weights_after: Floats  # [P], after the last one
    losses: Floats  # [T], of each mini-batch
    epochs: npt.NDArray[np.int64]  # [T], from 1
    about: Mapping[str, Any]

    @property
    def layer(self) -> str:
        """The layer's name."""
        return str(self.about["layer"])

    def index_text(self, element: int) -> str:
        """Return an element of the flattened layer by its indices, as ``[3, 1, 0, 4]``."""
        return str([int(i) for i in np.unravel_index(element, self.about["layer_shape"])])

    @property
    def label(self) -> str:
        """The configuration's label."""
        return str(self.about["label"])

    @property
    def scope(self) -> str:
        """Layer, number of mini-batches and batch size, for captions."""
        return f"{self.layer} over {len(self.gradients)} mini-batches of {self.about['batch_size']}"

    @property
    def optimizer(self) -> dict[str, Any]:
        """The optimizer's name and parameters."""
        return dict(self.about["configuration"]["optimizer"])

    @property
    def adam(self) -> tuple[float, float]:
        """β₂ and ε of the run's optimizer if it has them, else Adam's defaults."""
        own = self.optimizer
        beta2 = float(own["betas"][1]) if len(own.get("betas") or ()) == 2 else BETA2
        eps = own.get("eps") if "betas" in own else None
        return beta2, EPS if eps is None else float(eps)

    @cached_property
    def variances(self) -> Floats:
        """Each element's variance over the steps ``[P]``."""
        variances: Floats = self.gradients.var(axis=0, ddof=1)
        return variances

    def adapted(self, beta: float) -> AdamStages:
        """Return Adam's stages of the gradients with β₁ = ``beta``."""
        return metrics.adam_stages(self.gradients, beta, *self.adam)

    def notes(self) -> list[str]:
        """Return the notes of every table and figure."""
        run = f"{self.label}, seed {self.about['seed']}, from its first step; {data_label(self.about)}."
        return [run, *self._shorter_batches(), *([SYNTHETIC_NOTE] if self.about["synthetic"] else [])]

    def _shorter_batches(self) -> list[str]:
        """Return a note on the smaller last mini-batches of epochs, whose gradients are noisier."""
        examples, size = int(self.about.get("examples", 0)), int(self.about["batch_size"])
        rest = examples % size
        if not rest:
            return []
        last = sum(step % -(-examples // size) == 0 for step in range(1, len(self.gradients) + 1))
        if not last:
            return []
        return [
            f"{last} of the {len(self.gradients)} mini-batches {'is' if last == 1 else 'are'} the last of an epoch and "
            f"hold{'s' if last == 1 else ''} {counted(rest, 'image')} instead of "
            f"{size}. Their gradients are noisier, which increases the variance."
        ]

    def table(self, name: str, caption: str, columns: Sequence[Column], rows: Sequence[Mapping[str, Value]],
              notes: Sequence[str] = ()) -> Table:  # fmt: skip
        """Return a table with the capture's run id, data set and notes."""
        known = [Row(row, (self.about["run_id"],)) for row in rows]
        return Table(name, caption, columns, known, [*notes, *self.notes()], data_label(self.about))


def read_gradient_capture(path: Path) -> GradientCapture:
    """Read a file of :func:`gradient_writer`.

    Raises:
        LedgerError: the file is missing, incomplete, or of another analysis.
    """
    file = read_analysis(path)
    if file.about.get("kind") != KIND:
        raise LedgerError(f"{path}: holds the analysis {file.about.get('kind')!r}, not {KIND!r}")
    numbers = {name: file.columns[name].astype(np.float64) for name in ("gradient", "weights", "loss")}
    return GradientCapture(
        numbers["gradient"][:-1], numbers["weights"][:-1], numbers["weights"][-1], numbers["loss"][:-1],
        file.columns["epoch"][:-1], file.about,
    )  # fmt: skip


def all_betas(beta: float) -> list[float]:
    """Return the default values of β and ``beta``, ascending.

    Raises:
        SpecError: β outside [0, 1).
    """
    return sorted({*BETAS, metrics.check_beta(beta)})


def gradient_tables(capture: GradientCapture, beta: float = BETA) -> dict[str, Table]:
    """Return the tables of a capture by name.

    Raises:
        SpecError: β outside [0, 1).
    """
    tables = (
        ewma_table(capture, beta),
        stages_table(capture, beta),
        windows_table(capture, beta),
        noise_table(capture),
    )
    return {table.name: table for table in tables}


def ewma_table(capture: GradientCapture, beta: float) -> Table:
    """Variance and peak of the gradients after an EWMA, and the effect of the same EWMA on white noise."""
    raw_peak = metrics.peak(capture.gradients)
    tenth = max(len(capture.gradients) // 10, 1)
    norms = np.linalg.norm(capture.gradients, axis=1)
    rows = [_spread("raw", capture.gradients)]
    for one in all_betas(beta):
        found = metrics.smooth_gradients(capture.gradients, one)
        row = _spread(f"EWMA β = {one:g}", found.values)
        row |= {"share_left": found.share, "cut": 100 - found.share}
        row |= {"white_noise": found.white_noise, "same_sizes": found.same_sizes}
        row["peak_cut"] = 100 * (1 - metrics.peak(found.values) / raw_peak) if raw_peak else None
        rows.append(row)
    variance, low, high, peak = _spread_columns(rows)
    return capture.table(
        "gradient_ewma",
        f"Gradients of {capture.scope}, raw and smoothed by a bias-corrected EWMA",
        (
            Column("gradients", "Gradients"), variance, Column("share_left", "Remaining variance", "%"),
            Column("white_noise", "White noise", "%"), Column("same_sizes", "White noise of the same sizes", "%"),
            Column("cut", "Variance reduction", "%", 1), peak, Column("peak_cut", "Peak reduction", "%", 1), low, high,
        ),
        rows,
        [
            "Variance: of each element over the steps, averaged over the layer's elements.",
            "White noise: remaining variance of white noise after the same filter. A higher remaining variance "
            "indicates signal or autocorrelation.",
            "White noise of the same sizes: white noise whose size changes over the steps as that of the gradients, "
            f"with the range of 95 % of {metrics.RANDOM_SIGN_DRAWS} random sign sequences. The mean gradient norm is "
            f"{norms[:tenth].mean():.2g} in the first tenth of the steps, and {norms[-tenth:].mean():.2g} in the last.",
            ewma_meaning(capture, beta),
        ],
    )  # fmt: skip


def stages_table(capture: GradientCapture, beta: float) -> Table:
    """The three stages of a gradient: raw, smoothed and adapted."""
    adam = capture.adapted(beta)
    rows = [_spread("raw", capture.gradients), _spread("smoothed", adam.m_hat), _spread("adapted", adam.adapted)]
    columns = [Column("gradients", "Stage"), *_spread_columns(rows)]
    beta2, eps = capture.adam
    notes = [
        f"Smoothed: bias-corrected EWMA with β = {beta:g}. Adapted: m̂/(√v̂ + ε) with β₁ = {beta:g}, β₂ = {beta2:g}, "
        f"ε = {eps:g}; it has no unit: its variance "
        "is not comparable with that of the other stages.",
        *_recomposed_notes(capture),
    ]
    return capture.table("gradient_stages", f"Three stages of the gradients of {capture.scope}", columns, rows, notes)


def windows_table(capture: GradientCapture, beta: float) -> Table:
    """Equivalent window and half-life of the EWMAs."""
    return capture.table(
        "equivalent_windows",
        "Simple moving averages that are equivalent to an EWMA",
        (
            Column("beta", "β", decimals=4), Column("window", "Equivalent window N", "steps", 1),
            Column("half_life", "Half-life", "steps", 1),
        ),
        [
            {"beta": one, "window": metrics.equivalent_window(one), "half_life": metrics.half_life(one)}
            for one in all_betas(beta)
        ],
        ["N = 2/(1-β) - 1: the window with the same reduction of white noise. Half-life: ln ½/ln β."],
    )  # fmt: skip


def noise_table(capture: GradientCapture) -> Table:
    """Gradient noise scale after the last step, for the layer and for all parameters."""
    rows: list[dict[str, Value]] = []
    for key, name in (("layer", capture.layer), ("all", "all parameters")):
        sums = capture.about["noise"][key]
        scale = metrics.noise_scale(**sums)
        rows.append(
            {
                "gradients": name, "trace": scale.trace, "mean_square_norm": scale.mean_square_norm,
                "noise_part": scale.noise_part, "square_norm": scale.square_norm, "b_simple": scale.b_simple,
                "resolved": "yes" if scale.b_simple is not None else f"not resolved with {sums['batches']} batches",
            }
        )  # fmt: skip
    batches = capture.about["noise"]["all"]["batches"]
    norms = _decimals(rows, "mean_square_norm", "noise_part", "square_norm")
    return capture.table(
        "gradient_noise",
        f"Gradient noise scale after {len(capture.gradients)} steps, from {batches} mini-batches of "
        f"{capture.about['batch_size']} at fixed weights",
        (
            Column("gradients", "Gradient of"), Column("trace", "tr Σ", decimals=_decimals(rows, "trace")),
            Column("mean_square_norm", "‖ḡ‖²", decimals=norms), Column("noise_part", "Noise part", decimals=norms),
            Column("square_norm", "‖G‖²", decimals=norms), Column("b_simple", "B_simple", "examples", 0),
            Column("resolved", "Resolved"),
        ),
        rows,
        [
            "B_simple = tr Σ/‖G‖² (McCandlish et al. 2018). A larger batch reduces noise up to this size, and has "
            "little effect above it. Σ is per example, and includes the noise of augmentation and dropout.",
        ],
    )  # fmt: skip


def _recomposed_notes(capture: GradientCapture) -> list[str]:
    """Return a note that compares the update of Adam's formulas with that of the weights, for a constant lr."""
    own, choice = capture.optimizer, capture.about["configuration"]
    plain = own["name"] == "Adam" and not any(own.get(key) for key in ("weight_decay", "amsgrad", "maximize"))
    if not plain or choice["scheduler"]["name"] != NO_SCHEDULER or choice["warmup"]:
        return []
    lr, betas = float(own["lr"]), own["betas"]
    moved = np.diff(capture.weights, axis=0, append=capture.weights_after[None])
    recomposed = -lr * metrics.adam_stages(capture.gradients, betas[0], betas[1], float(own["eps"])).adapted
    worst = float(np.abs(moved - recomposed).max()) / lr
    return [
        f"Adam's update as recomposed from the gradients, -lr·m̂/(√v̂ + ε), differs from the measured change of the "
        f"weights by at most {worst:.1g} · lr."
    ]


def _spread(name: str, values: Floats) -> dict[str, Value]:
    low, high = metrics.value_range(values)
    variance = metrics.mean_variance(values)
    return {"gradients": name, "variance": variance, "low": low, "high": high, "peak": metrics.peak(values)}


def _spread_columns(rows: Sequence[Mapping[str, Value]]) -> tuple[Column, Column, Column, Column]:
    places = _decimals(rows, "low", "high")
    return (
        Column("variance", "Variance", decimals=_decimals(rows, "variance")), Column("low", "Lowest", decimals=places),
        Column("high", "Highest", decimals=places), Column("peak", "Peak", decimals=places),
    )  # fmt: skip


def _decimals(rows: Sequence[Mapping[str, Value]], *keys: str) -> int:
    """Return the decimals for two significant digits of the smallest number in the columns."""
    values = [abs(value) for row in rows for key in keys if isinstance(value := row[key], float)]
    digits = [1 - math.floor(math.log10(value)) for value in values if value > 0 and math.isfinite(value)]
    return max(0, *digits) if digits else 2


def ewma_meaning(capture: GradientCapture, beta: float = BETA) -> str:
    """Describe the effect of the EWMA: measured remaining variance, compared with that of white noise.

    Raises:
        SpecError: β outside [0, 1).
    """
    every = [
        metrics.smooth_gradients(capture.gradients, one) for one in all_betas(beta) if one > 0
    ]  # β = 0 is no filter
    if not capture.variances.any():
        return f"The gradients of {capture.scope} do not vary."
    shares = [
        f"{_percent(s.share)} at β = {s.beta:g} (white noise: {_percent(s.white_noise)}, white noise of the "
        f"same sizes: {_percent(s.same_sizes.value)})" for s in every
    ]  # fmt: skip
    remaining = f"Remaining variance of {capture.layer} over the steps after the EWMA: {_listed(shares)}."
    verdicts = []
    for verdict, meaning in MEANINGS.items():
        betas = [f"{s.beta:g}" for s in every if s.verdict == verdict]
        if betas:
            verdicts.append(f"at β = {_listed(betas)} {meaning}")
    if not verdicts:
        return remaining
    return f"{remaining} Compared with noise of the same sizes: {'; '.join(verdicts)}."


MEANINGS = {
    "near": "this filter does not distinguish the gradients from white noise",
    "above": "more variance remains, which indicates a slow signal or positive autocorrelation",
    "below": "less variance remains, which indicates gradients that tend to change sign",
}
"""Verdict on the remaining variance → its meaning."""


def _percent(share: float) -> str:
    return f"{share:.2g} %" if share < 10 else f"{share:.0f} %"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
