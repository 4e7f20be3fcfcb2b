"""What continuing a sweep changes in its ledger, reported before anything is trained."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from results.ledger.ledger import Ledger
from results.ledger.queries import recorded_run
from search_spaces import Run
from search_spaces.canonical import canonical_json
from search_spaces.labels import configuration_labels
from search_spaces.plain_text import counted

MOST_NAMED = 4
"""Configurations, seeds or edits that a line names before it only counts them."""

ABSENT = object()


def announce_changes(ledger: Ledger, runs: Sequence[Run], epochs: int) -> list[str]:
    """Return which runs are extended, which are new and why, and which are left out; a line each, none for a new sweep.

    Args:
        ledger: as it stands, before ``runs`` are planned.
        runs: what is asked for.
        epochs: the epochs that each of them is asked for.
    """
    targets = ledger.targets()
    if not targets:
        return []
    asked = {run.run_id for run in runs}
    finished = ledger.finished(asked, epochs)
    recorded = ledger.epochs_recorded()
    gone = {
        run_id: recorded_run(ledger, run_id)
        for run_id, (_, planned) in targets.items()
        if planned and run_id not in asked
    }
    other_length = {_but_length(run): run_id for run_id, run in gone.items() if targets[run_id][0] != epochs}
    extended: dict[int, list[Run]] = {}
    longer: dict[int, list[Run]] = {}
    added: list[Run] = []
    for run in runs:
        if run.run_id not in targets:
            twin = other_length.get(_but_length(run)) if run.configuration.follows_length else None
            if twin is None:
                added.append(run)
            else:
                longer.setdefault(targets[twin][0], []).append(run)
        elif targets[run.run_id][0] < epochs and run.run_id not in finished:
            extended.setdefault(targets[run.run_id][0], []).append(run)
    replaced = {_but_length(run) for group in longer.values() for run in group}
    dropped = [run for run in gone.values() if _but_length(run) not in replaced]
    shorter = [run for run in runs if recorded.get(run.run_id, 0) > epochs]
    labels = configuration_labels(list(dict.fromkeys(run.configuration for run in [*runs, *dropped])))

    def named(some: Sequence[Run]) -> str:
        return _names(some, labels, {run.seed for run in runs})

    lines = [
        f"extends {_runs(len(group))} from {before} to {counted(epochs, 'epoch')}: {named(group)}"
        for before, group in sorted(extended.items())
    ]
    lines += [
        f"adds {_runs(len(group), 'new ')}, whose schedule depends on the {counted(epochs, 'epoch')}: {named(group)}; "
        f"their runs of {counted(before, 'epoch')} stay in the ledger"
        for before, group in sorted(longer.items())
    ]
    if added:
        lines.append(f"adds {_runs(len(added))}: {named(added)}")
    if dropped:
        lines.append(f"leaves out {_runs(len(dropped))}, kept in the ledger: {named(dropped)}")
    if shorter:
        most = max(recorded[run.run_id] for run in shorter)
        lines.append(f"{_runs(len(shorter))} already had up to {counted(most, 'epoch')}: nothing to train for {epochs}")
    return lines


def spec_edits(written: str, present: str) -> list[str]:
    """Return what was changed by hand in a ``sweep.toml``, ``key old -> new`` each, at most a few and a count.

    Args:
        written: the file as `sweep` wrote it.
        present: the file as it is now.
    """
    try:
        before, after = tomllib.loads(written), tomllib.loads(present)
    except (ValueError, RecursionError):
        return ["it can no longer be read"]
    changes: list[str] = []
    _compare("", before, after, changes)
    if len(changes) > MOST_NAMED:
        changes[MOST_NAMED:] = [f"and {len(changes) - MOST_NAMED} more"]
    return changes or ["nothing but its layout"]


def _compare(key: str, before: Any, after: Any, changes: list[str]) -> None:
    """Add a line to ``changes`` for every value under ``key`` that differs; tables and lists are looked into."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*before, *after]):
            place = f"{key}.{name}" if key else name
            _compare(place, before.get(name, ABSENT), after.get(name, ABSENT), changes)
    elif _tables(before) and _tables(after):
        if len(before) != len(after):
            changes.append(f"{key} {len(before)} -> {len(after)} of them")
        else:
            for i, (one, other) in enumerate(zip(before, after, strict=True)):
                _compare(f"{key}[{i}]", one, other, changes)
    elif type(before) is not type(after) or before != after:
        changes.append(f"{key} {_shown(before)} -> {_shown(after)}")


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "nothing"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _but_length(run: Run) -> tuple[Any, ...]:
    """Return what two runs have in common that differ in nothing but what a schedule derives from the epochs."""
    choice = run.configuration
    return (
        choice.optimizer,
        canonical_json(choice.optimizer_params),
        choice.scheduler,
        choice.warmup,
        choice.batch_size,
        run.seed,
    )


def _runs(count: int, kind: str = "") -> str:
    return f"1 {kind}run" if count == 1 else f"{count} {kind}runs"


def _names(runs: Sequence[Run], labels: Mapping[str, str], all_seeds: Collection[int]) -> str:
    """Name the configurations of ``runs``, and their seeds where they are not all that are asked for."""
    text = _list(list(dict.fromkeys(labels[run.configuration.configuration_id] for run in runs)), "configurations")
    seeds = sorted({run.seed for run in runs})
    if set(seeds) == set(all_seeds):
        return text
    return f"{text} (seed{'s' if len(seeds) > 1 else ''} {_list([str(seed) for seed in seeds], 'seeds')})"


def _list(words: Sequence[str], kind: str) -> str:
    rest = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" and {rest} more {kind}" if rest > 0 else "")
