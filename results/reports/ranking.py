"""The configurations of a sweep in the order of their validation accuracy, and one sentence about the best one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import ConfigurationRuns
from results.metrics.comparison import (
    BETTER,
    EQUAL,
    NO_DIFFERENCE,
    SAME_SHARE,
    TOO_FEW,
    TRAINS_LESS,
    TRAINS_MORE,
    WORSE,
)
from results.metrics.equivalence import MARGIN
from results.metrics.intervals import Estimate
from results.reports.summary import answer, seeds_for_a_test
from results.tables.comparison import (
    EQUAL_BY_THEORY,
    SPLIT_NAMES,
    Comparisons,
    Contender,
    compare_best,
    compare_groups,
)
from results.tables.numbers import estimate_text, rounded
from results.tables.summary import CONFIGURATION, FINAL, TEST, target_note, target_values, to_target
from results.tables.table import Column, Row, Table
from search_spaces.plain_text import counted

EQUIVALENT = f"equal within {MARGIN:g} pp"
UNDECIDED = "undecided"
BEST, REFERENCE = "best", "reference"
OTHER_RATE = ""
"""The verdict on a configuration whose family is compared at another learning rate."""
SHORT = {OTHER_RATE: "–", TOO_FEW: "too few"}
"""A verdict → its form in a table."""

FROM_THE_OTHER = {
    BETTER: WORSE, WORSE: BETTER, TRAINS_MORE: TRAINS_LESS, TRAINS_LESS: TRAINS_MORE, TOO_FEW: TOO_FEW, EQUAL: EQUAL,
    EQUAL_BY_THEORY: EQUAL_BY_THEORY, NO_DIFFERENCE: UNDECIDED, SAME_SHARE: UNDECIDED,
}  # fmt: skip
"""A verdict on the compared configuration → the verdict on the other one."""


@dataclass(frozen=True)
class RankedConfiguration:
    """A configuration with its rank, its accuracies in percent, and its difference in pp from the compared one."""

    rank: int
    group: ConfigurationRuns
    validation: Estimate
    test: Estimate | None  # None: not every run has a test accuracy
    difference: Estimate | None  # positive: better than the compared one; None for that one itself
    verdict: str


@dataclass(frozen=True)
class Ranking:
    """All configurations with a result, the best by validation first."""

    sweep: SweepData
    compared: Comparisons | None  # None: there is nothing to compare
    rows: tuple[RankedConfiguration, ...]

    @property
    def without_result(self) -> int:
        """The number of configurations without a result."""
        return len(self.sweep.configurations) - len(self.rows)

    def sentence(self) -> str:
        """Return the answer of the sweep in one sentence; the verdict of a benchmark has two."""
        if self.sweep.benchmark is not None:
            return " ".join(answer(self.sweep))
        best = self.sweep.best
        if best is None:
            return answer(self.sweep)[0]
        mean = best.mean()
        shown = rounded(mean.value, 2) if mean.n < 3 or mean.n_at_chance else estimate_text(mean, 2)
        text = f"{best.label} has the highest validation accuracy, {shown} %"
        if self.compared is None or not self.compared.tested:
            return f"{text}; there is no other configuration to compare it with."
        verdicts = [_seen_from_the_other(self.compared, contender) for contender in self.compared.contenders]
        if needed := seeds_for_a_test(self.sweep):
            have = len(self.sweep.common_seeds)
            return f"{text}; {counted(have, 'seed')} are too few for a significance test, which needs {needed}."
        subject = "the reference" if self.compared.named_before else "it"
        others = counted(len(verdicts), "other learning rate" if self.compared.by_rate else "other configuration")
        parts = [f"{subject} is significantly better than {verdicts.count(WORSE)} of {others}"]
        parts += [f"significantly worse than {verdicts.count(BETTER)}"] if BETTER in verdicts else []
        parts += [f"equal within {MARGIN:g} pp to {verdicts.count(EQUIVALENT)}"] if EQUIVALENT in verdicts else []
        parts += [f"{verdicts.count(UNDECIDED)} undecided"] if UNDECIDED in verdicts else []
        return f"{text}; {', '.join(parts)}."

    def notes(self, rows: Sequence[RankedConfiguration]) -> list[str]:
        """Return the notes on the verdicts and the differences of these rows."""
        verdicts = {row.verdict for row in rows}
        notes = []
        if self.without_result:
            notes.append(f"{counted(self.without_result, 'configuration')} without a result.")
        if self.compared is not None and OTHER_RATE in verdicts:
            notes.append("–: the same optimizer and scheduler are compared at another learning rate.")
        if TOO_FEW in verdicts:
            notes.append(f"{SHORT[TOO_FEW]}: there are too few seeds for a significance test.")
        if self.compared is not None:
            split = SPLIT_NAMES[self.compared.split]
            notes.append(f"Differences: {split} accuracy, paired by seed, 95 % interval.")
        return notes


def ranking_table(ranking: Ranking) -> Table | None:
    """Return the ranking as a table; None without a result."""
    sweep, compared = ranking.sweep, ranking.compared
    if not ranking.rows:
        return None
    columns = [CONFIGURATION, FINAL, TEST]
    if compared is not None:
        other = REFERENCE if compared.named_before else BEST
        columns.append(Column("difference", f"To the {other}", "pp", of="pairs"))
    columns += [to_target(sweep), Column("verdict", "Verdict")]
    rows = [
        Row(
            {
                "configuration": row.group.label, "final_val_acc": row.validation, "test_acc": row.test,
                "difference": row.difference, "verdict": SHORT.get(row.verdict, row.verdict),
                "epochs_to_target": target_values(sweep, row.group).get("epochs_to_target"),
            },
            row.group.counted_ids,
        )
        for row in ranking.rows
    ]  # fmt: skip
    notes = [*ranking.notes(ranking.rows), target_note(sweep)]
    return Table("ranking", f"The configurations of {sweep.name}, best validation accuracy first", columns, rows, notes)


def ranked(sweep: SweepData) -> Ranking:
    """Rank the configurations by their mean validation accuracy under the common seeds.

    A configuration without a result under one of these seeds follows after those that have them all. The difference
    is from the reference, or else from the best configuration, on the split of :func:`compare_best`, paired by seed.
    """
    compared = compare_best(sweep) if sweep.benchmark is None else None  # a benchmark compares all pairs of methods
    verdicts: dict[str, str] = {}
    if compared is not None:
        verdicts = {c.group.configuration_id: _seen_from_the_other(compared, c) for c in compared.contenders}
    eligible = {group.configuration_id for group in sweep.eligible}

    def order(group: ConfigurationRuns) -> tuple[bool, bool, float]:
        fair = group.configuration_id in eligible
        mean = group.mean_under(sweep.common_seeds) if fair else float(group.final.mean())
        return group is not sweep.best, not fair, -mean

    rows = []
    for rank, group in enumerate(sorted(sweep.counted, key=order), start=1):
        difference, verdict = None, verdicts.get(group.configuration_id, OTHER_RATE)
        if compared is not None and group is compared.best:
            verdict = REFERENCE if compared.named_before else BEST
        elif compared is not None:
            found, _ = compare_groups(compared.best, group, compared.split, sweep.level)
            difference = _opposite(found.difference) if found.n else None
        elif group is sweep.best:
            verdict = BEST
        rows.append(RankedConfiguration(rank, group, group.mean(), _test_mean(group), difference, verdict))
    return Ranking(sweep, compared, tuple(rows))


def _seen_from_the_other(compared: Comparisons, contender: Contender) -> str:
    """Return the verdict on the contender against the compared configuration."""
    verdict = compared.verdict(contender)
    if verdict == NO_DIFFERENCE and contender.comparison.equivalent:
        return EQUIVALENT
    return FROM_THE_OTHER.get(verdict, verdict)


def _test_mean(group: ConfigurationRuns) -> Estimate | None:
    finals = group.accuracy("test")[:, -1]
    return group.mean("test") if bool(np.isfinite(finals).all()) else None


def _opposite(difference: Estimate) -> Estimate:
    values = tuple(-value for value in difference.values)
    return replace(difference, value=-difference.value, low=-difference.high, high=-difference.low, values=values)
