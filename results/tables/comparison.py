"""Tables that compare configurations: paired comparison, performance profile, learning rates, expected best of m."""

from __future__ import annotations

import numpy as np

from results.ledger.arrays import ConfigurationRuns, Floats, SweepData
from results.metrics import convergence
from results.metrics.comparison import Comparison, compare_pairs, holm, min_pairs, verdict
from results.metrics.intervals import mean_t_interval
from results.metrics.profiles import TARGET_SHARES, expected_best_of, performance_profile, profile_targets
from results.tables.summary import CONFIGURATION, FINAL, RUNS, learning_rate_families
from results.tables.table import Column, Row, Table, Value
from search_spaces import Configuration
from search_spaces.labels import configuration_labels

SPLIT_NAMES = {"val": "validation", "test": "test"}

TAUS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
PAIRS = Column("n", "Pairs")
COMPARISON_COLUMNS = (
    Column("difference", "Difference", "pp"),
    Column("method", "Interval"),
    Column("wins", "Pairs won", "%", decimals=0),
    Column("p_value", "p", decimals=3),
    Column("p_holm", "p (Holm)", decimals=3),
    Column("smallest_p", "Smallest possible p", decimals=3),
    Column("verdict", "Verdict"),
)


def paired_finals(a: ConfigurationRuns, b: ConfigurationRuns, split: str) -> tuple[Floats, Floats, list[str]]:
    """Return the final accuracies ``[n]`` of ``a`` and of ``b`` under their common seeds, and the ids of these runs."""
    seeds = sorted(set(a.counted_seeds) & set(b.counted_seeds))
    finals, ids = [], []
    for group in (a, b):
        places = [group.counted_seeds.index(seed) for seed in seeds]
        finals.append(group.accuracy(split)[places, -1])
        ids += [group.counted_ids[place] for place in places]
    return finals[0], finals[1], ids


def comparison_split(sweep: SweepData) -> str:
    """Return ``test`` if every counted run that did not diverge has a test result of its last epoch, else ``val``."""
    finals = [group.accuracy("test")[~group.diverged, -1] for group in sweep.counted]
    tested = np.concatenate([np.empty(0), *finals])
    return "test" if len(tested) and np.isfinite(tested).all() else "val"


def comparison_table(sweep: SweepData) -> Table | None:
    """The best configuration by validation compared with each other one, paired by seed; None for fewer than two."""
    best = sweep.best
    if best is None or len(sweep.counted) < 2:
        return None
    split = comparison_split(sweep)
    others = [group for group in sweep.counted if group is not best]
    pairs = [paired_finals(best, group, split) for group in others]
    comparisons = [compare_pairs(a, b) for a, b, _ in pairs]
    family = [comparison.p_value if comparison.n else 1.0 for comparison in comparisons]
    rows = [
        Row({"configuration": group.label, **comparison_values(comparison, float(adjusted), len(family))}, ids)
        for group, comparison, adjusted, (_, _, ids) in zip(others, comparisons, holm(family), pairs, strict=True)
    ]
    notes = [
        f"Positive difference: {best.label} is better. It has the highest validation accuracy of {len(sweep.counted)} "
        "configurations. "
        + (
            "The difference is measured on the test set, which is not used for selection."
            if split == "test"
            else "The difference is measured on the same validation split, so it is exploratory."
        ),
        "p: two-sided exact sign-flip test on pairs of runs with the same seed, Holm-corrected for this table. "
        f"{_counted(len(family))} at least {min_pairs(len(family))} seeds for p ≤ 0.05. "
        "The result holds for this task only.",
    ]
    return Table(
        "comparison",
        f"{best.label} compared with the other configurations of {sweep.name}: final {SPLIT_NAMES[split]} accuracy, "
        "paired by seed",
        (CONFIGURATION, PAIRS, *COMPARISON_COLUMNS),
        rows,
        [*notes, *sweep.caveats()],
    )


def comparison_values(comparison: Comparison, adjusted_p: float, family: int) -> dict[str, Value]:
    """Return the cells of one comparison by the keys of :data:`COMPARISON_COLUMNS`; p is None without a pair."""
    return {
        "n": comparison.n,
        "difference": comparison.difference,
        "method": comparison.method if comparison.n > 1 else None,
        "wins": 100 * comparison.wins,
        "p_value": comparison.p_value if comparison.n else None,
        "p_holm": adjusted_p if comparison.n else None,
        "smallest_p": comparison.smallest_p if comparison.n else None,
        "verdict": verdict(comparison, adjusted_p, family),
    }


def _counted(family: int) -> str:
    return "1 comparison needs" if family == 1 else f"{family} comparisons need"


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


def learning_rates_table(sweep: SweepData) -> Table | None:
    """Final accuracy by learning rate, for configurations with at least two learning rates; None without any."""
    families = [groups for groups in learning_rate_families(sweep).values() if len(groups) > 1]
    if not families:
        return None
    names = family_labels(families)
    rows = [
        Row(
            {
                "group": name,
                "lr": float(group.columns["optimizer.lr"]),
                "runs": group.share_of_runs,
                "final_val_acc": mean_t_interval(group.final),
            },
            group.counted_ids,
        )
        for name, groups in zip(names, families, strict=True)
        for group in sorted(groups, key=lambda group: float(group.columns["optimizer.lr"]))
    ]
    return Table(
        "learning_rates",
        f"Final validation accuracy of {sweep.name} by learning rate",
        (
            Column("group", "Configuration without its learning rate"),
            Column("lr", "Learning rate", general=True),
            RUNS,
            FINAL,
        ),
        rows,
        sweep.caveats(),
    )


def expected_best_table(sweep: SweepData) -> Table | None:
    """Expected best of m random learning rates (Dodge et al. 2019); None without two learning rates."""
    families = [groups for groups in learning_rate_families(sweep).values() if len(groups) > 1]
    if not families:
        return None
    most = max(len(groups) for groups in families)
    rows = []
    for name, groups in zip(family_labels(families), families, strict=True):
        expected = expected_best_of(np.array([float(group.final.mean()) for group in groups]), len(groups))
        values = {f"best_of_{m + 1}": float(value) for m, value in enumerate(expected)}
        rows.append(Row({"group": name, **values}, [run_id for group in groups for run_id in group.counted_ids]))
    return Table(
        "expected_best",
        f"Expected best final validation accuracy of {sweep.name} of m learning rates drawn at random",
        (
            Column("group", "Configuration without its learning rate"),
            *(Column(f"best_of_{m}", f"m = {m}", "%") for m in range(1, most + 1)),
        ),
        rows,
        sweep.caveats(),
    )


def family_labels(families: list[list[ConfigurationRuns]]) -> list[str]:
    """Return a label for each family: its configuration without the learning rate."""
    bare = []
    for groups in families:
        first = groups[0].configuration
        bare.append(
            Configuration(
                first.optimizer,
                {key: value for key, value in first.optimizer_params.items() if key != "lr"},
                first.scheduler,
                {key: value for key, value in first.scheduler_params.items() if key not in ("base_lr", "max_lr")},
                first.warmup,
            )
        )
    labels = configuration_labels(bare)
    return [labels[configuration.configuration_id] for configuration in bare]
