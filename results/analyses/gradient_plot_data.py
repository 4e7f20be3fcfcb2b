"""Tables for the figures of a gradient capture, with one row per step."""

from __future__ import annotations

import numpy as np

from results.analyses.gradients import GradientCapture, all_betas
from results.metrics import gradients as metrics
from results.tables.table import Column, Table

STAGES = ("raw", "smoothed", "adapted")


def element_table(capture: GradientCapture, beta: float) -> Table:
    """Return the element with the largest variance and its moving averages, one row per step."""
    element = int(np.argmax(capture.variances))
    raw, window = capture.gradients[:, element], round(metrics.equivalent_window(beta))
    averages = {"sma": (f"SMA, N = {window}", metrics.sma(raw, window))}
    for one in all_betas(beta):
        averages[ewma_key(one)] = (f"EWMA, β = {one:g}", metrics.ewma(raw, one))
    columns = {"raw": ("raw", raw), **averages}
    return capture.table(
        "gradient_element",
        f"{capture.layer}{capture.index_text(element)}, the element with the largest variance, by step",
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
    """Return a stage's range over the layer's elements, and three single elements, one row per step.

    These are the elements with the largest, the median and the smallest variance above 0.
    """
    adam = capture.adapted(beta)
    values = {"raw": capture.gradients, "smoothed": adam.m_hat, "adapted": adam.adapted}[stage]
    bounds = np.quantile(values, [0, 0.05, 0.95, 1], axis=1)
    order = np.argsort(capture.variances, kind="stable")
    order = order[capture.variances[order] > 0] if capture.variances.any() else order
    named = dict.fromkeys(int(order[i]) for i in (-1, len(order) // 2, 0))
    return capture.table(
        f"gradients_{stage}",
        f"Gradients of {capture.scope}, {stage}: range over the elements by step",
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
