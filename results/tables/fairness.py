"""The fairness lint: checks for an unfair comparison within a sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from results.ledger.arrays import MAX_NAMED, SweepData
from results.metrics.comparison import min_pairs
from results.tables.benchmark_lint import BENCHMARK_CHECKS
from results.tables.lint_codes import LINT_CODES, anchor_of
from results.tables.standings import comparisons_asked
from results.tables.summary import learning_rate_families
from results.tables.table import Column, Row, Table
from search_spaces import NO_SCHEDULER
from search_spaces.canonical import one_spelling
from search_spaces.plain_text import counted, plain_text

Check = Callable[[SweepData], Iterable[str]]

OK, WARNING, IGNORED = "ok", "warning", "ignored"

SHARED_SETTINGS = ("weight_decay", "momentum")
"""Settings of the same meaning in several optimizers; a difference between rows must be visible in their labels."""


def fairness_table(sweep: SweepData) -> Table:
    """One row per check: ``ok``, or ``warning`` and the reason, or ``ignored`` and why the spec ignores it."""
    rows = []
    for code, find in checks_of(sweep).items():
        problems = list(dict.fromkeys(find(sweep)))
        reason = sweep.lint_ignored.get(code) if problems else None
        detail = "; ".join(problems) or "–"
        rows.append(
            Row(
                {
                    "code": code,
                    "check": LINT_CODES[code],
                    "finding": IGNORED if reason else WARNING if problems else OK,
                    "detail": f"{detail} (ignored: {plain_text(reason)})" if reason else detail,
                    "page": anchor_of(code) if problems else None,
                }
            )
        )
    return Table(
        "fairness",
        f"Fairness lint of {sweep.name}",
        (
            Column("check", "Check"), Column("code", "Code"), Column("finding", "Finding"), Column("detail", "Detail"),
            Column("page", "Explained in"),
        ),
        rows,
        ["Selection code does not read the test columns. A test of this project checks it.", *sweep.caveats()],
    )  # fmt: skip


def checks_of(sweep: SweepData) -> dict[str, Check]:
    """Return the checks that apply to a sweep: in a benchmark, those of tuning by hand are replaced."""
    if sweep.benchmark is None:
        return CHECKS
    kept = {code: find for code, find in CHECKS.items() if code not in OF_CHOSEN_CONFIGURATIONS}
    return {**kept, **BENCHMARK_CHECKS}


def _rate_counts(sweep: SweepData) -> list[int]:
    """Count the learning rates of each optimizer with its momentum settings, without schedulers."""
    rates: dict[str, set[float]] = {}
    for group in sweep.configurations:
        if group.columns["scheduler"] == NO_SCHEDULER:
            columns = group.columns
            rest = [f"{k}={v}" for k, v in columns.items() if _is_setting(k)]
            rates.setdefault(" ".join([str(columns["optimizer"]), *rest]), set()).add(columns.get("optimizer.lr", 0))
    return [len(found) for found in rates.values()]


def _unequal_rates(sweep: SweepData) -> Iterator[str]:
    counts = _rate_counts(sweep)
    if len(set(counts)) > 1:
        yield f"{min(counts)} to {max(counts)} learning rates per optimizer; more attempts give a higher best accuracy"


def _one_rate(sweep: SweepData) -> Iterator[str]:
    counts = _rate_counts(sweep)
    if set(counts) == {1} and len(counts) > 1:
        yield "one learning rate per optimizer: the result describes optimizer and learning rate together"


def _is_setting(column: str) -> bool:
    return column == "batch_size" or (column.startswith("optimizer.") and column != "optimizer.lr")


def _unequal_attempts(sweep: SweepData) -> Iterator[str]:
    """Count the configurations of each optimizer class: each one is an attempt to tune it."""
    counts = Counter(str(group.columns["optimizer"]) for group in sweep.configurations)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        yield f"configurations per optimizer: {listed}; more attempts give a higher best accuracy"


def _hidden_settings(sweep: SweepData) -> Iterator[str]:
    """Find optimizer settings that differ between rows, where no label of the rows with the setting names it."""
    names = {key for group in sweep.configurations for key in group.columns if key.startswith("optimizer.")}
    for key in sorted(names - {"optimizer.lr"}):
        name = key.partition(".")[2]
        values = {str(one_spelling(group.columns.get(key) or 0)) for group in sweep.configurations}
        hidden = [g for g in sweep.configurations if g.columns.get(key) and not _names(g.label, name)]
        if len(values) > 1 and name in SHARED_SETTINGS and hidden:
            shown = ", ".join(f"{group.label} ({name}={group.columns[key]:g})" for group in hidden[:MAX_NAMED])
            more = f" and {len(hidden) - MAX_NAMED} more" if len(hidden) > MAX_NAMED else ""
            yield f"{name} differs between rows, and these labels do not show it: {shown}{more}"


def _names(label: str, setting: str) -> bool:
    return any(word.partition("=")[0] == setting for word in label.split())


def _unequal_seeds(sweep: SweepData) -> Iterator[str]:
    counts = {int(group.counted.sum()) for group in sweep.configurations}
    if len(counts) > 1:
        yield f"{min(counts)} to {max(counts)} runs with a result per configuration"


def _few_seeds(sweep: SweepData) -> Iterator[str]:
    counts = [int(group.counted.sum()) for group in sweep.configurations]
    family = comparisons_asked(sweep)
    needed = min_pairs(family, sweep.level)
    if counts and max(counts) < needed:
        asked = f"{family} comparisons need" if family > 1 else "a test needs"
        yield f"at most {counted(max(counts), 'seed')}: {asked} at least {needed} for p ≤ 0.05"


def _best_on_edge(sweep: SweepData) -> Iterator[str]:
    for groups in learning_rate_families(sweep).values():
        ranked = sorted(groups, key=lambda group: float(group.columns["optimizer.lr"]))
        if len(ranked) < 2:
            continue
        best = max(ranked, key=lambda group: float(group.final.mean()))
        if len(ranked) == 2:
            yield f"{best.label} has 2 learning rates: the grid has no interior; extend the grid"
        elif best is ranked[0] or best is ranked[-1]:
            side = "lowest" if best is ranked[0] else "highest"
            yield f"{best.label} is best at the {side} of its {len(ranked)} learning rates: extend the grid"


def _unpaired(sweep: SweepData) -> Iterator[str]:
    compared = [list(sweep.counted)]
    if sweep.benchmark is not None:  # each study has its own evaluation seeds
        studies = [study for method in sweep.benchmark.evaluated for study in method.evaluated]
        compared = [
            [study.evaluation for study in studies if study.number == number and study.evaluation is not None]
            for number in sweep.benchmark.studies
        ]
    if any(len({group.counted_seeds for group in groups}) > 1 for groups in compared):
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


CHECKS: dict[str, Check] = {
    "LS001": _unequal_rates,
    "LS002": _one_rate,
    "LS003": _unequal_attempts,
    "LS004": _unequal_seeds,
    "LS005": _few_seeds,
    "LS006": _best_on_edge,
    "LS007": _hidden_settings,
    "LS008": _unpaired,
    "LS009": _borrowed_rates,
    "LS010": lambda sweep: (),  # selection code does not read the test columns, which a test checks
    "LS011": _left_out,
    "LS012": _mixed_devices,
}
"""Code → the check of a sweep: it returns what is unfair."""

OF_CHOSEN_CONFIGURATIONS = ("LS001", "LS002", "LS003", "LS006", "LS007", "LS009")
"""Checks of tuning by hand. In a benchmark, the methods are tuned, and named by the spec."""
