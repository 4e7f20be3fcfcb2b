"""`sweep status --watch`: shows the status until the sweep ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search_spaces.plain_text import message_line
from sweep.folder.status import SweepStatus, status_lines
from sweep.process.output import output_lost

REFRESH_SECONDS = 2.0
START_LOOKS = 15
"""How often the status is read until an unfinished sweep runs: `resume` may have been started at the same moment."""
WAITING = f"  not running; waiting up to {START_LOOKS * REFRESH_SECONDS:g} s until it is resumed"


def statuses(look: Callable[[], SweepStatus], pause: Callable[[float], None] = time.sleep) -> Iterator[SweepStatus]:
    """Yield what ``look`` returns, every few seconds while the sweep runs, and once after its end.

    The status of an unfinished sweep that does not run is read :data:`START_LOOKS` times at most. Reading ends as soon
    as standard output has no reader.
    """
    for _ in range(START_LOOKS):
        status = look()
        if not is_waited_for(status):
            break
        yield status
        if output_lost():
            return
        pause(REFRESH_SECONDS)
    else:
        status = look()
    while status.driver is not None:
        yield status
        if output_lost():
            return
        pause(REFRESH_SECONDS)
        status = look()
    yield status


def is_waited_for(status: SweepStatus) -> bool:
    """Whether no process runs the sweep, and it has runs that a resume would train."""
    return status.driver is None and status.runs > status.done + status.diverged + status.failed


def watch(
    look: Callable[[], SweepStatus], console: Console, *, as_json: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> None:  # fmt: skip
    """Show the status until the sweep ends: live on a terminal, otherwise when it changes, or as JSON lines."""
    if as_json:
        for status in statuses(look, pause):
            _print(console, json.dumps(status.model_dump()))
        return
    driven = False
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            for status in statuses(look, pause):
                driven = driven or status.driver is not None
                picture = _picture(status)
                waits = not driven and is_waited_for(status)
                live.update(Group(picture, Text(WAITING)) if waits else picture, refresh=True)
        _print(console, "\n".join(map(message_line, status_lines(status))))
        return
    shown = ""
    for status in statuses(look, pause):
        driven = driven or status.driver is not None
        lines = "\n".join(map(message_line, status_lines(status)))
        if lines != shown:
            shown = lines
            _print(console, lines)
            if not driven and is_waited_for(status):
                _print(console, WAITING)


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _picture(status: SweepStatus) -> RenderableType:
    bar = Table.grid(padding=(0, 1))
    bar.add_row(ProgressBar(total=1.0, completed=status.epochs_share, width=40), f"{100 * status.epochs_share:.0f} %")
    parts: list[RenderableType] = [bar, Text("\n".join(map(message_line, status_lines(status))))]
    if status.driver and status.driver.nodes:
        nodes = Table(box=None, pad_edge=False)
        for heading in ("node", "host", "address", "CPUs", "GPUs", "slots"):
            nodes.add_column(heading, justify="left" if heading in ("node", "host", "address") else "right")
        for node in status.driver.nodes:
            numbers = (node.cpus, node.gpus, node.slots)
            nodes.add_row(Text(node.node), Text(node.host), Text(node.address), *(f"{number:g}" for number in numbers))
        parts.append(nodes)
    return Group(*parts)
