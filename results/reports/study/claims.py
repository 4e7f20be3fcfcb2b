"""What the study claims, as data, and which configurations of a sweep the claims are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import ConfigurationRuns
from search_spaces import NO_SCHEDULER

CLAIMED_EPOCH = 50
STUDY_EPSILON = 1e-8
ADAM_BETAS = [0.9, 0.999]


@dataclass(frozen=True)
class Claim:
    """The study's claim about one configuration at epoch 50, and the settings that identify this configuration."""

    name: str
    accuracy: float  # percent
    convergence: str
    stability: str
    optimizer: str
    momentum: float | None = None
    nesterov: bool | None = None

    def matches(self, group: ConfigurationRuns) -> bool:
        """Return whether ``group`` is this configuration, at the study's learning rate and without a scheduler."""
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

CLAIMED_ADAM: Mapping[int, Mapping[str, float]] = {
    1: {"train_loss": 4.605, "train_acc": 1.02, "test_loss": 4.598, "test_acc": 1.20},
    10: {"train_loss": 3.421, "train_acc": 18.56, "test_loss": 3.447, "test_acc": 17.32},
    25: {"train_loss": 2.184, "train_acc": 42.18, "test_loss": 2.312, "test_acc": 39.44},
    50: {"train_loss": 1.326, "train_acc": 58.73, "test_loss": 1.583, "test_acc": 52.18},
}
"""Epoch → the study's claims about Adam after this epoch; accuracies in percent."""

CLAIMED_STAGES: Mapping[str, Mapping[str, float]] = {
    "raw": {"claimed_variance": 0.347, "claimed_low": -1.82, "claimed_high": 1.95, "claimed_peak": 1.823},
    "smoothed": {"claimed_variance": 0.119, "claimed_low": -0.65, "claimed_high": 0.72, "claimed_peak": 0.654},
    "adapted": {"claimed_variance": 0.893, "claimed_low": -2.18, "claimed_high": 2.34},
}
"""Stage → the study's claims about the gradients of ``conv1.weight`` over 100 mini-batches."""

CLAIMED_VARIANCE_CUT, CLAIMED_PEAK_CUT = 66, 64
"""Claimed reduction, in percent, of variance and peak of these gradients by an EWMA with β = 0.9."""


def claimed_configurations(sweep: SweepData) -> dict[str, ConfigurationRuns]:
    """Return a claim's name → the configuration of the sweep that it is about, in the study's order.

    Only configurations with a result. The study does not give Adam's ε: if several configurations match, the one
    with the default 1e-8 is returned, otherwise the first.
    """
    found = {}
    for claim in CLAIMS:
        groups = [group for group in sweep.counted if claim.matches(group)]
        if groups:
            default = (group for group in groups if group.columns.get("optimizer.eps", STUDY_EPSILON) == STUDY_EPSILON)
            found[claim.name] = next(default, groups[0])
    return found


def claimed_labels(sweep: SweepData) -> frozenset[str]:
    """Return the labels of all configurations that match a claim."""
    return frozenset(group.label for group in sweep.configurations if any(claim.matches(group) for claim in CLAIMS))
