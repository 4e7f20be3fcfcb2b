"""Sentences that compare the study's claims with the measured values; all of them are computed from numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

from results.ledger.arrays import SweepData
from results.metrics.intervals import Estimate
from results.reports.study.claims import CLAIMED_EPOCH, CLAIMED_PEAK_CUT, CLAIMED_VARIANCE_CUT
from results.tables.numbers import estimate_text
from results.tables.summary import TEST
from results.tables.table import Table


def claims_accuracy(claimed: Table | None, sweep: SweepData) -> str:
    """Return one sentence on the distance of the claimed accuracies from the measured ones; empty without any."""
    found, where = _measured(claimed)
    if not found:
        return ""
    gaps = [claim - estimate.value for _, claim, estimate in found]
    low, high = min(gaps), max(gaps)
    if low > 0 or high < 0:
        small, large = sorted((abs(low), abs(high)))
        span = f"{small:.1f}" if len(gaps) == 1 else f"{small:.1f} to {large:.1f}"
        gap = f"{span} pp {'higher' if low > 0 else 'lower'} than measured"
    else:
        gap = f"between {abs(low):.1f} pp lower and {high:.1f} pp higher than measured"
    return (
        f"The accuracies claimed for epoch {CLAIMED_EPOCH} are {gap} on the {where} after "
        f"{_epochs(sweep.epochs)}{_over_configurations(len(gaps))}."
    )


def claims_distance(claimed: Table | None, sweep: SweepData) -> list[str]:
    """Return sentences on the distance and the order of claimed and measured accuracies; none without any."""
    found, where = _measured(claimed)
    if not found:
        return []
    each = [
        f"{name} {claim:.2f} % and {estimate_text(estimate, 2)} % ({_gap_text(claim - estimate.value)})"
        for name, claim, estimate in found
    ]
    lines = [
        f"Claimed for epoch {CLAIMED_EPOCH} and measured on the {where} after {_epochs(sweep.epochs)}: "
        f"{'; '.join(each)}."
    ]
    known = [(claim, estimate) for _, claim, estimate in found if math.isfinite(estimate.low)]
    if known:
        inside = sum(estimate.low <= claim <= estimate.high for claim, estimate in known)
        lines.append(f"Inside the 95 % interval of the measured mean: {inside} of {len(known)} claimed accuracies.")
    else:
        lines.append("There is no interval: each configuration has one result, or a run at chance.")
    if len(found) > 1:
        by_claim = [name for name, _, _ in sorted(found, key=lambda one: -one[1])]
        by_mean = [name for name, _, _ in sorted(found, key=lambda one: -one[2].value)]
        order = (
            ", which is also the order of the measured means"
            if by_claim == by_mean
            else f"; order of the measured means: {', '.join(by_mean)}"
        )
        lines.append(f"Order of the claims from high to low: {', '.join(by_claim)}{order}.")
    if sweep.epochs < CLAIMED_EPOCH:
        lines.append(
            f"The claims are for epoch {CLAIMED_EPOCH}, so the distances include the effect of "
            f"{CLAIMED_EPOCH - sweep.epochs} more epochs."
        )
    return lines


def claims_on_gradients(tables: Mapping[str, Table]) -> list[str]:
    """Return sentences that compare the claims on gradients with ``gradient_stages`` and ``gradient_ewma``.

    None if ``gradient_stages`` has no claims, because its gradients are not those of the study.
    """
    stages, smoothed = tables.get("gradient_stages"), tables.get("gradient_ewma")
    if stages is None or "claimed_variance" not in {column.key for column in stages.columns}:
        return []
    ratios = [
        f"{row.values['gradients']} {_ratio(claim / variance)}"
        for row in stages.rows
        if isinstance(claim := row.values.get("claimed_variance"), float)
        and isinstance(variance := row.values.get("variance"), float)
        and variance > 0
    ]
    lines = [
        "Section 4.2 has the claims on gradients beside the measured values."
        + (f" Ratio of claimed to measured variance: {', '.join(ratios)}." if ratios else "")
    ]
    for row in smoothed.rows if smoothed else ():
        cut, peak_cut, noise = (row.values.get(key) for key in ("cut", "peak_cut", "white_noise"))
        if (
            row.values.get("gradients") == "EWMA β = 0.9"
            and isinstance(cut, float)
            and isinstance(peak_cut, float)
            and isinstance(noise, float)
        ):
            lines.append(
                f"Claimed reduction by an EWMA with β = 0.9: {CLAIMED_VARIANCE_CUT} % of the variance and "
                f"{CLAIMED_PEAK_CUT} % of the peak. Measured: {cut:.1f} % and {peak_cut:.1f} %. Reduction of the "
                f"variance of white noise: {100 - noise:.1f} %."
            )
    return lines


def _measured(claimed: Table | None) -> tuple[list[tuple[str, float, Estimate]], str]:
    """Return name, claim and measured mean of every row: on the test set if all were tested, else on validation."""
    for key, where in ((TEST.key, "test set"), ("final_val_acc", "validation split")):
        found = [
            (str(row.values["configuration"]), claim, estimate)
            for row in (claimed.rows if claimed else ())
            if isinstance(claim := row.values["claimed_accuracy"], float)
            and isinstance(estimate := row.values[key], Estimate)
        ]
        if found and all(math.isfinite(estimate.value) for _, _, estimate in found):
            return found, where
    return [], ""


def _gap_text(gap: float) -> str:
    return f"{abs(gap):.1f} pp {'higher' if gap > 0 else 'lower'}"


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def _over_configurations(rows: int) -> str:
    return "" if rows == 1 else f" ({rows} configurations)"


def _ratio(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
