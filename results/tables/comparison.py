"""Who is better, and how sure: every configuration against the best, performance profile, expected best of m."""

from __future__ import annotations

import numpy as np

from results.ledger.arrays import ConfigurationRuns, Floats, SweepData
from results.metrics import convergence
from results.metrics.comparison import Comparison, compare_pairs, fewest_pairs, holm, verdict
from results.metrics.intervals import mean_t_interval
from results.metrics.profiles import TARGET_SHARES, expected_best_of, performance_profile, profile_targets
from results.tables.summary import CONFIGURATION, FINAL, RUNS, by_everything_but_lr
from results.tables.table import Column, Row, Table, Value
from search_spaces import Configuration
from search_spaces.labels import configuration_labels

TAUS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
N = Column("n", "Pairs")
COMPARISON_COLUMNS = (
    Column("difference", "Difference", "pp"),
    Column("method", "Interval"),
    Column("wins", "Pairs won", "%", decimals=0),
    Column("p_value", "p", decimals=3),
    Column("p_holm", "p (Holm)", decimals=3),
    Column("smallest_p", "Smallest p possible", decimals=3),
    Column("verdict", "Verdict"),
)


def paired(a: ConfigurationRuns, b: ConfigurationRuns, split: str) -> tuple[Floats, Floats, list[str]]:
    """Return the final accuracies of the runs of ``a`` and ``b`` that share a seed, and the ids of those runs."""
    seeds = sorted(set(a.counted_seeds) & set(b.counted_seeds))
    finals, ids = [], []
    for group in (a, b):
        places = [group.counted_seeds.index(seed) for seed in seeds]
        finals.append(group.accuracy(split)[places, -1])
        ids += [group.counted_ids[place] for place in places]
    return finals[0], finals[1], ids


def compared_split(sweep: SweepData) -> str:
    """Return ``test`` where every run that counts and did not diverge was tested after its last epoch, else ``val``."""
    finals = [group.accuracy("test")[~group.diverged, -1] for group in sweep.counted]
    tested = np.concatenate([np.empty(0), *finals])
    return "test" if len(tested) and np.isfinite(tested).all() else "val"


def comparison_table(sweep: SweepData) -> Table | None:
    """The best configuration (by validation) against every other one, paired by seed; None for fewer than two."""
    best = sweep.best
    if best is None or len(sweep.counted) < 2:
        return None
    split = compared_split(sweep)
    others = [group for group in sweep.counted if group is not best]
    pairs = [paired(best, group, split) for group in others]
    comparisons = [compare_pairs(a, b) for a, b, _ in pairs]
    family = [comparison.p_value if comparison.n else 1.0 for comparison in comparisons]
    rows = [
        Row({"configuration": group.label, **comparison_values(comparison, float(adjusted), len(family))}, ids)
        for group, comparison, adjusted, (_, _, ids) in zip(others, comparisons, holm(family), pairs, strict=True)
    ]
    notes = [
        f"Positive: {best.label} is better. It was chosen as the best of {len(sweep.counted)} by validation accuracy; "
        + (
            "the difference is shown on the test set, which chose nothing."
            if split == "test"
            else "the difference is shown on the same data that chose it: exploratory."
        ),
        "Two-sided exact sign-flip p over pairs of runs with the same seed, Holm-corrected over this table. "
        f"With {_counted(len(family))} nothing can be rejected at 0.05 below {fewest_pairs(len(family))} pairs. "
        "All of it on this task, not in general.",
    ]
    return Table(
        "comparison",
        f"{best.label} against every other one of {sweep.name}: final {_named(split)} accuracy, paired by seed",
        (CONFIGURATION, N, *COMPARISON_COLUMNS),
        rows,
        [*notes, *sweep.caveats()],
    )


def comparison_values(comparison: Comparison, adjusted_p: float, family: int) -> dict[str, Value]:
    """Return the cells of one comparison, under the keys of :data:`COMPARISON_COLUMNS`; no p without a pair."""
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
    return "one comparison" if family == 1 else f"{family} comparisons"


def _named(split: str) -> str:
    return {"val": "validation", "test": "test"}[split]


def profile_table(sweep: SweepData) -> Table | None:
    """Median epochs to 50 … 100 % of the best accuracy, and Dolan and Moré's ρ(τ) over these; None below two."""
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
            "ρ(τ): share of the targets that a configuration reaches within τ times the epochs of the quickest one. "
            "A sweep has one workload, so the profile's problems are its targets.",
            *sweep.caveats(),
        ],
    )


def learning_rates_table(sweep: SweepData) -> Table | None:
    """Final accuracy at every rate, where a family of configurations has at least two; None where none has."""
    families = [groups for groups in by_everything_but_lr(sweep).values() if len(groups) > 1]
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
        f"Final validation accuracy of {sweep.name} against the learning rate",
        (Column("group", "Configuration without its rate"), Column("lr", "Learning rate", decimals=6), RUNS, FINAL),
        rows,
        sweep.caveats(),
    )


def expected_best_table(sweep: SweepData) -> Table | None:
    """Expected best of m learning rates tried at random (Dodge et al. 2019); None without a grid of two."""
    families = [groups for groups in by_everything_but_lr(sweep).values() if len(groups) > 1]
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
        f"Expected best final validation accuracy of {sweep.name} after m learning rates drawn from the grid",
        (
            Column("group", "Configuration without its rate"),
            *(Column(f"best_of_{m}", f"m = {m}", "%") for m in range(1, most + 1)),
        ),
        rows,
        sweep.caveats(),
    )


def family_labels(families: list[list[ConfigurationRuns]]) -> list[str]:
    """Return a label for each family: its configuration without the rate."""
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
