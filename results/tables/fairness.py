"""The fairness lint: what would make a comparison of this sweep unfair, looked for in the sweep itself."""

from __future__ import annotations

from collections.abc import Iterator

from results.ledger.arrays import SweepData
from results.tables.summary import by_everything_but_lr
from results.tables.table import Column, Row, Table
from search_spaces import NO_SCHEDULER

FINE, LOOK = "ok", "look"


def lint_table(sweep: SweepData) -> Table:
    """One row a check: ``ok``, or ``look`` and why."""
    rows = [
        Row({"check": check, "finding": LOOK if problems else FINE, "detail": "; ".join(problems) or "–"})
        for check, problems in (
            ("equal numbers of learning rates", list(_unequal_rates(sweep))),
            ("equal numbers of seeds", list(_unequal_seeds(sweep))),
            ("best rate inside its grid", list(_best_on_edge(sweep))),
            ("runs paired by seed", list(_unpaired(sweep))),
            ("schedulers at a rate of their own", list(_borrowed_rates(sweep))),
            ("selection saw validation only", []),  # by construction: no selecting code reads the test columns
            ("no failed run left out", list(_left_out(sweep))),
            ("one kind of device", list(_mixed_devices(sweep))),
        )
    ]
    return Table(
        "fairness",
        f"Fairness lint of {sweep.name}",
        (Column("check", "Check"), Column("finding", "Finding"), Column("detail", "Detail")),
        rows,
        ["Selection never reads the test columns; a test of the project checks it.", *sweep.caveats()],
    )


def _unequal_rates(sweep: SweepData) -> Iterator[str]:
    """Optimizers (and their momentum variants), not schedulers, are given rates to choose from."""
    rates: dict[str, set[float]] = {}
    for group in sweep.configurations:
        if group.columns["scheduler"] == NO_SCHEDULER:
            columns = group.columns
            rest = [f"{k}={v}" for k, v in columns.items() if k.startswith("optimizer.") and k != "optimizer.lr"]
            rates.setdefault(" ".join([str(columns["optimizer"]), *rest]), set()).add(columns.get("optimizer.lr", 0))
    counts = {len(found) for found in rates.values()}
    if len(counts) > 1:
        yield f"between {min(counts)} and {max(counts)} rates an optimizer; more tries find a better best"
    elif counts == {1} and len(rates) > 1:
        yield "one rate each, chosen before the sweep: it judges the pair of optimizer and rate, not the optimizer"


def _unequal_seeds(sweep: SweepData) -> Iterator[str]:
    counts = {int(group.counted.sum()) for group in sweep.configurations}
    if len(counts) > 1:
        yield f"between {min(counts)} and {max(counts)} runs with a result a configuration"
    if counts and max(counts) < 6:
        yield f"at most {max(counts)} seeds: below 6 no sign-flip p can fall under 0.05"


def _best_on_edge(sweep: SweepData) -> Iterator[str]:
    for groups in by_everything_but_lr(sweep).values():
        ranked = sorted(groups, key=lambda group: float(group.columns["optimizer.lr"]))
        if len(ranked) < 2:
            continue
        best = max(ranked, key=lambda group: float(group.final.mean()))
        if best is ranked[0] or best is ranked[-1]:
            side = "lowest" if best is ranked[0] else "highest"
            yield f"{best.label} is best at the {side} of its {len(ranked)} rates: widen the grid"


def _unpaired(sweep: SweepData) -> Iterator[str]:
    if len({group.counted_seeds for group in sweep.counted}) > 1:
        yield "configurations have results under different seeds; only common seeds are compared"


def _borrowed_rates(sweep: SweepData) -> Iterator[str]:
    for groups in by_everything_but_lr(sweep).values():
        if len(groups) == 1 and groups[0].columns["scheduler"] != NO_SCHEDULER:
            yield f"{groups[0].label} has one rate"


def _left_out(sweep: SweepData) -> Iterator[str]:
    for group in sweep.configurations:
        if not group.counted.all():
            yield f"{group.label}: {group.share_of_runs}"


def _mixed_devices(sweep: SweepData) -> Iterator[str]:
    if len(sweep.devices) > 1:
        yield f"{', '.join(sweep.devices)}: the same run gives other bits there"
