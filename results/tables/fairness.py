"""The fairness lint: checks for an unfair comparison within a sweep."""

from __future__ import annotations

from collections.abc import Iterator

from results.ledger.arrays import SweepData
from results.tables.summary import learning_rate_families
from results.tables.table import Column, Row, Table
from search_spaces import NO_SCHEDULER

OK, WARNING = "ok", "warning"


def fairness_table(sweep: SweepData) -> Table:
    """One row per check: ``ok``, or ``warning`` and the reason."""
    rows = [
        Row({"check": check, "finding": WARNING if problems else OK, "detail": "; ".join(problems) or "–"})
        for check, problems in (
            ("equal numbers of learning rates", list(_unequal_rates(sweep))),
            ("equal numbers of seeds", list(_unequal_seeds(sweep))),
            ("best learning rate inside its grid", list(_best_on_edge(sweep))),
            ("runs paired by seed", list(_unpaired(sweep))),
            ("learning rate tuned for each scheduler", list(_borrowed_rates(sweep))),
            ("selection on validation only", []),  # selection code does not read the test columns, which a test checks
            ("no run without a result", list(_left_out(sweep))),
            ("one kind of device", list(_mixed_devices(sweep))),
        )
    ]
    return Table(
        "fairness",
        f"Fairness lint of {sweep.name}",
        (Column("check", "Check"), Column("finding", "Finding"), Column("detail", "Detail")),
        rows,
        ["Selection code does not read the test columns. A test of this project checks it.", *sweep.caveats()],
    )


def _unequal_rates(sweep: SweepData) -> Iterator[str]:
    """Count the learning rates of each optimizer with its momentum settings, without schedulers."""
    rates: dict[str, set[float]] = {}
    for group in sweep.configurations:
        if group.columns["scheduler"] == NO_SCHEDULER:
            columns = group.columns
            rest = [f"{k}={v}" for k, v in columns.items() if k.startswith("optimizer.") and k != "optimizer.lr"]
            rates.setdefault(" ".join([str(columns["optimizer"]), *rest]), set()).add(columns.get("optimizer.lr", 0))
    counts = {len(found) for found in rates.values()}
    if len(counts) > 1:
        yield f"{min(counts)} to {max(counts)} learning rates per optimizer; more attempts give a higher best accuracy"
    elif counts == {1} and len(rates) > 1:
        yield "one learning rate per optimizer: the result describes optimizer and learning rate together"


def _unequal_seeds(sweep: SweepData) -> Iterator[str]:
    counts = {int(group.counted.sum()) for group in sweep.configurations}
    if len(counts) > 1:
        yield f"{min(counts)} to {max(counts)} runs with a result per configuration"
    if counts and max(counts) < 6:
        yield f"at most {max(counts)} seeds: a sign-flip test needs at least 6 seeds for p < 0.05"


def _best_on_edge(sweep: SweepData) -> Iterator[str]:
    for groups in learning_rate_families(sweep).values():
        ranked = sorted(groups, key=lambda group: float(group.columns["optimizer.lr"]))
        if len(ranked) < 2:
            continue
        best = max(ranked, key=lambda group: float(group.final.mean()))
        if best is ranked[0] or best is ranked[-1]:
            side = "lowest" if best is ranked[0] else "highest"
            yield f"{best.label} is best at the {side} of its {len(ranked)} learning rates: extend the grid"


def _unpaired(sweep: SweepData) -> Iterator[str]:
    if len({group.counted_seeds for group in sweep.counted}) > 1:
        yield "configurations have results under different seeds; comparisons use the common seeds"


def _borrowed_rates(sweep: SweepData) -> Iterator[str]:
    for groups in learning_rate_families(sweep).values():
        if len(groups) == 1 and groups[0].columns["scheduler"] != NO_SCHEDULER:
            yield f"{groups[0].label} has one learning rate"


def _left_out(sweep: SweepData) -> Iterator[str]:
    for group in sweep.configurations:
        if not group.counted.all():
            yield f"{group.label}: {group.share_of_runs}"


def _mixed_devices(sweep: SweepData) -> Iterator[str]:
    if len(sweep.devices) > 1:
        yield f"{', '.join(sweep.devices)}: the same run gives different bits on them"
