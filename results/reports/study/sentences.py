"""What the study claims beside what was measured, in tables and sentences: every judgement is made from the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

from results.ledger.arrays import SweepData
from results.metrics.intervals import Estimate
from results.reports.study.claims import CLAIMED_EPOCH, CLAIMED_PEAK_CUT, CLAIMED_VARIANCE_CUT
from results.tables.summary import TEST
from results.tables.table import Table, estimate_text


def claims_accuracy(claimed: Table | None, sweep: SweepData) -> str:
    """Say in one sentence how far the claimed accuracies are from the measured ones; nothing where there are none."""
    found, where = _measured(claimed)
    if not found:
        return ""
    gaps = [claim - estimate.value for _, claim, estimate in found]
    low, high = min(gaps), max(gaps)
    if low > 0 or high < 0:
        small, large = sorted((abs(low), abs(high)))
        span = f"{small:.1f}" if len(gaps) == 1 else f"{small:.1f} to {large:.1f}"
        gap = f"{span} pp {'above' if low > 0 else 'below'} what was measured"
    else:
        gap = f"between {abs(low):.1f} pp below and {high:.1f} pp above what was measured"
    return (
        f"Accuracies that were claimed for epoch {CLAIMED_EPOCH} are {gap} on the {where} after "
        f"{_epochs(sweep.epochs)}{_by_whom(len(gaps))}."
    )


def claims_distance(claimed: Table | None, sweep: SweepData) -> list[str]:
    """Say how far each claim is from its measurement, and what of them agrees; nothing where there are none."""
    found, where = _measured(claimed)
    if not found:
        return []
    each = [
        f"{name} {claim:.2f} % against {estimate_text(estimate, 2)} % ({_apart(claim - estimate.value)})"
        for name, claim, estimate in found
    ]
    lines = [
        f"Claimed for epoch {CLAIMED_EPOCH} against measured on the {where} after {_epochs(sweep.epochs)}: "
        f"{'; '.join(each)}."
    ]
    known = [(claim, estimate) for _, claim, estimate in found if math.isfinite(estimate.low)]
    if known:
        inside = sum(estimate.low <= claim <= estimate.high for claim, estimate in known)
        lines.append(f"Inside the 95 % interval of the measured mean: {inside} of {len(known)} claimed accuracies.")
    else:
        lines.append("With one result a configuration there is no interval to hold the claims against.")
    if len(found) > 1:
        by_claim = [name for name, _, _ in sorted(found, key=lambda one: -one[1])]
        by_mean = [name for name, _, _ in sorted(found, key=lambda one: -one[2].value)]
        order = (
            ", which is the order of the measured means, too"
            if by_claim == by_mean
            else f"; the measured means in the order {', '.join(by_mean)}"
        )
        lines.append(f"From high to low, the claims stand in the order {', '.join(by_claim)}{order}.")
    if sweep.epochs < CLAIMED_EPOCH:
        lines.append(
            f"The claims are for epoch {CLAIMED_EPOCH}: these distances also hold whatever "
            f"{CLAIMED_EPOCH - sweep.epochs} more epochs would change."
        )
    return lines


def claims_on_gradients(tables: Mapping[str, Table]) -> list[str]:
    """Hold the claims on gradients against the tables ``gradient_stages`` and ``gradient_ewma``.

    Nothing where the first has no claims in it, because it is of other gradients than the study's.
    """
    stages, smoothed = tables.get("gradient_stages"), tables.get("gradient_ewma")
    if stages is None or "claimed_variance" not in {column.key for column in stages.columns}:
        return []
    ratios = [
        f"{row.values['gradients']} {_ratio(claim / variance)} times"
        for row in stages.rows
        if isinstance(claim := row.values.get("claimed_variance"), float)
        and isinstance(variance := row.values.get("variance"), float)
        and variance > 0
    ]
    lines = [
        "The claims on gradients stand beside what was measured in section 3.2."
        + (f" The claimed variances are, of the measured ones: {', '.join(ratios)}." if ratios else "")
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
                f"An EWMA with β = 0.9 is claimed to take {CLAIMED_VARIANCE_CUT} % off the variance and "
                f"{CLAIMED_PEAK_CUT} % off the peak. It took {cut:.1f} % and {peak_cut:.1f} %; off the variance of "
                f"white noise it takes {100 - noise:.1f} %."
            )
    return lines


def _measured(claimed: Table | None) -> tuple[list[tuple[str, float, Estimate]], str]:
    """Return name, claim and measured mean of every row: of the test set if all were tested, else of validation."""
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


def _apart(gap: float) -> str:
    return f"{abs(gap):.1f} pp {'above' if gap > 0 else 'below'}"


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def _by_whom(rows: int) -> str:
    return "" if rows == 1 else f", over {rows} configurations"


def _ratio(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
