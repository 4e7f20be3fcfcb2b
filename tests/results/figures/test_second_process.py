"""A second process draws a share of the figures: the same files, also where it dies or cannot draw one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from results.figures.configuration_styles import sweep_styles
from results.figures.registry import FigureWriter, figure_tables, save_figures
from results.figures.second_process import SecondProcess, second_process
from results.tables.table import Table
from search_spaces.errors import SweepFolderError
from tests.results.figure_sweeps import made_up_sweep

SWEEP = made_up_sweep(2, epochs=3)
STYLES = sweep_styles(SWEEP)
PATIENCE_SECONDS = 60.0


@pytest.fixture
def second() -> Iterator[SecondProcess]:
    with second_process() as process:
        yield process


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def drawer() -> psutil.Process:
    (process,) = [child for child in psutil.Process().children() if "second_process" in " ".join(child.cmdline())]
    return process


def test_two_processes_write_the_bytes_of_one(tmp_path: Path, second: SecondProcess) -> None:
    """The files are listed in the order of the figures, for each of the two processes."""
    names = [path.name for path in save_figures(SWEEP, tmp_path / "one")]
    assert [path.name for path in save_figures(SWEEP, tmp_path / "two", draw=second.draw)] == names
    assert written(tmp_path / "two") == written(tmp_path / "one")


@dataclass(frozen=True)
class Waiting(FigureWriter):
    """Draws a figure and writes the id of its process to the folder ``pids``, in a file with the figure's name.

    The process with the id ``first`` waits until another process has drawn a figure.
    """

    pids: Path = Path()
    first: int = 0

    def __call__(self, name: str, table: Table) -> list[Path]:
        until = time.monotonic() + PATIENCE_SECONDS
        while os.getpid() == self.first and not any(self.pids.iterdir()) and time.monotonic() < until:
            time.sleep(0.01)
        files = super().__call__(name, table)
        (self.pids / name).write_text(str(os.getpid()))
        return files


def test_each_process_draws_some_figures_and_none_twice(tmp_path: Path, second: SecondProcess) -> None:
    """The first figure is drawn here, the last one there."""
    tables, pids = figure_tables(SWEEP), tmp_path / "pids"
    pids.mkdir()
    second.draw(tables, Waiting(SWEEP, STYLES, tmp_path, ["svg"], pids, os.getpid()))
    by_whom = [int((pids / name).read_text()) for name in tables]
    here = by_whom.count(os.getpid())
    assert 0 < here < len(tables)
    assert by_whom == [os.getpid()] * here + [drawer().pid] * (len(tables) - here)


def test_this_process_draws_what_a_dead_one_does_not(tmp_path: Path, second: SecondProcess) -> None:
    drawer().kill()
    files = save_figures(SWEEP, tmp_path, ["svg"], draw=second.draw)
    assert {path.stem for path in files} == set(figure_tables(SWEEP))
    assert all(path.exists() for path in files)


def test_the_error_of_a_figure_is_raised_here(tmp_path: Path, second: SecondProcess) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SweepFolderError, match="file"):
        save_figures(SWEEP, tmp_path / "file", ["svg"], draw=second.draw)


def test_a_terminal_sends_it_no_ctrl_c_and_a_closed_pipe_ends_it() -> None:
    """Ctrl-C goes to the processes of the terminal's session."""
    with second_process():
        process = drawer()
        assert os.getsid(process.pid) == process.pid != os.getsid(0)
    assert not process.is_running()


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """A killed process cannot end it: the pipe between the two closes."""
    program = "import time\nfrom results.figures.second_process import SecondProcess\n"
    program += "print(SecondProcess()._process.pid, flush=True)\ntime.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        process = psutil.Process(int(starter.stdout.readline()))
        starter.kill()
    process.wait(PATIENCE_SECONDS)
