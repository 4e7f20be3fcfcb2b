"""The phases of a benchmark: which run belongs to which phase, study, method and point, and the kept design.

A run may belong to several points: two methods, or a tuned and an untuned point, can have the same configuration.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from results.ledger.ledger import Ledger
from results.ledger.schema import PHASES_SINCE

if TYPE_CHECKING:
    import pandas as pd

Phase = Literal["tuning", "evaluation", "untuned"]

UNTUNED_POINT = -1


@dataclass(frozen=True)
class PhaseRow:
    """One run as a part of one point of a benchmark.

    ``phase`` is ``tuning``, ``evaluation`` (the selected point under the evaluation seeds) or ``untuned`` (the class
    defaults under the evaluation seeds). ``study`` counts from 1. ``point`` counts from 0 in the order of drawing and
    is -1 for the untuned point; in the evaluation it is the selected point. A point from the spec's ``budget`` on was
    offered because the range of a method was widened. ``epochs`` are the epochs that the run trains in this phase: the
    spec's ``tuning_epochs`` (with halving, those of its last rung) or ``epochs``. ``rung`` is 0 without halving.
    """

    run_id: str
    phase: Phase
    study: int
    method: str
    point: int
    epochs: int
    rung: int = 0
    stopped: bool = False


COLUMNS = tuple(field.name for field in fields(PhaseRow))


def read_phases(ledger: Ledger) -> pd.DataFrame:
    """Return one row per run and point, with the columns of :class:`PhaseRow`.

    Sorted by study, phase, method, point, seed and run id. Empty for a sweep that is no benchmark, and for a ledger of
    an older version.
    """
    import pandas as pd  # a driver imports this module for the other functions

    if int(ledger.kept("schema_version") or 1) < PHASES_SINCE:
        return pd.DataFrame(columns=list(COLUMNS))
    columns = ", ".join(f"p.{name}" for name in COLUMNS)
    rows = ledger.rows(
        f"""
        SELECT {columns} FROM phases p JOIN runs r USING (run_id)
        ORDER BY p.study, p.phase, p.method, p.point, r.seed, p.run_id
        """,
        {},
    )
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"stopped": bool})


def write_phases(ledger: Ledger, phases: Iterable[Phase], rows: Iterable[PhaseRow]) -> None:
    """Replace the rows of these ``phases`` by ``rows``; their runs are planned before."""
    marks = ", ".join("?" * len(COLUMNS))
    ledger.write(
        ("DELETE FROM phases WHERE phase = ?", [(phase,) for phase in phases]),
        (f"INSERT INTO phases ({', '.join(COLUMNS)}) VALUES ({marks})", map(astuple, rows)),
    )


def benchmark_in(spec: str) -> dict[str, Any] | None:
    """Return the tables of a benchmark's resolved spec; None for the spec of another sweep.

    ``benchmark``: the table ``[benchmark]`` with every key written out. ``methods``: the list ``[[methods]]``, each
    with its search space as the user wrote it. ``epochs``: those of the evaluation. The text is ``Ledger.kept_spec()``.
    """
    try:
        found = tomllib.loads(spec)
    except (ValueError, RecursionError):  # a ledger of another program, or one that was changed by hand
        return None
    if not isinstance(found.get("benchmark"), dict) or not isinstance(found.get("methods"), list):
        return None
    return {key: found.get(key) for key in ("benchmark", "methods", "epochs")}
