"""What `run`, `resume` and `confirm` print: the stages, the progress, and the answer at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from search_spaces.imports import large_imports
from search_spaces.plain_text import counted
from sweep.cli.options import EXIT_FAILED
from sweep.config.spec import Spec
from sweep.folder.paths import SweepFolder, resume_command
from sweep.folder.status import STATES
from sweep.process.cpus import available_cpus
from sweep.process.output import say
from sweep.process.supervisor import InterruptedSweepError, is_supervised
from sweep.progress.console import PlainConsole
from sweep.progress.stages import Stages

if TYPE_CHECKING:
    from rich.console import Console

    from results.reports.baseline import Baseline
    from sweep.driver.driver import DriveOptions, Outcome


@dataclass(frozen=True)
class Output:
    """What is printed, and where."""

    quiet: bool = False  # no progress
    as_json: bool = False  # the answer as one object on standard output; everything else goes to standard error
    received: Sequence[Baseline] = ()  # published benchmarks for the tables and figures of a benchmark

    @contextmanager
    def progress(self, *, in_process: bool) -> Iterator[PlainConsole]:
        """Yield the console of the progress. A live view would hide the prompt of a debugger."""
        terminal = False if in_process else None
        file = sys.stderr if self.as_json else sys.stdout
        with redirect_stdout(file):
            yield PlainConsole(file=file, quiet=self.quiet, force_terminal=terminal)


def train(spec: Spec, runs_dir: Path, output: Output, **how: Any) -> None:
    """Train a sweep and print its answer; ``how`` are the fields of :class:`sweep.driver.driver.DriveOptions`.

    Raises:
        typer.Exit: a run has no result; exit code 1.
        InterruptedSweepError: Ctrl-C, with the command that continues.
    """
    again = resume_command(spec.name, runs_dir) + " --in-process" * bool(how.get("in_process"))
    try:
        lines = not how.get("dry_run")  # a dry run prints its plan only
        with (
            output.progress(in_process=bool(how.get("in_process"))) as console,
            Stages(console, lines=lines) as stages,
            ExitStack() as drawing,
            ExitStack() as started,
        ):
            if lines and not how.get("in_process") and is_supervised():
                from sweep.execution.ray.early_start import start_early

                start_early(spec, runs_dir, started, stages.begin)
            stages.begin(f"sweep {spec.name}: loading PyTorch")
            with large_imports():
                from results.figures.second_process import second_process
                from sweep.driver.driver import DriveOptions

                drive_spec = _driver_of(spec)
            options = DriveOptions(**how, started=started, say_step=stages.begin)
            try:
                outcome = drive_spec(spec, runs_dir, console, options)
                if outcome is None:
                    return
                draw = None
                with suppress(OSError):  # no memory, or too many processes: this one draws all figures
                    if available_cpus() > 1:
                        draw = drawing.enter_context(second_process()).draw  # it starts while Ray ends
            finally:
                started.close()  # still open where nothing is left to train
                _keep(output.received, SweepFolder(runs_dir, spec.name))
            stages.begin("writing tables, figures and the report")
            with large_imports():  # of Matplotlib: training does not wait for it
                from sweep.driver.outputs import make_outputs

            make_outputs(outcome.folder, draw)
    except KeyboardInterrupt:
        if SweepFolder(runs_dir, spec.name).spec.exists():  # otherwise nothing was planned
            raise InterruptedSweepError(f"interrupted; to continue: {again}") from None
        raise
    _print_answer(outcome, output)
    if not outcome.all_done:
        failed = outcome.count("failed")
        if outcome.count("interrupted") + outcome.count("pending"):
            say(f"not all runs have a result; to continue: {again}", error=True)
        if failed:
            again = resume_command(spec.name, runs_dir, retry_failed=True)
            say(f"{failed} failed; to retry: {again}", error=True)
        raise typer.Exit(EXIT_FAILED)


def _driver_of(spec: Spec) -> Callable[[Spec, Path, Console, DriveOptions], Outcome | None]:
    """Import and return the function that trains ``spec``."""
    if spec.benchmark is None:
        from sweep.driver.until_decided import drive_until_decided

        return drive_until_decided
    from sweep.driver.benchmark import drive_benchmark

    return drive_benchmark


def _keep(received: Sequence[Baseline], folder: SweepFolder) -> None:
    """Keep published benchmarks in the folder of a sweep that exists, for its tables and figures."""
    if received and folder.spec.exists():
        from results.reports.received import keep_received

        keep_received(received, folder.path)


def _print_answer(outcome: Outcome, output: Output) -> None:
    from results.reports.ranking import ranked
    from sweep.cli.answer_screen import print_answer, summary
    from sweep.cli.next_step import next_step

    folder, ranking = outcome.folder, ranked(outcome.data)
    then = next_step(folder, outcome.data, outcome.rate)
    if output.as_json:
        say(summary(folder, ranking, then).model_dump_json(indent=2))
        return
    counts = ", ".join(f"{outcome.count(state)} {state}" for state in STATES if outcome.count(state))
    say(f"{counts} of {counted(len(outcome.statuses), 'run')}")
    print_answer(PlainConsole(), folder, ranking, then)
