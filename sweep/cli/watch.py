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

from search_spaces.plain_text import plain_text
from sweep.folder.status import SweepStatus, status_lines
from sweep.process.output import output_lost

REFRESH_SECONDS = 2.0


def statuses(look: Callable[[], SweepStatus], pause: Callable[[float], None] = time.sleep) -> Iterator[SweepStatus]:
    """Yield what ``look`` returns, every few seconds while the sweep runs, and once after its end.

    They end as soon as standard output has no reader.
    """
    while (status := look()).driver is not None:
        yield status
        if output_lost():
            return
        pause(REFRESH_SECONDS)
    yield status


def watch(
    look: Callable[[], SweepStatus], console: Console, *, as_json: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> None:  # fmt: skip
    """Show the status until the sweep ends: live on a terminal, otherwise when it changes, or as JSON lines."""
    if as_json:
        for status in statuses(look, pause):
            _print(console, json.dumps(status.model_dump()))
        return
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            for status in statuses(look, pause):
                live.update(_picture(status), refresh=True)
        _print(console, "\n".join(map(plain_text, status_lines(status))))
        return
    shown = ""
    for status in statuses(look, pause):
        lines = "\n".join(map(plain_text, status_lines(status)))
        if lines != shown:
            shown = lines
            _print(console, lines)


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _picture(status: SweepStatus) -> RenderableType:
    bar = Table.grid(padding=(0, 1))
    bar.add_row(ProgressBar(total=1.0, completed=status.epochs_share, width=40), f"{100 * status.epochs_share:.0f} %")
    parts: list[RenderableType] = [bar, Text("\n".join(map(plain_text, status_lines(status))))]
    if status.driver and status.driver.nodes:
        nodes = Table(box=None, pad_edge=False)
        for heading in ("node", "host", "address", "CPUs", "GPUs", "slots"):
            nodes.add_column(heading, justify="left" if heading in ("node", "host", "address") else "right")
        for node in status.driver.nodes:
            numbers = (node.cpus, node.gpus, node.slots)
            nodes.add_row(Text(node.node), Text(node.host), Text(node.address), *(f"{number:g}" for number in numbers))
        parts.append(nodes)
    return Group(*parts)
