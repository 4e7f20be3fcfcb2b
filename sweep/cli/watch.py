"""`sweep status --watch`: a sweep as it goes, until nobody drives it any more."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweep.folder.status import status_lines

REFRESH_SECONDS = 2.0


def looks(look: Callable[[], dict[str, Any]], pause: Callable[[float], None] = time.sleep) -> Iterator[dict[str, Any]]:
    """Yield what ``look`` sees, every few seconds, and as the last one what it sees when nobody drives the sweep."""
    while (status := look())["driver"] is not None:
        yield status
        pause(REFRESH_SECONDS)
    yield status


def watch(
    look: Callable[[], dict[str, Any]], console: Console, *, as_json: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> None:  # fmt: skip
    """Show what ``look`` sees until the sweep ends: live on a terminal, else what changed, or a JSON text a line."""
    status: dict[str, Any] = {}
    if as_json:
        for status in looks(look, pause):
            _print(console, json.dumps(status))
        return
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            for status in looks(look, pause):
                live.update(_picture(status), refresh=True)
        _print(console, "\n".join(status_lines(status)))
        return
    shown = ""
    for status in looks(look, pause):
        lines = "\n".join(status_lines(status))
        if lines != shown:
            shown = lines
            _print(console, lines)


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _picture(status: dict[str, Any]) -> RenderableType:
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=1.0, completed=status["epochs_share"], width=40), f"{100 * status['epochs_share']:.0f} %"
    )
    parts: list[RenderableType] = [bar, Text("\n".join(status_lines(status)))]
    if status["driver"] and status["driver"]["nodes"]:
        nodes = Table(box=None, pad_edge=False)
        for heading in ("node", "host", "address", "CPUs", "GPUs", "slots"):
            nodes.add_column(heading, justify="left" if heading in ("node", "host", "address") else "right")
        for node in status["driver"]["nodes"]:
            nodes.add_row(
                *(Text(str(node[key])) for key in ("node", "host", "address")),
                *(f"{node[key]:g}" for key in ("cpus", "gpus", "slots")),
            )
        parts.append(nodes)
    return Group(*parts)
