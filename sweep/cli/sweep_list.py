"""`sweep list`: a table of all sweeps that fits 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from search_spaces.plain_text import message_line
from sweep.folder.status import STATES, SweepStatus, UnreadableSweep


def sweep_table(statuses: Sequence[SweepStatus | UnreadableSweep]) -> Table:
    """Return a row for each sweep."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("Sweep", overflow="fold", min_width=12)
    table.add_column("Data", overflow="ellipsis", no_wrap=True, max_width=16)
    table.add_column("Runs", justify="right")
    table.add_column("Epochs", justify="right")
    table.add_column("Best val.\nacc. (%)", justify="right")
    table.add_column("State", overflow="fold")
    for status in statuses:
        table.add_row(*map(Text, _cells(status)))
    return table


def _cells(status: SweepStatus | UnreadableSweep) -> list[str]:
    if isinstance(status, UnreadableSweep):
        return [status.name, "", "", "", "", message_line(status.problem)]
    best = "" if status.best_val_acc is None else f"{status.best_val_acc:.2f}"
    data = message_line(status.data)
    return [status.name, data, str(status.runs), f"{100 * status.epochs_share:.0f} %", best, _state(status)]


def _state(status: SweepStatus) -> str:
    """Return the phase of a running sweep, or the numbers of its runs by state; only `done` where all are."""
    if status.driver is not None:
        return f"{status.driver.phase} (pid {status.driver.pid})"
    if status.runs and status.done == status.runs:
        return "done"
    return ", ".join(f"{status.count(state)} {state}" for state in STATES if status.count(state)) or "empty"
