"""The configurations of a finished sweep that `sweep confirm` compares under new seeds."""

from __future__ import annotations

from results.ledger.arrays import SweepData
from results.ledger.configuration_runs import ConfigurationRuns
from results.tables.comparison import configuration_families
from search_spaces.errors import SweepFolderError

DEFAULT_TOP = 3
"""Number of configurations that are compared."""
DEFAULT_SEEDS = 10
"""Number of new seeds."""
UNFINISHED = ("pending", "running", "interrupted")


def best_of_families(sweep: SweepData, top: int) -> list[ConfigurationRuns]:
    """Return the best configuration of each family, the best first; of a single family, its best learning rates.

    Raises:
        SweepFolderError: the sweep is not finished, or has fewer than two configurations that learned.
    """
    unfinished = [status for group in sweep.configurations for status in group.statuses if status in UNFINISHED]
    if unfinished:
        raise SweepFolderError(
            f"{sweep.name}: {len(unfinished)} runs have no result yet; `sweep resume {sweep.name}` first"
        )
    eligible = [group for group in sweep.eligible if group.trained.any()] if sweep.best else []
    families = [[group for group in family if group in eligible] for family in configuration_families(sweep)]
    families = [family for family in families if family]
    if len(families) == 1:
        families = [[group] for group in families[0]]
    if len(families) < 2:
        raise SweepFolderError(f"{sweep.name}: fewer than two configurations learned more than chance; none to compare")
    best = [max(family, key=lambda group: group.mean_under(sweep.common_seeds)) for family in families]
    return sorted(best, key=lambda group: -group.mean_under(sweep.common_seeds))[:top]
