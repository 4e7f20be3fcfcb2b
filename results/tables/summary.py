"""Tables of convergence, of stability, and of both: one row per configuration (columns: docs/tables.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import ConfigurationRuns, Floats
from results.metrics import convergence, stability
from results.metrics.intervals import Estimate, binomial_standard_error, mean_over_runs, sd_chi2_interval
from results.metrics.profiles import MIN_RUNS_FOR_IQM, interquartile_mean
from results.tables.numbers import rounded
from results.tables.table import Column, Row, Table, Value

CONFIGURATION = Column("configuration", "Configuration")
RUNS = Column("runs", "Runs", where="text")
N_DONE = Column("n_done", "Runs with a result", where="files")
N_PLANNED = Column("n_planned", "Planned runs", where="files")
COUNTS = (RUNS, N_DONE, N_PLANNED)
FINAL = Column("final_val_acc", "Final val. acc.", "%")
IQM = Column("final_val_iqm", "Interquartile mean", "%")
TEST = Column("test_acc", "Test acc.", "%")
HITS = Column("hits", "Hits", where="text")
HIT = Column("hit", "Median run reaches the target", where="files")
N_HIT = Column("n_hit", "Runs that reach the target", where="files")
SPEED = Column("speed", "Speed")
SEED_SD = Column("seed_sd", "Seed SD", "pp")
STABILITY = Column("stability", "Stability")


def to_target(sweep: SweepData) -> Column:
    """Return the column of the median epochs to the target; a miss is ∞ and printed as ``> E``."""
    return Column("epochs_to_target", "Epochs to target", decimals=1, infinite=f"> {sweep.epochs}")


TRAIN_IMAGES, TEST_IMAGES = 50_000, 10_000


def convergence_table(sweep: SweepData) -> Table:
    """Speed of convergence and accuracy: one row per configuration.

    The interquartile mean has a column only if some configuration has enough runs.
    """
    enough = any(len(group.final) >= MIN_RUNS_FOR_IQM for group in sweep.configurations)
    columns = (
        CONFIGURATION, *COUNTS, FINAL, *([IQM] if enough else []), TEST,
        Column("best_val_acc", "Best val. acc.", "%"),
        Column("best_val_epoch", "Epoch of best", decimals=1),
        to_target(sweep), HITS, HIT, N_HIT,
        Column("seconds_to_target", "Seconds to target", "s", decimals=1),
        Column("pack_size", "Pack size"),
        Column("epochs_to_95pct_final", "Epochs to 95 % of its final acc.", decimals=1),
        Column("auc", "AUC", "%"), SPEED,
    )  # fmt: skip
    rows = [
        Row({**_identity(group), **_convergence(sweep, group)}, group.counted_ids) for group in sweep.configurations
    ]
    return Table(
        "convergence",
        f"Convergence of {sweep.name}: means over seeds with 95 % t-intervals",
        columns,
        rows,
        [target_note(sweep), *_seconds_note(sweep), *sweep.caveats()],
    )


def stability_table(sweep: SweepData) -> Table:
    """Five measures of stability: one row per configuration."""
    columns = (
        CONFIGURATION, *COUNTS, SEED_SD,
        Column("tail_sd", "Tail SD", "pp"),
        Column("max_drawdown", "Max. drawdown", "pp"),
        Column("diverged", "Diverged", "%", decimals=0),
        Column("at_chance", "At chance", "%", decimals=0),
        Column("lr_sensitivity", "Learning rates within 2 pp of the best", "%", decimals=0),
        STABILITY,
    )  # fmt: skip
    sensitivity = _lr_sensitivities(sweep)
    rows = [
        Row({**_identity(group), **_stability(sweep, group), "lr_sensitivity": sensitivity.get(group.configuration_id)},
            group.counted_ids)
        for group in sweep.configurations
    ]  # fmt: skip
    return Table(
        "stability",
        f"Stability of {sweep.name}: SD over seeds with its 95 % χ² interval, and further measures",
        columns,
        rows,
        [*_binomial_note(sweep), *_class_note(sweep), *sweep.caveats()],
    )


def consolidated_table(sweep: SweepData) -> Table:
    """The most important columns of convergence and stability."""
    rows = [
        Row({**_identity(group), **_convergence(sweep, group), **_stability(sweep, group)}, group.counted_ids)
        for group in sweep.configurations
    ]
    columns = (
        CONFIGURATION, *COUNTS, FINAL, TEST, to_target(sweep), HITS, HIT, N_HIT, SPEED, SEED_SD, STABILITY,
    )  # fmt: skip
    return Table(
        "consolidated",
        f"Overview of {sweep.name}: accuracy, convergence and stability",
        columns,
        rows,
        [target_note(sweep), *_class_note(sweep), *sweep.caveats()],
    )


def _identity(group: ConfigurationRuns) -> dict[str, Value]:
    return {"configuration": group.label, **run_counts(group)}


def run_counts(group: ConfigurationRuns) -> dict[str, Value]:
    """Return the cells of :data:`COUNTS`."""
    return {"runs": group.share_of_runs, "n_done": group.n_done, "n_planned": len(group.run_ids)}


def target_values(sweep: SweepData, group: ConfigurationRuns) -> dict[str, Value]:
    """Return the median epochs to the target, the runs that reach it, and the class of speed; none without a target."""
    if math.isnan(sweep.target):
        return {}
    times = convergence.epochs_to_target(group.accuracy(), sweep.target, diverged=group.diverged)
    median, n_hit = convergence.median_with_misses(times), convergence.hits(times)
    return {
        "epochs_to_target": median,
        "hits": f"{n_hit} of {len(times)}",
        "hit": math.isfinite(median),
        "n_hit": n_hit,
        "speed": convergence.speed_class(median, sweep.epochs) if sweep.best else None,
    }


def _convergence(sweep: SweepData, group: ConfigurationRuns) -> dict[str, Value]:
    if not group.counted.any():
        return {}
    accuracy = group.accuracy()
    best, best_epoch = convergence.best(accuracy)
    return {
        "final_val_acc": group.mean(),
        "final_val_iqm": interquartile_mean(group.final),
        "test_acc": group.mean("test"),
        "best_val_acc": mean_over_runs(best, ~group.trained),
        "best_val_epoch": float(best_epoch.mean()),
        **target_values(sweep, group),
        "seconds_to_target": _seconds(sweep, group, accuracy),
        "pack_size": sweep.pack_sizes[0] if len(sweep.pack_sizes) == 1 else None,
        "epochs_to_95pct_final": float(convergence.epochs_to_share_of_final(accuracy).mean()),
        "auc": mean_over_runs(convergence.area_under_curve(accuracy), ~group.trained) if sweep.epochs > 1 else None,
    }


def _seconds(sweep: SweepData, group: ConfigurationRuns, accuracy: Floats) -> Value:
    """Median seconds to the target; None without a target, and if runs had different devices or pack sizes."""
    if not sweep.same_conditions or math.isnan(sweep.target):
        return None
    seconds = group.curves["epoch_seconds"][group.counted]
    return convergence.median_with_misses(
        convergence.seconds_to_target(accuracy, seconds, sweep.target, diverged=group.diverged)
    )


def _stability(sweep: SweepData, group: ConfigurationRuns) -> dict[str, Value]:
    if not group.counted.any():
        return {}
    accuracy = group.accuracy()
    seed_sd = spread(group)
    chance_share = float(stability.at_chance(group.final, sweep.facts.classes).mean())
    finite = accuracy[~group.diverged]
    return {
        "seed_sd": seed_sd,
        "tail_sd": float(stability.tail_sd(finite).mean()) if len(finite) else None,
        "max_drawdown": float(stability.max_drawdown(accuracy).mean()),
        "diverged": 100 * float(group.diverged.mean()),
        "at_chance": 100 * chance_share,
        "stability": stability.stability_class(seed_sd.value, len(group.final), chance_share) if sweep.best else None,
    }


def spread(group: ConfigurationRuns) -> Estimate:
    """Return the SD over seeds of the final validation accuracy; without an interval where a run did not train."""
    sd = sd_chi2_interval(group.final)
    return sd if group.trained.all() else replace(sd, low=math.nan, high=math.nan)


def _lr_sensitivities(sweep: SweepData) -> Mapping[str, float]:
    """Return the percentage of learning rates near the best, by configuration id; NaN for too few of them."""
    found: dict[str, float] = {}
    for groups in learning_rate_families(sweep).values():
        finals = {float(group.columns["optimizer.lr"]): float(group.final.mean()) for group in groups}
        if not any(group.trained.any() for group in groups):
            continue
        share = 100 * stability.lr_sensitivity(finals)
        found |= {group.configuration_id: share for group in groups}
    return found


RATES = ("optimizer.lr", "scheduler.base_lr", "scheduler.max_lr")


def learning_rate_families(sweep: SweepData) -> dict[str, list[ConfigurationRuns]]:
    """Return the counted configurations in families that differ only in the learning rate.

    A scheduler's ``max_lr`` and ``base_lr`` are part of the learning rate.
    """
    families: dict[str, list[ConfigurationRuns]] = {}
    for group in sweep.counted:
        if isinstance(group.columns.get("optimizer.lr"), int | float):
            rest = {k: v for k, v in group.columns.items() if k not in RATES}
            families.setdefault(repr(sorted(rest.items(), key=str)), []).append(group)
    return families


def target_note(sweep: SweepData) -> str:
    """Return the note that gives the target."""
    if math.isnan(sweep.target):
        why = "no configuration learned more than chance" if sweep.counted else "no run has a result yet"
        return f"No target: {why}."
    how = "as given" if sweep.given_target is not None else "95 % of the best configuration's median final accuracy"
    return (
        f"Target: {rounded(sweep.target, 2)} % validation accuracy ({how}). > {sweep.epochs}: the median run misses "
        "the target."
    )


def _class_note(sweep: SweepData) -> list[str]:
    """Explain a missing class of stability."""
    if any(len(group.final) < stability.MIN_SEEDS_FOR_CLASS for group in sweep.counted):
        return [f"Stability has a class from {stability.MIN_SEEDS_FOR_CLASS} seeds on, where no run ended at chance."]
    return []


def _seconds_note(sweep: SweepData) -> list[str]:
    if sweep.same_conditions:
        return ["Seconds: wall time of the pack's training, without evaluation. All runs of a pack share it."]
    return ["No seconds: runs were trained on different devices or in packs of different sizes."]


def _binomial_note(sweep: SweepData) -> list[str]:
    if sweep.synthetic or sweep.best is None:
        return []
    accuracy = float(sweep.best.final.mean())
    if not 0 < accuracy < 100:
        return []
    val_images = sweep.facts.val_images or round(TRAIN_IMAGES * sweep.protocol.get("val_fraction", 0.1))
    test_images = sweep.facts.test_images or TEST_IMAGES
    val, test = (binomial_standard_error(accuracy, images) for images in (val_images, test_images))
    return [
        f"The binomial standard error of an accuracy near {accuracy:.0f} % is {val:.2f} pp on {val_images:,} "
        f"validation images and {test:.2f} pp on {test_images:,} test images. Upper bound of the chance difference "
        f"between two single runs on validation: {1.96 * math.sqrt(2) * val:.1f} pp. Both runs see the same images, so "
        "a smaller difference can be real."
    ]
