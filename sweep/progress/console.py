"""The console of the command line: styled by this program only, never by the text that it shows."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from search_spaces.plain_text import plain_text
from sweep.process.output import KEPT, PlainStream


class PlainConsole(Console):
    """A console that shows control characters in texts as escapes."""

    def __init__(self, **options: Any) -> None:
        """``options`` are those of :class:`rich.console.Console`; the default file is standard output."""
        stream = options.pop("file", None) or sys.stdout
        file: Any = stream.styled() if isinstance(stream, PlainStream) else stream
        super().__init__(file=file, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of ``renderable``."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(plain_text(segment.text, KEPT), segment.style)
