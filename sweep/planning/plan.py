"""From a spec to the packs that are left to train: its runs, minus the finished runs of the ledger."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from search_spaces import Configuration, Run
from search_spaces.canonical import canonical_json, content_hash
from search_spaces.errors import SpecError
from sweep.config.spec import Spec

if TYPE_CHECKING:
    from trainables.optim.tiny_model import Layout

DEFAULT_PACK = 4
"""Largest pack for `auto` without a probe: in a dry run, and in a sweep that is too short for one."""


@dataclass(frozen=True)
class Pack:
    """The runs that one trial trains together, in this order."""

    runs: tuple[Run, ...]

    @property
    def pack_id(self) -> str:
        """Hash of the members' ids: the same members give the same pack, with the same checkpoints and bits."""
        return content_hash([run.run_id for run in self.runs])

    @property
    def run_ids(self) -> list[str]:
        """The members' ids."""
        return [run.run_id for run in self.runs]

    @property
    def resumes(self) -> bool:
        """Whether a checkpoint holds all of its state; otherwise it restarts from its first epoch."""
        return not any(run.configuration.cannot_resume for run in self.runs)


def resolve_configurations(
    spec: Spec, steps_per_epoch: int, examples: int | None = None, layout: Layout = ()
) -> list[Configuration]:
    """Return the spec's configurations with defaults filled in and schedules resolved, each tried on a tiny model.

    Args:
        spec: the spec.
        steps_per_epoch: with the protocol's batch size.
        examples: the number of training images, for configurations with another batch size; None: the most that
            ``steps_per_epoch`` allows.
        layout: of the parameters of the model; empty: LeNet-5's.

    Raises:
        SpecError: an invalid parameter of an optimizer or scheduler; nothing has started yet.
    """
    import torch

    from trainables.models.lenet import SHAPES
    from trainables.optim.needs import REASONS, check_clipping, need_of
    from trainables.optim.planning_trial import why_not_resumed
    from trainables.optim.plugins import names_own_code
    from trainables.optim.validation import complete_configuration

    layout = layout or tuple((name, len(shape)) for name, shape in SHAPES.items())
    dtype: torch.dtype = getattr(torch, spec.protocol.dtype)
    reasons: dict[str, str] = {}
    complete: dict[str, Configuration] = {}
    shared_size = spec.protocol.batch_size
    images = steps_per_epoch * shared_size if examples is None else examples
    for i, asked in enumerate(spec.expanded()):
        size = asked.batch_size or shared_size
        steps = steps_per_epoch if size == shared_size else math.ceil(images / size)
        configuration = replace(asked, batch_size=0) if size == shared_size else asked
        if configuration.warmup >= spec.epochs:
            raise SpecError(
                f"{spec.name}: warmup",
                f"{configuration.warmup} of {spec.epochs} epochs",
                "it must be shorter than the run",
            )
        where = f"{spec.name}: configuration {i + 1}"
        found = complete_configuration(
            configuration, spec.epochs, steps, where, spec.imports.packages, spec.shared_protocol, layout
        )
        if found.key not in complete:
            if any(names_own_code(found)):
                kind = _kind_of(found)
                if kind not in reasons:
                    reasons[kind] = why_not_resumed(found, dtype, where, layout)
                found = replace(found, cannot_resume=reasons[kind])
            if reason := REASONS.get(need_of(found, layout), ""):
                check_clipping(spec.shared_protocol, need_of(found, layout), where)
                found = replace(found, needs_own_pack=reason)
            complete[found.key] = found
    _check_replaced_momentum(spec.name, list(complete.values()))
    return list(complete.values())


def _kind_of(configuration: Configuration) -> str:
    """Return a key that is equal for configurations that differ only in numbers above 0: they run the same code."""

    def kind(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: kind(item) for key, item in value.items()}
        if isinstance(value, list):
            return [kind(item) for item in value]
        return "number" if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else value

    return canonical_json({**kind(configuration.to_dict()), "warmup": configuration.warmup > 0})


def told_own_packs(configurations: Sequence[Configuration]) -> list[str]:
    """Return a line for every optimizer whose runs share no pack, with the reason."""
    reasons = {str(c.columns()["optimizer"]): c.needs_own_pack for c in configurations if c.needs_own_pack}
    return [f"{name}: one run per pack, because {reason}" for name, reason in reasons.items()]


def told_restarts(configurations: Sequence[Configuration]) -> list[str]:
    """Return a line for every class that cannot resume exactly, with the reason."""
    reasons: dict[str, str] = {}
    for configuration in configurations:
        if configuration.cannot_resume:
            params = configuration.scheduler_params
            names = (configuration.columns()["optimizer"], configuration.scheduler, params.get("lr_lambda"))
            own = [name for name in names if ":" in str(name)]
            reasons.setdefault(" with ".join(map(str, own)) or configuration.scheduler, configuration.cannot_resume)
    return [
        f"{name} cannot resume exactly: {reason}; after an interruption its runs restart from epoch 1"
        for name, reason in reasons.items()
    ]


def _check_replaced_momentum(name: str, configurations: Sequence[Configuration]) -> None:
    """Refuse configurations that differ only in a momentum (or beta1) that their schedule replaces: they are equal.

    Raises:
        SpecError: the values of the momentum, and what would be right.
    """
    groups: dict[str, list[Any]] = {}
    for configuration in configurations:
        params = dict(configuration.optimizer_params)
        if not configuration.scheduler_params.get("cycle_momentum"):
            continue
        if "momentum" in params:
            replaced = params.pop("momentum")
        else:
            replaced, *rest = params.pop("betas", [None])
            params["betas"] = rest
        rest_of_it = replace(configuration, optimizer_params=params)
        groups.setdefault(rest_of_it.key, []).append(replaced)
    for values in groups.values():
        if len(values) > 1:
            shown = ", ".join(f"{value:g}" for value in values)
            raise SpecError(
                f"{name}: scheduler.cycle_momentum", f"true replaces the momentum (or beta1) {shown} of the optimizer",
                "cycle_momentum = false, or one momentum",
            )  # fmt: skip


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
    """Return the packs that are left to train, the largest first.

    Args:
        runs, finished, earlier: as in :func:`sort_out`.
        size: largest new pack; each group is divided into as few packs as possible, of nearly equal sizes.
    """
    packs, groups = sort_out(runs, finished, earlier)
    for group in groups:
        bounds = [0, *accumulate(even_sizes(len(group), size))]
        packs.extend(Pack(tuple(group[a:b])) for a, b in pairwise(bounds))
    return sorted(packs, key=lambda pack: -len(pack.runs))


def sort_out(
    runs: Sequence[Run], finished: Collection[str], earlier: Mapping[str, Sequence[str]]
) -> tuple[list[Pack], list[list[Run]]]:
    """Return the earlier packs that are continued, and the groups of runs that have no pack yet.

    The runs of one seed and batch size share their batches and form a group. Runs whose schedule depends on the length
    of the sweep form another group: more epochs replace these runs and extend the others. So do runs that restart in
    place of a resume, so that the others resume. A run that needs a pack of one is a group of one.

    Args:
        runs: every run of the sweep.
        finished: ids of the runs that are done or diverged.
        earlier: pack id → members of the packs that were started before, the latest first. A pack whose members are all
            in ``runs`` is continued unchanged, with its finished members, because another pack means different
            rounding. Of two packs that share a member, the first is continued.
    """
    by_id = {run.run_id: run for run in runs}
    packs: list[Pack] = []
    taken: set[str] = set()
    for members in earlier.values():
        wanted = all(member in by_id for member in members) and not set(finished).issuperset(members)
        if wanted and taken.isdisjoint(members):
            packs.append(Pack(tuple(by_id[member] for member in members)))
            taken.update(members)
    placed = taken.union(finished)
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        if run.run_id not in placed:
            choice = run.configuration
            alone = run.run_id if choice.needs_own_pack else ""
            kind = (run.seed, choice.batch_size, choice.follows_length, bool(choice.cannot_resume), alone)
            groups.setdefault(kind, []).append(run)
    return packs, list(groups.values())


def longest_first(packs: Sequence[Pack], epochs: int, trained: Mapping[str, int]) -> list[Pack]:
    """Return ``packs`` sorted by remaining work, the longest first, so that the slots end at about the same time.

    Args:
        packs: the packs to train.
        epochs: the target.
        trained: run id → trained epochs. All runs of a pack have the same number, except diverged ones.
    """
    return sorted(packs, key=lambda pack: -len(pack.runs) * (epochs - max(trained.get(i, 0) for i in pack.run_ids)))


def even_sizes(count: int, size: int) -> list[int]:
    """Return the sizes of the fewest packs of at most ``size`` runs for ``count`` runs; they differ by one at most."""
    packs = -(-count // size)
    return [round((i + 1) * count / packs) - round(i * count / packs) for i in range(packs)]
