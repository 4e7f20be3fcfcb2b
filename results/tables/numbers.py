"""Printed numbers: rounding, significant digits, and estimates with their intervals."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

from results.metrics.intervals import FEW_VALUES, Estimate

ZERO_WIDTH = 1e-9
"""Half-width of an interval below which it is rounding error: the values are equal."""

TWO_DIGITS_BELOW = 4
"""A half-width has two significant digits if the first one is 1, 2 or 3, else one."""

MAX_EXTRA_PLACES = 6

TOO_LARGE = 1e15
"""Such a value, the loss of a run that nearly diverged, has four significant digits."""


def rounded(value: float, places: int) -> str:
    """Return ``value`` with ``places`` decimals, half away from zero, without a negative zero.

    Twelve significant digits are rounded, so that 0.285, stored as 0.28499…, is printed as 0.29.
    """
    if abs(value) >= TOO_LARGE:
        return f"{value:.4g}"
    exact = Decimal(f"{value:.12g}").quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
    return f"{abs(exact) if exact == 0 else exact:f}"


def decimal_places(half_width: float) -> int:
    """Return the decimals of a half-width: two significant digits if the first is 1, 2 or 3, else one.

    0.6 → 1, 0.23 → 2, 2.3 → 1, 5 → 0, 23 → 0: integers are not rounded further.
    """
    digits, exponent = f"{half_width:.9e}".split("e")
    return max(0, (1 if float(digits) < TWO_DIGITS_BELOW else 0) - int(exponent))


def places_of(estimate: Estimate, decimals: int) -> int | None:
    """Return the decimals with which an estimate is printed; None if it follows its neighbours."""
    if math.isnan(estimate.value):
        return None
    if estimate.n_at_chance or (0 < len(estimate.values) <= FEW_VALUES):
        return _places_of_values(estimate.values, decimals)
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return None
    half = (estimate.high - estimate.low) / 2
    if half < ZERO_WIDTH:
        return None
    return _interval_text(estimate)[1]


def estimate_text(estimate: Estimate, decimals: int, *, places: int | None = None, of: str = "runs") -> str | None:
    """Return an estimate as text; None without a value.

    - with an interval: ``28.0 ± 0.6``, or ``0.52 [0.27, 3.30]`` if it is not symmetric. The place is that of the last
      significant digit of the half-width, and finer where the text would touch 0 while the interval excludes it;
    - one value: ``17.2``; two values: ``17.2, 17.9``; equal values: ``0.50 (all 5 pairs equal)``;
    - with runs at chance: ``3 of 6 trained: 34.0 (33.9 to 34.2); 3 at chance``, the mean of the trained runs with the
      lowest and the highest of them.

    Args:
        estimate: the value with its interval.
        decimals: those of a value without an interval and without neighbours.
        places: decimals of the neighbours, for a value without an interval; None: no neighbours.
        of: what the values are of: ``runs`` or ``pairs``.
    """
    value = estimate.value
    if math.isnan(value):
        return None
    if estimate.n_at_chance:
        return _trained_text(estimate, decimals)
    follow = decimals if places is None else places
    shown = estimate.values
    if len(shown) == 1 or not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return rounded(value, follow)
    if (estimate.high - estimate.low) / 2 < ZERO_WIDTH:
        return f"{rounded(value, follow)} ({f'both {of}' if estimate.n == 2 else f'all {estimate.n} {of}'} equal)"
    if shown:
        own = _places_of_values(shown, decimals)
        return ", ".join(rounded(one, follow if own is None else own) for one in shown)
    return _interval_text(estimate)[0]


def _places_of_values(values: tuple[float, ...], decimals: int) -> int | None:
    """Return the decimals that show the distance of the lowest from the highest value, at most ``decimals``."""
    if not values:
        return None
    span = max(values) - min(values)
    return min(decimals, decimal_places(span)) if span >= ZERO_WIDTH else None


def _trained_text(estimate: Estimate, decimals: int) -> str:
    trained = estimate.values
    head = f"{len(trained)} of {estimate.n} trained"
    tail = f"{estimate.n_at_chance} at chance"
    if not trained:
        return f"{head}; {tail}"
    places = _places_of_values(trained, decimals)
    places = min(1, decimals) if places is None else places
    mean, low, high = (rounded(x, places) for x in (sum(trained) / len(trained), min(trained), max(trained)))
    return f"{head}: {mean}{f' ({low} to {high})' if len(trained) > 1 else ''}; {tail}"


def _interval_text(estimate: Estimate) -> tuple[str, int]:
    """Return the text of an estimate with an interval, and its decimals.

    A text that touches 0 although the interval excludes it has further decimals.
    """
    value, low, high = estimate.value, estimate.low, estimate.high
    half = (high - low) / 2
    symmetric = math.isclose(high - value, value - low, rel_tol=1e-6)
    first = decimal_places(half) if symmetric else max(decimal_places(abs(b - value) or half) for b in (low, high))
    for places in range(first, first + MAX_EXTRA_PLACES):
        if symmetric:
            middle, width = rounded(value, places), rounded(half, places)
            text, ends = f"{middle} ± {width}", (Decimal(middle) - Decimal(width), Decimal(middle) + Decimal(width))
        else:
            ends = (Decimal(rounded(low, places)), Decimal(rounded(high, places)))
            text = f"{rounded(value, places)} [{ends[0]:f}, {ends[1]:f}]"
        if not (low > 0 or high < 0) or ends[0] > 0 or ends[1] < 0:
            break
    return text, places
