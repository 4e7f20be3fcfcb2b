"""Synthetic sweeps for figures: each curve rises to its own maximum."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

import numpy as np
from matplotlib.figure import Figure

from results.figures.registry import make_figures
from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import CURVES, ConfigurationRuns
from search_spaces import Configuration
from search_spaces.labels import configuration_labels

SCHEDULERS = ("none", "CosineAnnealingLR", "StepLR", "ExponentialLR", "LinearLR")


def made_up_sweep(
    configurations: int = 4, seeds: int = 2, epochs: int = 5, diverged: Collection[int] = (), synthetic: bool = False
) -> SweepData:
    """Return a sweep; configuration i ends i pp higher, the ``diverged`` ones lose all their runs at epoch 1."""
    made = [
        Configuration(
            "Adam" if i % 4 == 3 else "SGD",
            {"lr": 0.001 * (1 + i // 10)}
            if i % 4 == 3
            else {"lr": 0.01 * (1 + i // 15), "momentum": 0.3 * (i % 4), "dampening": 0.0, "nesterov": False},
            SCHEDULERS[i // 4 % 5],
        )
        for i in range(configurations)
    ]
    labels = configuration_labels(made)
    epoch = np.arange(1, epochs + 1)
    groups = []
    for i, configuration in enumerate(made):
        shift = np.arange(seeds)[:, None] * 0.5
        accuracy = (20 + i) * (1 - np.exp(-epoch / 3)) + shift
        curves = dict.fromkeys(CURVES, 4.6 - accuracy / 20)
        curves |= {"train_acc": accuracy - 1, "val_acc": accuracy, "epoch_seconds": np.full_like(accuracy, 2.0)}
        curves["test_acc"] = np.where(epoch == epochs, accuracy, np.nan)
        rate = np.broadcast_to(configuration.columns()["optimizer.lr"] / epoch, accuracy.shape)
        curves |= {"lr": rate, "lr_first": rate * 1.1, "lr_last": rate * 0.9}
        if i in diverged:
            curves = {name: np.full_like(accuracy, np.nan) for name in CURVES}
        groups.append(
            ConfigurationRuns(
                configuration=configuration,
                label=labels[configuration.configuration_id],
                run_ids=tuple(f"run-{i}-{seed}" for seed in range(seeds)),
                seeds=tuple(range(seeds)),
                statuses=("diverged" if i in diverged else "done",) * seeds,
                diverged_epochs=np.full(seeds, 1.0 if i in diverged else np.nan),
                curves=curves,
            )
        )
    return SweepData("made-up", epochs, {}, "cifar100", synthetic, ("cpu",), (2,), (4,), (), tuple(groups))


CROWDED = made_up_sweep(24, seeds=3, epochs=20, synthetic=True)


@cache
def crowded_figures() -> dict[str, Figure]:
    """All figures of :data:`CROWDED`, drawn once for all tests that only read them."""
    return make_figures(CROWDED)
