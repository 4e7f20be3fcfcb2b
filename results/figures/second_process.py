"""A second process draws a share of the figures of a sweep: drawing takes most of the time of its outputs."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from search_spaces.imports import large_imports

if TYPE_CHECKING:  # the process starts before Matplotlib is imported
    from results.figures.registry import FigureWriter
    from results.tables.table import Table

PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from results.figures.second_process import serve
serve()
"""
"""What the second process executes: with the modules of this one, and without those of the working directory."""

PATIENCE_SECONDS = 3.0
"""Longest time to wait for a figure when the process ends. After Ctrl-C a command has nine seconds."""


@contextmanager
def second_process() -> Iterator[SecondProcess]:
    """Yield a process that draws; it has ended after the block."""
    second = SecondProcess()
    try:
        yield second
    finally:
        second.close()


class SecondProcess:
    """A process that imports Matplotlib while this one makes the tables, and then draws one figure after another.

    It ends when this process closes the pipe between them or dies.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, json.dumps(sys.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True,  # Ctrl-C is for the process that started it
        )  # fmt: skip
        self._drawing = False

    def draw(self, tables: Mapping[str, Table], write: FigureWriter) -> list[Path]:
        """Write the figure of each table, and return the files in the order of ``tables``.

        This process takes the figures from the first, the second one from the last. What the second one does not draw
        is drawn here: the error of a figure that cannot be drawn is raised here.
        """
        left, files = deque(tables), dict[str, list[Path]]()

        def delegate() -> None:
            with suppress(Exception):  # nothing is left, or it has died: this process draws what it does not answer
                self._send(write)
                while name := left.pop():
                    files[name] = self._write(name, tables[name])

        delegation = Thread(target=delegate, daemon=True)
        with suppress(RuntimeError):  # no thread can start: all is drawn here
            delegation.start()
        try:
            with suppress(IndexError):
                while name := left.popleft():
                    files[name] = write(name, tables[name])
        finally:
            left.clear()
        if delegation.ident is not None:
            delegation.join()
        return [path for name in tables for path in files.get(name) or write(name, tables[name])]

    def close(self) -> None:
        """End the process; it has :data:`PATIENCE_SECONDS` to complete the files that it is writing."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            with suppress(OSError):
                self._process.stdin.close()
            if self._drawing:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(PATIENCE_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def _write(self, name: str, table: Table) -> list[Path]:
        self._drawing = True
        self._send((name, table))
        assert self._process.stdout is not None
        files: list[Path] = pickle.load(self._process.stdout)
        self._drawing = False
        return files

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()


def serve() -> None:
    """Be the second process: read a writer, then names and tables; answer each with the files that were written."""
    with large_imports():
        import results.figures.registry  # noqa: F401 - before the first message

    source, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    with suppress(EOFError):
        write: FigureWriter = pickle.load(source)
        while True:
            name, table = pickle.load(source)
            try:
                files = write(name, table)
            except Exception:  # the other process draws it, too, and reports the error
                files = []
            pickle.dump(files, answers)
            answers.flush()
