"""From a spec to what is left to train: runs, minus what the ledger has, in packs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from search_spaces import Configuration, Run
from search_spaces.canonical import content_hash
from search_spaces.errors import SpecError
from sweep.config.spec import Spec

DEFAULT_PACK = 4
"""Most runs in a pack where `auto` has nothing to go by: in a dry run, and in a sweep too short for a probe to pay."""


@dataclass(frozen=True)
class Pack:
    """Runs that one trial trains together, in this order."""

    runs: tuple[Run, ...]

    @property
    def pack_id(self) -> str:
        """Hash of the members' ids: the same members give the same pack, and so the same checkpoints and bits."""
        return content_hash([run.run_id for run in self.runs])

    @property
    def run_ids(self) -> list[str]:
        """The members' ids."""
        return [run.run_id for run in self.runs]


def resolve_configurations(spec: Spec, steps_per_epoch: int) -> list[Configuration]:
    """Return the spec's configurations complete: defaults filled in, schedules resolved, each tried on a tiny model.

    Raises:
        SpecError: a parameter that its optimizer or scheduler does not take; nothing has started by then.
    """
    from trainables.optim.validation import complete_configuration

    complete: dict[str, Configuration] = {}
    for i, configuration in enumerate(spec.expanded()):
        if configuration.warmup >= spec.epochs:
            raise SpecError(
                f"{spec.name}: warmup", f"{configuration.warmup} of {spec.epochs} epochs", "leave some to the schedule"
            )
        where = f"{spec.name}: configuration {i + 1}"
        found = complete_configuration(configuration, spec.epochs, steps_per_epoch, where)
        complete.setdefault(found.key, found)
    return list(complete.values())


def make_runs(spec: Spec, configurations: Sequence[Configuration], data_fingerprint: str) -> list[Run]:
    """Return every configuration under every seed."""
    return [
        Run(configuration, seed, spec.shared_protocol, data_fingerprint)
        for configuration in configurations
        for seed in spec.seed_list
    ]


def make_packs(
    runs: Sequence[Run], finished: Collection[str], earlier: Mapping[str, Sequence[str]], size: int
) -> list[Pack]:
    """Return the packs that are left to train, larger ones first.

    Args:
        runs, finished, earlier: as in :func:`sort_out`.
        size: most runs in a new pack; those of a group go into as few packs as can be, of even sizes.
    """
    packs, groups = sort_out(runs, finished, earlier)
    for group in groups:
        bounds = [0, *accumulate(even_sizes(len(group), size))]
        packs.extend(Pack(tuple(group[a:b])) for a, b in pairwise(bounds))
    return sorted(packs, key=lambda pack: -len(pack.runs))


def sort_out(
    runs: Sequence[Run], finished: Collection[str], earlier: Mapping[str, Sequence[str]]
) -> tuple[list[Pack], list[list[Run]]]:
    """Return the earlier packs that are taken up, and the groups of runs that are still to be packed.

    Runs of one seed share their batches, so they make a group; apart from them those whose schedule follows the sweep's
    length, since more epochs make other runs of these alone.

    Args:
        runs: every run that the sweep asks for.
        finished: ids of those that are done or diverged.
        earlier: pack id → members of the packs that were begun before, the latest first. One whose members are all
            still asked for is taken up as it was, finished members included, because other company means other
            rounding; of two that share a member, the first.
    """
    by_id = {run.run_id: run for run in runs}
    packs: list[Pack] = []
    taken: set[str] = set()
    for members in earlier.values():
        asked = all(member in by_id for member in members) and not set(finished).issuperset(members)
        if asked and taken.isdisjoint(members):
            packs.append(Pack(tuple(by_id[member] for member in members)))
            taken.update(members)
    placed = taken.union(finished)
    alike: dict[tuple[int, bool], list[Run]] = {}
    for run in runs:
        if run.run_id not in placed:
            alike.setdefault((run.seed, run.configuration.follows_length), []).append(run)
    return packs, list(alike.values())


def longest_first(packs: Sequence[Pack], epochs: int, trained: Mapping[str, int]) -> list[Pack]:
    """Return ``packs`` in the order in which none is left to train alone at the end.

    Args:
        packs: to be trained to ``epochs``.
        epochs: the target.
        trained: run id → epochs that it has. In a pack all have the same, those that diverged apart.
    """
    return sorted(packs, key=lambda pack: -len(pack.runs) * (epochs - max(trained.get(i, 0) for i in pack.run_ids)))


def even_sizes(count: int, size: int) -> list[int]:
    """Return the sizes of the fewest packs of at most ``size`` runs that hold ``count``; they differ by one at most."""
    packs = -(-count // size)
    return [round((i + 1) * count / packs) - round(i * count / packs) for i in range(packs)]
