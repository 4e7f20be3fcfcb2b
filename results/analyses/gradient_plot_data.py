"""What only the figures of a gradient capture need, as tables: a row a step."""

from __future__ import annotations

import numpy as np

from results.analyses.gradients import GradientCapture, betas_with
from results.metrics import gradients as stages
from results.tables.table import Column, Table

STAGES = ("raw", "smoothed", "adapted")


def element_table(capture: GradientCapture, beta: float) -> Table:
    """For figures: the element of the largest variance, a row a step, with its averages as columns."""
    element = int(np.argmax(capture.variances))
    raw, window = capture.gradients[:, element], round(stages.equivalent_window(beta))
    averages = {"sma": (f"SMA, N = {window}", stages.sma(raw, window))}
    for one in betas_with(beta):
        averages[ewma_key(one)] = (f"EWMA, β = {one:g}", stages.ewma(raw, one))
    columns = {"raw": ("raw", raw), **averages}
    return capture.table(
        "gradient_element",
        f"{capture.layer}{capture.index_text(element)}, its element of the largest variance, step by step",
        (Column("step", "Mini-batch"), *(Column(key, name, decimals=6) for key, (name, _) in columns.items())),
        [
            {"step": t + 1, **{key: float(values[t]) for key, (_, values) in columns.items()}}
            for t in range(len(raw))
        ],
    )  # fmt: skip


def ewma_key(beta: float) -> str:
    """Return the column of :func:`element_table` that holds the EWMA with ``beta``."""
    return f"ewma_{beta:g}"


def band_table(capture: GradientCapture, stage: str, beta: float) -> Table:
    """For figures: a stage's range over the layer's elements, a row a step, and three elements by name.

    The elements are those of the largest, the median and the smallest variance, among those that vary at all.
    """
    adam = capture.adapted(beta)
    values = {"raw": capture.gradients, "smoothed": adam.m_hat, "adapted": adam.adapted}[stage]
    bounds = np.quantile(values, [0, 0.05, 0.95, 1], axis=1)
    order = np.argsort(capture.variances, kind="stable")
    order = order[capture.variances[order] > 0] if capture.variances.any() else order
    named = dict.fromkeys(int(order[i]) for i in (-1, len(order) // 2, 0))
    return capture.table(
        f"gradients_{stage}",
        f"Gradients of {capture.of}, {stage}: range over the elements, step by step",
        (
            Column("step", "Mini-batch"), Column("lowest", "Lowest", decimals=6), Column("p5", "5 %", decimals=6),
            Column("p95", "95 %", decimals=6), Column("highest", "Highest", decimals=6),
            *(Column(f"element_{i}", f"w{capture.index_text(i)}", decimals=6) for i in named),
        ),
        [
            {
                "step": t + 1,
                **{key: float(bounds[i, t]) for i, key in enumerate(("lowest", "p5", "p95", "highest"))},
                **{f"element_{i}": float(values[t, i]) for i in named},
            }
            for t in range(len(values))
        ],
    )  # fmt: skip
