"""The study's own tables: schedulers, momentum, Adam along the way, and claimed beside measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from results.ledger.arrays import ConfigurationRuns, SweepData
from results.metrics import convergence
from results.metrics.intervals import mean_t_interval, sd_chi2_interval
from results.tables.summary import CONFIGURATION, FINAL, RUNS, SEED_SD, TEST, TO_TARGET
from results.tables.table import Column, Row, Table, Value
from search_spaces import NO_SCHEDULER

ADAM_EPOCHS = (1, 10, 25, 50)
ADAM_BETAS = [0.9, 0.999]
PER_SPLIT = {
    "train_loss": "Train loss", "train_acc": "Train acc.", "val_loss": "Val. loss", "val_acc": "Val. acc.",
    "test_loss": "Test loss", "test_acc": "Test acc.",
}  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """What the study claims of a configuration at epoch 50, and how to find that configuration."""

    name: str
    accuracy: float  # percent
    convergence: str
    stability: str
    optimizer: str
    momentum: float | None = None
    nesterov: bool | None = None

    def matches(self, group: ConfigurationRuns) -> bool:
        """Whether ``group`` is the claim's configuration, at the study's learning rate and without a scheduler."""
        columns = group.columns
        return (
            columns["optimizer"] == self.optimizer
            and columns["scheduler"] == NO_SCHEDULER
            and not columns["warmup"]
            and columns.get("optimizer.lr") == (0.001 if self.optimizer == "Adam" else 0.01)
            and columns.get("optimizer.momentum") == self.momentum
            and columns.get("optimizer.nesterov") == self.nesterov
            and list(columns.get("optimizer.betas", ADAM_BETAS)) == ADAM_BETAS
            and not columns.get("optimizer.dampening")
            and not columns.get("optimizer.weight_decay")
        )


CLAIMS = (
    Claim("SGD", 34.22, "slow, > 40 epochs", "low, ± 3.2", "SGD", 0, False),
    Claim("SGD + momentum", 52.18, "medium, 30", "medium, ± 1.8", "SGD", 0.9, False),
    Claim("SGD + Nesterov", 54.76, "fast, 25", "high, ± 0.9", "SGD", 0.9, True),
    Claim("Adam", 58.73, "very fast, 20", "very high, ± 0.4", "Adam"),
)
STUDY_EPSILON = 1e-8


def claimed_configurations(sweep: SweepData) -> dict[str, ConfigurationRuns]:
    """Return a claim's name → the configuration with a result that the study means, in the study's order.

    Where several fit, because the study leaves Adam's ε unsaid, the one with the usual 1e-8; else the first.
    """
    found = {}
    for claim in CLAIMS:
        groups = [group for group in sweep.counted if claim.matches(group)]
        if groups:
            usual = (group for group in groups if group.columns.get("optimizer.eps", STUDY_EPSILON) == STUDY_EPSILON)
            found[claim.name] = next(usual, groups[0])
    return found


def schedulers_table(sweep: SweepData) -> Table | None:
    """What each scheduler did with the rate and what it brought; None where the sweep has one scheduler only."""
    if len({group.columns["scheduler"] for group in sweep.configurations}) < 2:
        return None
    best: dict[tuple[str, str], float] = {}
    for group in sweep.counted:
        key = (_optimizer(group), _scheduler(group))
        best[key] = max(best.get(key, -np.inf), float(group.final.mean()))
    rows = []
    for group in sweep.configurations:
        values: dict[str, Value] = {
            "optimizer": _optimizer(group), "scheduler": _scheduler(group), "runs": group.share_of_runs,
            "lr": _plain(group.columns.get("optimizer.lr")),
        }  # fmt: skip
        if group.counted.any():
            alive = group.counted & np.isnan(group.diverged_epochs)
            if alive.any():
                values["lr_first"] = float(group.curves["lr_first"][alive][:, 0].mean())
                values["lr_last"] = float(group.curves["lr_last"][alive][:, -1].mean())
            values["final_val_acc"] = mean_t_interval(group.final)
            values["test_acc"] = mean_t_interval(group.accuracy("test")[:, -1])
            at_best = float(group.final.mean()) == best[values["optimizer"], values["scheduler"]]  # type: ignore[index]
            values["best_rate"] = "best rate" if at_best else ""
        rows.append(Row(values, group.counted_ids))
    return Table(
        "schedulers",
        f"Schedulers of {sweep.name}: the rate of the first and the last batch, and the final accuracy",
        (
            Column("optimizer", "Optimizer"), Column("scheduler", "Scheduler"), Column("lr", "Rate asked", decimals=5),
            Column("lr_first", "First rate", decimals=6), Column("lr_last", "Last rate", decimals=6), RUNS, FINAL, TEST,
            Column("best_rate", "Judged at"),
        ),
        rows,
        ["A scheduler is judged at its own best rate, by validation accuracy.", *sweep.caveats()],
    )  # fmt: skip


def momentum_table(sweep: SweepData) -> Table | None:
    """Momentum × dampening × Nesterov; None where the sweep varies none of them."""
    keys = ("optimizer.momentum", "optimizer.dampening", "optimizer.nesterov")
    groups = [group for group in sweep.configurations if "optimizer.nesterov" in group.columns]
    if len({tuple(group.columns.get(key) for key in keys) for group in groups}) < 2:
        return None
    rows = []
    for group in groups:
        values: dict[str, Value] = {
            "momentum": _plain(group.columns.get("optimizer.momentum")),
            "dampening": _plain(group.columns.get("optimizer.dampening")),
            "nesterov": "yes" if group.columns.get("optimizer.nesterov") else "no",
            "lr": _plain(group.columns.get("optimizer.lr")), "scheduler": _scheduler(group),
            "runs": group.share_of_runs,
        }  # fmt: skip
        if group.counted.any():
            values |= {"final_val_acc": mean_t_interval(group.final), "seed_sd": sd_chi2_interval(group.final)}
        rows.append(Row(values, group.counted_ids))
    return Table(
        "momentum",
        f"Momentum in {sweep.name}",
        (
            Column("momentum", "Momentum β"), Column("dampening", "Dampening"), Column("nesterov", "Nesterov"),
            Column("lr", "Rate", decimals=5), Column("scheduler", "Scheduler"), RUNS, FINAL, SEED_SD,
        ),
        rows,
        ["Without momentum, dampening does nothing: such rows must be equal.", *sweep.caveats()],
    )  # fmt: skip


def adam_table(sweep: SweepData) -> Table | None:
    """Adam along the way, at the study's epochs or the nearest that the sweep has; None without Adam."""
    groups = [group for group in sweep.counted if group.columns["optimizer"] == "Adam"]
    if not groups:
        return None
    epochs = list(dict.fromkeys(min(epoch, sweep.epochs) for epoch in ADAM_EPOCHS))
    rows = []
    for group in groups:
        alive = group.counted & np.isnan(group.diverged_epochs)
        ids = [run_id for run_id, lives in zip(group.run_ids, alive, strict=True) if lives]
        for epoch in epochs:
            values: dict[str, Value] = {"configuration": group.label, "epoch": epoch}
            values |= {key: mean_t_interval(group.curves[key][alive][:, epoch - 1]) for key in PER_SPLIT}
            rows.append(Row(values, ids))
    asked = ", ".join(str(epoch) for epoch in ADAM_EPOCHS if epoch > sweep.epochs)
    nearest = [f"The study's epochs {asked} lie beyond this sweep's {sweep.epochs}; its last stands for them."]
    return Table(
        "adam",
        f"Adam in {sweep.name} along the way: means over seeds",
        (
            CONFIGURATION, Column("epoch", "Epoch"),
            *(Column(key, name, "%" if key.endswith("acc") else "", 3) for key, name in PER_SPLIT.items()),
        ),
        rows,
        [
            *(nearest if asked else []),
            "Train columns are means over the epoch's batches, with augmentation and dropout; a test column is n/a "
            "where the sweep did not look at the test set after that epoch. Diverged runs are left out here.",
            *sweep.caveats(),
        ],
    )  # fmt: skip


def claimed_table(sweep: SweepData) -> Table | None:
    """The study's claims at epoch 50 beside what was measured; None where the sweep has none of its configurations."""
    rows = []
    for claim in CLAIMS:
        for group in filter(claim.matches, sweep.counted):
            times = convergence.epochs_to_target(group.accuracy(), sweep.target, diverged=group.diverged)
            median = convergence.median_with_misses(times)
            values: dict[str, Value] = {
                "configuration": claim.name, "claimed_accuracy": claim.accuracy,
                "test_acc": mean_t_interval(group.accuracy("test")[:, -1]),
                "final_val_acc": mean_t_interval(group.final),
                "claimed_convergence": claim.convergence,
                "epochs_to_target": f"> {sweep.epochs}" if np.isinf(median) else median,
                "claimed_stability": claim.stability, "seed_sd": sd_chi2_interval(group.final),
            }  # fmt: skip
            rows.append(Row(values, group.counted_ids))
    if not rows or sweep.synthetic:
        return None
    return Table(
        "claimed",
        f"Claimed by the study at epoch 50, and measured by {sweep.name} at epoch {sweep.epochs}",
        (
            CONFIGURATION, Column("claimed_accuracy", "Claimed acc.", "%"), TEST, FINAL,
            Column("claimed_convergence", "Claimed convergence"), TO_TARGET,
            Column("claimed_stability", "Claimed stability"), SEED_SD,
        ),
        rows,
        [f"Target for the epochs: {sweep.target:.2f} % validation accuracy.", *sweep.caveats()],
    )  # fmt: skip


def _optimizer(group: ConfigurationRuns) -> str:
    """The optimizer and what makes it another variant, without its rate."""
    columns = group.columns
    words = [str(columns["optimizer"])]
    if columns.get("optimizer.momentum"):
        words.append(f"momentum={columns['optimizer.momentum']:g}")
    if columns.get("optimizer.nesterov"):
        words.append("nesterov")
    return " ".join(words)


def _scheduler(group: ConfigurationRuns) -> str:
    columns = group.columns
    words = [str(columns["scheduler"])]
    if "scheduler.lr_lambda" in columns:
        words = [str(columns["scheduler.lr_lambda"])]
    if columns["warmup"]:
        words.append(f"warmup={columns['warmup']:g}")
    return " ".join(words)


def _plain(value: object) -> Value:
    """A number as a float, so that whole ones and others share a column."""
    return float(value) if isinstance(value, int | float) else None
