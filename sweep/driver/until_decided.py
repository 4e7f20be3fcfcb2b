"""Seeds until decided: a sweep gets more seeds until every comparison with its reference is decided."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sweep.config.spec import Spec
from sweep.driver.announcements import tell
from sweep.driver.driver import DEFAULT_OPTIONS, DriveOptions, Outcome, drive

if TYPE_CHECKING:
    from results.tables.comparison import Comparisons


def drive_until_decided(
    spec: Spec, runs_dir: Path, console: Console, options: DriveOptions = DEFAULT_OPTIONS
) -> Outcome | None:
    """Train a sweep as :func:`sweep.driver.driver.drive` does; with ``max_seeds``, add seeds until it is decided.

    A comparison is decided if the configuration is better or worse than the reference at the level of the look, or
    equal within the margin. The sweep ends early only if all comparisons are decided. Arguments, return value and
    errors as in ``drive``. Ray is started once for all looks.
    """
    if not spec.looks:
        return drive(spec, runs_dir, console, options)
    with ExitStack() as ray:
        return _drive_looks(spec, runs_dir, console, replace(options, ray=ray))


def _drive_looks(spec: Spec, runs_dir: Path, console: Console, options: DriveOptions) -> Outcome | None:
    planned = spec.looks
    seeds = spec.seed_list
    outcome = None
    for look in (look for look in planned if look >= len(seeds)):
        more = range(max(seeds) + 1, max(seeds) + 1 + look - len(seeds))
        at_look = spec.model_copy(update={"seeds": [*seeds, *more], "max_seeds": planned[-1]})
        outcome = drive(at_look, runs_dir, console, options)
        if outcome is None or not outcome.all_done:
            return outcome
        from results.tables.comparison import compare_best

        compared = compare_best(outcome.data)
        following = next((other for other in planned if other > look), None)
        tell(console, _told(compared, look, planned, following))
        if compared is None or not compared.undecided:
            break
    return outcome


def _told(compared: Comparisons | None, look: int, planned: tuple[int, ...], following: int | None) -> str:
    """Describe a look: the decided comparisons, and the runs that the next look needs."""
    place = f"look {planned.index(look) + 1} of {len(planned)}, {look} seeds"
    if compared is None:
        return f"{place}: nothing to compare"
    undecided = compared.undecided
    decided = len(compared.tested) - len(undecided)
    text = f"{place}: {decided} of {len(compared.tested)} comparisons decided"
    if not undecided:
        return text
    labels = "; ".join(contender.group.label for contender in undecided)
    if following is None:
        return f"{text}; undecided after the largest number of seeds: {labels}"
    more = following - look
    seeds = "1 more seed" if more == 1 else f"{more} more seeds"
    return f"{text}; undecided: {labels}; {seeds}, {more * (len(compared.contenders) + 1)} more runs"
