"""What a sweep does before its first epoch: a spinner on a terminal, a line for each stage elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status
from rich.text import Text


class Stages:
    """Shows one stage at a time. As a context manager it ends the last one."""

    def __init__(self, console: Console, *, lines: bool = True) -> None:
        """``lines``: whether lines are printed where there is no terminal."""
        self._console = console
        self._lines = lines
        self._spinner: Status | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.begin("")

    def begin(self, stage: str) -> None:
        """End the present stage and show the next one; an empty text only ends the present one."""
        if not self._console.is_terminal:
            if stage and self._lines:
                self._console.print(f"{stage} ...", highlight=False, markup=False, soft_wrap=True)
            return
        if not stage and self._spinner is not None:
            self._spinner.stop()
            self._spinner = None
        elif stage and self._spinner is None:
            self._spinner = Status(Text(f"{stage} ..."), console=self._console)
            self._spinner.start()
        elif stage and self._spinner is not None:
            self._spinner.update(Text(f"{stage} ..."))
