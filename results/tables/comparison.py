"""The paired comparison of the best configuration with the others, and the performance profile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import ConfigurationRuns
from results.metrics import convergence
from results.metrics.comparison import (
    ALPHA,
    BETTER,
    MCNEMAR,
    NO_DIFFERENCE,
    SAME_SHARE,
    SIGN_FLIP_DRAWN,
    TOO_FEW,
    WORSE,
    Comparison,
    compare_pairs,
    holm,
    min_pairs,
    verdict,
)
from results.metrics.equivalence import MARGIN
from results.metrics.power import pairs_needed
from results.metrics.profiles import TARGET_SHARES, performance_profile, profile_targets
from results.metrics.sequential import looks
from results.tables.summary import CONFIGURATION, learning_rate_families
from results.tables.table import Column, Row, Table, Value
from search_spaces.plain_text import counted

SPLIT_NAMES = {"val": "validation", "test": "test"}

TAUS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
PAIRS = Column("n", "Pairs")
POWER_FOR = (0.5, 1.0, 2.0)
"""True differences in pp for which the number of seeds is reported where there are too few."""

COMPARISON_COLUMNS = (
    Column("difference", "Difference", "pp", of="pairs"),
    Column("won", "Pairs won", where="text"),
    Column("n_won", "Pairs won", where="files"),
    Column("n_tied", "Pairs tied", where="files"),
    Column("n_trained", "Runs that trained", where="files"),
    Column("n_trained_other", "Runs of the other that trained", where="files"),
    Column("test", "Test"),
    Column("p_value", "p", decimals=3, least=0.001),
    Column("p_holm", "p (Holm)", decimals=3, least=0.001),
    Column("smallest_p", "Smallest possible p", decimals=3, least=0.001),
    Column("verdict", "Verdict"),
    Column("equivalence", "Equivalence"),
    Column("seeds_needed", "Seeds needed for 0.5, 1, 2 pp", where="text"),
    *(Column(f"seeds_for_{pp:g}pp", f"Seeds needed for {pp:g} pp", decimals=0, where="files") for pp in POWER_FOR),
)

EQUAL_BY_THEORY = "equal by theory"

NAMED_BEFORE = "The reference was named before the runs were trained, so the choice does not favour it."
RATES_CHOSEN = "The learning rate of each other configuration was chosen from these same runs, which favours that one."


@dataclass(frozen=True)
class Contender:
    """A configuration that the best one is compared with, and the ids of the runs of both."""

    group: ConfigurationRuns
    rates: int  # learning rates of its family, of which this is the best one
    comparison: Comparison
    run_ids: tuple[str, ...]
    equal_by_theory: bool


@dataclass(frozen=True)
class Comparisons:
    """One configuration, compared with each contender on one split, paired by seed."""

    best: ConfigurationRuns  # the reference that was named before the runs, else the best one by validation
    split: str
    contenders: tuple[Contender, ...]
    by_rate: bool  # whether the sweep has one family, whose learning rates are compared
    named_before: bool = False  # whether it is the sweep's reference
    level: float = ALPHA  # of the tests, after the correction for looks

    def notes_on_choice(self, sweep: SweepData) -> list[str]:
        """Return how the configuration was chosen, and which one the choice favours."""
        if not self.named_before:
            command = f" `sweep confirm {sweep.name}` compares under new seeds." if sweep.name else ""
            return [f"The winner was chosen from these same runs, which favours it.{command}"]
        several = any(contender.rates > 1 for contender in self.contenders)
        return [NAMED_BEFORE, *([RATES_CHOSEN] if several else [])]

    @cached_property
    def tested(self) -> tuple[Contender, ...]:
        """The contenders that are not equal to the best configuration by theory: the family of the correction."""
        return tuple(contender for contender in self.contenders if not contender.equal_by_theory)

    @cached_property
    def adjusted(self) -> dict[str, float]:
        """The Holm-corrected p of each tested contender, by its configuration id."""
        p_values = [c.comparison.p_value if c.comparison.n else 1.0 for c in self.tested]
        return {
            c.group.configuration_id: float(p) for c, p in zip(self.tested, holm(p_values), strict=True)
        }  # fmt: skip

    def verdict(self, contender: Contender) -> str:
        """Return the verdict on the best configuration against a contender."""
        if contender.equal_by_theory:
            return EQUAL_BY_THEORY
        adjusted = self.adjusted[contender.group.configuration_id]
        return verdict(contender.comparison, adjusted, len(self.tested), self.level)

    @property
    def undecided(self) -> list[Contender]:
        """The tested contenders that are neither better nor worse nor equal within the margin."""
        open_verdicts = (TOO_FEW, NO_DIFFERENCE, SAME_SHARE)
        return [c for c in self.tested if self.verdict(c) in open_verdicts and not c.comparison.equivalent]


def compare_best(sweep: SweepData) -> Comparisons | None:
    """Compare the reference, or else the best configuration, with every other family at its best learning rate.

    A family is a configuration without its learning rate; the best rate is chosen by validation. A sweep of a single
    family compares its learning rates. None without a best configuration, without a result of the reference, or without
    another configuration with a result.
    """
    best = sweep.reference if sweep.reference_id else sweep.best
    if best is None or sweep.best is None or len(sweep.counted) < 2:
        return None
    families = configuration_families(sweep)
    others = [(max(family, key=lambda group: _rank(sweep, group)), len(family)) for family in families
              if best not in family]  # fmt: skip
    by_rate = not others
    if by_rate:
        others = [(group, len(families[0])) for group in sweep.counted if group is not best]
    split = comparison_split(sweep)
    contenders = []
    for group, rates in others:
        comparison, ids = compare_groups(best, group, split, sweep.level)
        contenders.append(Contender(group, rates, comparison, tuple(ids), _theory(best) == _theory(group)))
    return Comparisons(best, split, tuple(contenders), by_rate, bool(sweep.reference_id), sweep.level)


def configuration_families(sweep: SweepData) -> list[list[ConfigurationRuns]]:
    """Return the counted configurations in families that differ only in the learning rate, in the sweep's order."""
    with_rate = list(learning_rate_families(sweep).values())
    known = {group.configuration_id for family in with_rate for group in family}
    single = [[group] for group in sweep.counted if group.configuration_id not in known]
    order = {group.configuration_id: place for place, group in enumerate(sweep.counted)}
    return sorted([*with_rate, *single], key=lambda family: order[family[0].configuration_id])


def compare_groups(
    a: ConfigurationRuns, b: ConfigurationRuns, split: str, level: float = ALPHA
) -> tuple[Comparison, list[str]]:
    """Compare two configurations under their common seeds; return the comparison and the ids of these runs."""
    seeds = sorted(set(a.counted_seeds) & set(b.counted_seeds))
    finals, trained, ids = [], [], []
    for group in (a, b):
        places = [group.counted_seeds.index(seed) for seed in seeds]
        finals.append(group.accuracy(split)[places, -1])
        trained.append(group.trained[places])
        ids += [group.counted_ids[place] for place in places]
    return compare_pairs(finals[0], finals[1], trained=(trained[0], trained[1]), level=level), ids


def comparison_split(sweep: SweepData) -> str:
    """Return ``test`` if every counted run that did not diverge has a test result of its last epoch, else ``val``."""
    finals = [group.accuracy("test")[~group.diverged, -1] for group in sweep.counted]
    tested = np.concatenate([np.empty(0), *finals])
    return "test" if len(tested) and np.isfinite(tested).all() else "val"


def comparison_table(sweep: SweepData) -> Table | None:
    """The best configuration by validation compared with the others, paired by seed; None for fewer than two."""
    compared = compare_best(sweep)
    if compared is None:
        return None
    best, split, family = compared.best, compared.split, len(compared.tested)
    rows = [
        Row(
            {
                "configuration": contender.group.label,
                "n_rates": contender.rates,
                **comparison_values(
                    contender.comparison, compared.adjusted.get(contender.group.configuration_id),
                    family, compared.verdict(contender),
                ),
            },
            contender.run_ids,
        )
        for contender in compared.contenders
    ]  # fmt: skip
    one = len(rows) == 1
    if compared.by_rate:
        what = f"the other learning rate{'' if one else 's'}"
    else:
        what = f"the other configuration{', at' if one else 's, each at'} its best learning rate"
    role = "It is the reference." if compared.named_before else _role_of_best(len(sweep.eligible))
    return Table(
        "comparison",
        f"{best.label} compared with {what}, in {sweep.name}: final {SPLIT_NAMES[split]} accuracy, paired by seed",
        (CONFIGURATION, Column("n_rates", "Learning rates"), PAIRS, *COMPARISON_COLUMNS),
        rows,
        [
            f"Positive difference: {best.label} is better. {role} "
            + (
                "The difference is measured on the test set, which is not used for selection."
                if split == "test"
                else "The difference is measured on the same validation split, so it is exploratory."
            ),
            *compared.notes_on_choice(sweep),
            *notes_on_tests([contender.comparison for contender in compared.tested], sweep.level),
            *notes_on_looks(sweep),
            *sweep.caveats(),
        ],
    )


def _role_of_best(eligible: int) -> str:
    if eligible == 1:
        return "It is the only configuration with enough seeds to be chosen as the best."
    return f"It has the highest validation accuracy of {counted(eligible, 'configuration')}."


def notes_on_looks(sweep: SweepData) -> list[str]:
    """Return how the level is divided where seeds are added until the comparisons are decided."""
    if not sweep.max_seeds:
        return []
    planned = looks(sweep.max_seeds)
    return [
        f"Seeds are added until every comparison is decided. The results are tested at {len(planned)} looks "
        f"({', '.join(map(str, planned))} seeds), each at the level {100 * sweep.level:.2g} %, so at 5 % in all."
    ]


def notes_on_tests(
    comparisons: list[Comparison], level: float = ALPHA, pairs: str = "runs with the same seed", unit: str = "seeds"
) -> list[str]:
    """Return the notes on the tests, the correction, equivalence and power; ``unit`` is what a pair shares."""
    family = len(comparisons)
    if not family:
        return ["The result holds for this task only."]
    drawn = any(comparison.test == SIGN_FLIP_DRAWN for comparison in comparisons)
    notes = [
        f"p: two-sided sign-flip test on pairs of {pairs}, "
        + ("Monte Carlo for more than 20 pairs" if drawn else "exact")
        + f", Holm-corrected for this table. It assumes symmetric differences. {_counted(family)} at least "
        f"{min_pairs(family, level)} {unit} for p ≤ {level:.2g}. The result holds for these images and this task only.",
        f"Equal within {MARGIN:g} pp: the 90 % interval of the difference lies within ± {MARGIN:g} pp.",
    ]
    if any(comparison.test == MCNEMAR for comparison in comparisons):
        notes.append(
            "McNemar: a run ended at chance or diverged, so the verdict compares the shares of runs that trained."
        )
    if any(comparison.n < min_pairs(family, level) for comparison in comparisons):
        notes.append(
            "Seeds needed: for 80 % power to find a true difference of 0.5, 1 and 2 pp, with a paired t test, at the "
            "SD of the differences of this row."
        )
    return notes


def comparison_values(comparison: Comparison, adjusted_p: float | None, family: int, words: str) -> dict[str, Value]:
    """Return the cells of one comparison by the keys of :data:`COMPARISON_COLUMNS`; p is None without a pair."""
    n = comparison.n
    if not n:
        return {"n": 0, "verdict": words}
    values: dict[str, Value] = {
        "n": n,
        "difference": comparison.difference,
        "won": pairs_won(comparison),
        "n_won": comparison.won,
        "n_tied": comparison.tied,
        "n_trained": comparison.trained[0],
        "n_trained_other": comparison.trained[1],
        "test": comparison.test,
        "p_value": None if adjusted_p is None else comparison.p_value,
        "p_holm": adjusted_p,
        "smallest_p": comparison.smallest_p,
        "verdict": words,
    }
    if comparison.test == MCNEMAR:
        values["won"] = f"trained: {comparison.trained[0]} and {comparison.trained[1]} of {n}"
    elif n > 1 and (comparison.equivalent or words not in (BETTER, WORSE)):
        values["equivalence"] = f"equal within {MARGIN:g} pp" if comparison.equivalent else "undecided"
    if words == TOO_FEW and math.isfinite(comparison.sd):
        needed = seeds_needed(comparison, family)
        values |= {f"seeds_for_{pp:g}pp": seeds for pp, seeds in zip(POWER_FOR, needed, strict=True)}
        values["seeds_needed"] = seeds_text(needed)
    return values


def seeds_needed(comparison: Comparison, family: int) -> list[float]:
    """Return the seeds for 80 % power at each difference of :data:`POWER_FOR`, at the SD of the paired differences."""
    return [pairs_needed(difference, comparison.sd, max(family, 1)) for difference in POWER_FOR]


def seeds_text(needed: list[float]) -> str:
    """Return numbers of seeds as text: ``18, 7, 4``."""
    return ", ".join(f"{seeds:,.0f}" if math.isfinite(seeds) else "> 100,000" for seeds in needed)


def pairs_won(comparison: Comparison) -> str:
    """Return the pairs won, a tie counts ½: ``5 of 6``, ``5½ of 6``."""
    whole, half = divmod(2 * comparison.won + comparison.tied, 2)
    return f"{whole or ('' if half else 0)}{'½' if half else ''} of {comparison.n}"


def _rank(sweep: SweepData, group: ConfigurationRuns) -> tuple[bool, float]:
    """Return a key that is highest for the best of a family: eligible ones first, then by validation accuracy."""
    eligible = sweep.common_seeds <= set(group.counted_seeds)
    return eligible, group.mean_under(sweep.common_seeds if eligible else group.counted_seeds)


def _theory(group: ConfigurationRuns) -> dict[str, object]:
    """Return the settings that have an effect: dampening has none without momentum."""
    columns = dict(group.columns)
    if not columns.get("optimizer.momentum"):
        columns.pop("optimizer.dampening", None)
    return columns


def _counted(family: int) -> str:
    return f"{counted(family, 'comparison')} {'needs' if family == 1 else 'need'}"


def profile_table(sweep: SweepData) -> Table | None:
    """Median epochs to 50 … 100 % of the best accuracy, and ρ(τ) of Dolan and Moré; None for fewer than two."""
    best = sweep.best
    if best is None or len(sweep.counted) < 2:
        return None
    targets = profile_targets(float(np.median(best.final)))
    times = np.array(
        [
            [
                convergence.median_with_misses(
                    convergence.epochs_to_target(group.accuracy(), target, diverged=group.diverged)
                )
                for target in targets
            ]
            for group in sweep.counted
        ]
    )
    shares = performance_profile(times, np.array(TAUS))
    keys = [f"target_{round(100 * share)}" for share in TARGET_SHARES]
    columns = [Column(key, f"{100 * share:.0f} %", decimals=1) for key, share in zip(keys, TARGET_SHARES, strict=True)]
    rhos = [Column(f"rho_{tau:g}", f"ρ({tau:g})") for tau in TAUS]
    rows = [
        Row(
            {"configuration": group.label}
            | dict(zip(keys, (float(t) for t in row), strict=True))
            | {column.key: float(value) for column, value in zip(rhos, share, strict=True)},
            group.counted_ids,
        )
        for group, row, share in zip(sweep.counted, times, shares, strict=True)
    ]
    return Table(
        "profile",
        f"Performance profile of {sweep.name}: median epochs to 50 … 100 % of the best median final accuracy",
        (CONFIGURATION, *columns, *rhos),
        rows,
        [
            "ρ(τ): share of the targets that a configuration reaches within τ times the epochs of the fastest one. "
            "A sweep has one workload, so the problems of the profile are its targets.",
            *sweep.caveats(),
        ],
    )
