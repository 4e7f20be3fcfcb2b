"""Learning rates of every step of schedules that change with each batch, from their parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def step_rates(scheduler: str, params: Mapping[str, Any], warmup_steps: int, steps: int) -> Floats | None:
    """Return the learning rate ``[steps]`` of each step of PyTorch's ``CyclicLR`` or ``OneCycleLR``.

    After a linear warm-up over ``warmup_steps``. None for another scheduler, and where a parameter is not a number.
    """
    formula = {"CyclicLR": _cyclic, "OneCycleLR": _one_cycle}.get(scheduler)
    step = np.arange(max(steps, 1), dtype=np.float64)
    try:
        rates = None if formula is None else formula(np.maximum(step - warmup_steps, 0), params)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if rates is not None and warmup_steps:
        rates = np.where(step < warmup_steps, rates[0] * (step + 1) / warmup_steps, rates)
    return rates


def _cyclic(step: Floats, params: Mapping[str, Any]) -> Floats:
    """Smith, *Cyclical Learning Rates for Training Neural Networks* (2017), as in PyTorch."""
    low, high, up = float(params["base_lr"]), float(params["max_lr"]), float(params.get("step_size_up", 2000))
    down = params.get("step_size_down")
    length = up + (up if down is None else float(down))
    cycle = np.floor(1 + step / length)
    place = 1 + step / length - cycle
    turn = up / length
    height = np.where(place <= turn, place / turn, (place - 1) / (turn - 1))
    mode = params.get("mode", "triangular")
    scale = {
        "triangular": np.ones_like(step),
        "triangular2": 0.5 ** (cycle - 1),
        "exp_range": float(params.get("gamma", 1.0)) ** step,
    }[str(mode)]
    rates: Floats = low + (high - low) * height * scale
    return rates


def _one_cycle(step: Floats, params: Mapping[str, Any]) -> Floats:
    """Smith and Topin, *Super-Convergence* (2019), as in PyTorch."""
    high, total, share = float(params["max_lr"]), float(params["total_steps"]), float(params.get("pct_start", 0.3))
    start = high / float(params.get("div_factor", 25.0))
    end = start / float(params.get("final_div_factor", 1e4))
    peak = share * total - 1
    phases = [(0.0, peak, start, high), (peak, total - 1, high, end)]
    if params.get("three_phase"):
        back = 2 * share * total - 2
        phases = [(0.0, peak, start, high), (peak, back, high, start), (back, total - 1, start, end)]
    linear = params.get("anneal_strategy", "cos") == "linear"
    rates = np.full_like(step, math.nan)
    for first, last, from_rate, to_rate in reversed(phases):  # a step at the border is in the earlier phase
        part = (step - first) / (last - first)
        weight = part if linear else (1 - np.cos(np.pi * part)) / 2
        rates = np.where((step <= last) | np.isnan(rates), from_rate + (to_rate - from_rate) * weight, rates)
    return rates
