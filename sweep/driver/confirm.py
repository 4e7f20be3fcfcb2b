"""`sweep confirm`: the best configurations of a sweep, compared under new seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from results.ledger.arrays import SweepData
from results.metrics.power import pairs_needed
from results.metrics.sequential import looks
from results.tables.comparison import POWER_FOR, compare_best, seeds_text
from search_spaces.errors import SpecError
from sweep.config.spec import DEFAULT_MAX_SEEDS, MOST_SEEDS, Spec
from sweep.config.toml import parse_resolved, spec_text
from sweep.driver.driver import read_resolved
from sweep.driver.finalists import DEFAULT_TOP, best_of_families
from sweep.folder.paths import SweepFolder
from sweep.folder.trust import check_trusted, from_file

DEFAULT_SD = 0.8
"""Assumed SD of paired differences in pp if a sweep has no pair of runs: that of LeNet-5 on CIFAR-100."""


def confirmation_spec(
    folder: SweepFolder,
    sweep: SweepData,
    top: int | None,
    seeds: int | str,
    overrides: Mapping[str, Any],
    *,
    trust: bool = False,
) -> Spec:
    """Return the spec of the sweep that compares the best configurations of ``folder`` under new seeds.

    The best configuration of each family (everything but the learning rate) is chosen by validation, and the ``top``
    best of these are compared, with the best one as the reference. Its seeds follow the largest seed of the sweep. The
    test split is evaluated after the last epoch only. An existing confirmation keeps its configurations.

    Args:
        folder: the sweep whose configurations are chosen.
        sweep: its measurements.
        top: number of configurations, at least 2; None: those of the existing confirmation, else 3.
        seeds: number of new seeds, at least 2; ``auto``: until every comparison is decided, up to ``max_seeds``.
        overrides: keys of the spec to replace, such as ``resources.pack``.
        trust: whether to accept the address and the storage that the sweep's file names.

    Raises:
        SweepFolderError: the sweep is not finished, or has fewer than two configurations that learned.
        SpecError: ``top`` differs from the existing confirmation, or ``folder`` is a confirmation itself.
    """
    if read_resolved(folder, {}).benchmark is not None:
        raise SpecError(folder.name, "is a benchmark, whose evaluation has new seeds", "for more: --evaluation-seeds N")
    existing = folder.confirmation
    if existing is None:
        raise SpecError(folder.name, "is a confirmation itself", "for more seeds: `sweep confirm NAME --seeds N`")
    name = existing.name
    if existing.spec.exists():
        first = min(read_resolved(existing, {}).seed_list)
    else:
        first = 1 + max(seed for group in sweep.configurations for seed in group.seeds)
    changes = {**overrides, "name": name, "test_epochs": "last", **_seeds(first, seeds, overrides.get("max_seeds", 0))}
    untyped = from_file(overrides, trust=trust)
    if existing.spec.exists():
        spec = read_resolved(existing, changes)
        check_trusted(existing, spec, untyped)
        if top is not None and top != len(spec.configurations):
            raise SpecError(
                "--top", f"{top}, but {name} has {len(spec.configurations)} configurations",
                "leave it out, or remove that sweep first",
            )  # fmt: skip
        return spec
    chosen = best_of_families(sweep, top or DEFAULT_TOP)
    base = read_resolved(folder, {})
    check_trusted(folder, base, untyped)
    base = base.model_copy(
        update={"reference": chosen[0].configuration_id, "description": f"{folder.name}, confirmed under new seeds"}
    )
    text = spec_text(base, [group.configuration for group in chosen])
    return parse_resolved(text, where=str(folder.spec), name=name, overrides=changes)


def _seeds(first: int, seeds: int | str, max_seeds: int) -> dict[str, Any]:
    """Return the keys ``seeds`` and ``max_seeds`` of the spec: new seeds from ``first`` on."""
    if isinstance(seeds, str):
        most = max_seeds or DEFAULT_MAX_SEEDS
        return {"seeds": list(range(first, first + looks(most)[0])), "max_seeds": most}
    if max_seeds:
        raise SpecError("--max-seeds", f"{max_seeds}, but the number of seeds is fixed", "--seeds auto")
    if not 2 <= seeds <= MOST_SEEDS:
        raise SpecError("--seeds", f"{seeds:,}, but a comparison needs 2 to {MOST_SEEDS:,}", "--seeds 10")
    return {"seeds": list(range(first, first + seeds)), "max_seeds": 0}


def power_sentence(sweep: SweepData, comparisons: int) -> str:
    """Return how many seeds a difference of 0.5, 1 and 2 pp needs, at the SD of the sweep's paired differences."""
    compared = compare_best(sweep)
    seen = [c.comparison.sd for c in compared.contenders if c.comparison.sd > 0] if compared else []
    sd = max(seen, default=DEFAULT_SD)
    needed = seeds_text([pairs_needed(difference, sd, comparisons) for difference in POWER_FOR])
    origin = "the largest SD of the paired differences so far" if seen else "an assumed SD of the paired differences"
    return (
        f"80 % power to find a difference of 0.5, 1 and 2 pp needs {needed} seeds ({origin}: {sd:.2g} pp, "
        f"{comparisons} {'comparison' if comparisons == 1 else 'comparisons'})."
    )
