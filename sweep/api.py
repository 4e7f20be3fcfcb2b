"""The Python interface: run a sweep, load a sweep, analyse its runs.

Tables are pandas data frames, figures are matplotlib figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from results.analyses.captures import Analyses, load_analyses
from results.ledger.arrays import SweepData
from results.ledger.frames import epochs_frame, runs_frame
from results.ledger.ledger import Ledger
from results.reports.received import load_with_received
from results.tables.table import Table
from search_spaces.errors import SpecError, UnknownNameError
from sweep.analyses import captures as captured
from sweep.analyses.targets import Subjects, of_space, of_sweep
from sweep.config.spec import Spec
from sweep.config.toml import read_spec, spec_of
from sweep.folder.paths import DEFAULT_RUNS_DIR, SweepFolder
from sweep.progress.console import PlainConsole


@dataclass(frozen=True)
class Sweep:
    """A finished or unfinished sweep. Its results are read from its ledger at the first access.

    Accuracies are in percent, times in seconds, differences in percentage points.
    """

    folder: SweepFolder
    target: float | None = None  # validation accuracy in percent to reach; None: 95 % of the best

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.folder.path

    @cached_property
    def data(self) -> SweepData:
        """The measurements, as arrays ``[seeds, epochs]`` for each configuration."""
        return load_with_received(self.folder.ledger, self.folder.name, self.target)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run."""
        with Ledger.open_read_only(self.folder.ledger) as ledger:
            return runs_frame(ledger)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row per run and epoch."""
        with Ledger.open_read_only(self.folder.ledger) as ledger:
            return epochs_frame(ledger)

    @cached_property
    def answer(self) -> list[str]:
        """The answer of the sweep, in a few sentences."""
        from results.reports.summary import answer

        return answer(self.data)

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table by the name of its file; docs/tables.md has the columns. ``attrs``: caption and notes."""
        from results.reports.registry import analysis_tables, report_tables

        return _frames({**report_tables(self.data), **analysis_tables(self.analyses)})

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """Every figure by the name of its file."""
        from results.figures.registry import make_figures
        from results.reports.study.figures import study_figures

        return {**make_figures(self.data), **study_figures(self.data), **self.analyses.figures()}

    @cached_property
    def analyses(self) -> Analyses:
        """The results of its analyses."""
        return load_analyses(self.folder.analyses)


@dataclass(frozen=True)
class Analysis:
    """The results of one analysis: its Parquet files, and the tables and figures made from them."""

    files: tuple[Path, ...]
    tables: dict[str, pd.DataFrame]
    figures: dict[str, Figure]
    sentences: tuple[str, ...]


def run(
    spec: str | Path | Mapping[str, Any], *, runs_dir: str | Path = DEFAULT_RUNS_DIR, quiet: bool = False,
    retry_failed: bool = False, in_process: bool = False, trust: bool = False, **overrides: Any,
) -> Sweep:  # fmt: skip
    """Run a sweep as ``sweep run`` does, or a benchmark as ``sweep benchmark`` does, without its finished runs.

    Args:
        spec: the name of a space, a TOML file, or such a file's content as a mapping.
        runs_dir: the folder that holds the sweeps' folders.
        quiet: whether to print nothing.
        retry_failed: whether runs that failed before are retried.
        in_process: whether to train in this process, one pack after the other, without Ray.
        trust: whether to accept the address of a cluster that a TOML file names; it gets your token.
        overrides: the spec's keys, on top of it: ``epochs=10``, ``seeds=2``, ``data="synthetic"``, ``name="mine"``; a
            table as a whole, ``resources={"pack": 4}``.

    Raises:
        search_spaces.errors.UserError: an invalid spec, data set or folder; nothing has been trained.
    """
    from sweep.driver.benchmark import drive_benchmark
    from sweep.driver.driver import DriveOptions
    from sweep.driver.outputs import make_outputs
    from sweep.driver.until_decided import drive_until_decided
    from sweep.folder.trust import from_file

    untyped = from_file(overrides, trust=trust or isinstance(spec, Mapping))
    options = DriveOptions(retry_failed=retry_failed, in_process=in_process, from_file=untyped)
    asked = _spec(spec, overrides)
    console = PlainConsole(quiet=quiet, force_terminal=False if in_process else None)
    outcome = (drive_benchmark if asked.benchmark else drive_until_decided)(asked, Path(runs_dir), console, options)
    assert outcome is not None
    make_outputs(outcome.folder)
    return Sweep(outcome.folder)


def confirm(
    sweep: Sweep, *, top: int | None = None, seeds: int | str = 10, quiet: bool = False, in_process: bool = False,
    trust: bool = False, **overrides: Any,
) -> Sweep:  # fmt: skip
    """Compare the best configurations of a sweep under new seeds, as ``sweep confirm`` does; return the new sweep.

    Args:
        sweep: the sweep whose configurations are chosen, the best of each family by validation.
        top: number of configurations, at least 2; None: those of the existing confirmation, else 3.
        seeds: number of new seeds, the same for all configurations; ``"auto"``: until every comparison is decided.
        quiet: whether to print nothing.
        in_process: whether to train in this process, without Ray.
        trust: whether to accept the address and the storage that the sweep's ``sweep.toml`` names.
        overrides: keys of the spec, such as ``resources={"pack": 4}``.

    Raises:
        search_spaces.errors.UserError: the sweep is not finished, or has fewer than two configurations that learned.
    """
    from sweep.driver.confirm import confirmation_spec
    from sweep.driver.driver import DriveOptions
    from sweep.driver.outputs import make_outputs, make_report
    from sweep.driver.until_decided import drive_until_decided

    spec = confirmation_spec(sweep.folder, sweep.data, top, seeds, overrides, trust=trust)
    console = PlainConsole(quiet=quiet, force_terminal=False if in_process else None)
    outcome = drive_until_decided(spec, sweep.folder.runs_dir, console, DriveOptions(in_process=in_process))
    assert outcome is not None
    make_outputs(outcome.folder)
    make_report(sweep.folder)
    return Sweep(outcome.folder)


def load(folder: str | Path, target: float | None = None) -> Sweep:
    """Return the sweep in ``folder`` (``runs/<sweep>``), finished or not.

    Args:
        folder: the sweep's folder.
        target: validation accuracy in percent to reach, in place of 95 % of the best.

    Raises:
        search_spaces.errors.SweepFolderError: no sweep lies there; the line lists those beside it.
    """
    path = Path(folder).absolute()
    return Sweep(SweepFolder.existing(path.parent, path.name), target)


def gradients(
    of: str | Path | Mapping[str, Any] | Sweep, *, run: str | None = None, seed: int | None = None,
    layer: str = "conv1.weight", batches: int = 100, beta: float = 0.9, **overrides: Any,
) -> Analysis:  # fmt: skip
    """Capture a layer's gradients over the first mini-batches of real training.

    Args:
        of: a space, a spec (every configuration of it), or a :class:`Sweep`, of which ``run`` names the run.
        run: a run's id, or the beginning of it.
        seed: the seed of a space's runs; the spec's first otherwise.
        layer: a parameter of the model, such as ``conv1.weight``.
        batches: mini-batches T ≥ 2, from the first one on.
        beta: β of the EWMA in the figures, in [0, 1).
        overrides: as in :func:`run`, and ``runs_dir``.

    Raises:
        search_spaces.errors.UserError: a layer, run or number that cannot be.

    Source: Kingma and Ba, *Adam* (2015); McCandlish et al., *An Empirical Model of Large-Batch Training* (2018).
    """
    if isinstance(of, Sweep) and run is None:
        raise SpecError("run", f"not given, and {of.name} has many", "give one; `runs` has their ids")
    subjects = _subjects(of, run, seed, overrides)
    files = captured.capture_gradients(subjects, layer=layer, batches=batches, beta=beta)
    return _analysis(subjects.folder, files)


def lr_range(
    of: str | Path | Mapping[str, Any] | Sweep, *, run: str | None = None, seed: int | None = None,
    lr_from: float = 1e-7, lr_to: float = 10.0, steps: int = 100, **overrides: Any,
) -> Analysis:  # fmt: skip
    """Run the learning-rate range test of every configuration (Smith, *Cyclical Learning Rates*, 2017).

    Args:
        of, run, seed, overrides: as in :func:`gradients`; all runs of a sweep where ``run`` is None.
        lr_from: the first step's rate.
        lr_to: the last step's rate.
        steps: mini-batches, each at a higher rate, at least 2.

    Raises:
        search_spaces.errors.UserError: ends or a number of steps that cannot be.
    """
    subjects = _subjects(of, run, seed, overrides)
    return _analysis(subjects.folder, captured.run_range_tests(subjects, lr_from=lr_from, lr_to=lr_to, steps=steps))


def trajectory(sweep: Sweep, *, runs: Sequence[str] = (), seed: int | None = None, grid: int = 21) -> Analysis:
    """Trace the path of the weights of runs of one seed over the loss surface of the validation split.

    Args:
        sweep: the sweep that trained them.
        runs: their ids, or beginnings of them; the sweep's best configurations where there are none.
        seed: the seed where ``runs`` are not named; the first otherwise.
        grid: points of the surface on each side.

    Raises:
        search_spaces.errors.UserError: runs of different seeds, or that diverged.

    Source: Li et al., *Visualizing the Loss Landscape of Neural Nets* (2018).
    """
    from sweep.analyses.trajectories import trace_trajectories

    return _analysis(sweep.folder, trace_trajectories(sweep.folder, runs, seed=seed, grid=grid))


def activations(sweep: Sweep, run: str, *, images: int = 8) -> Analysis:
    """Compute the output of every convolution, ReLU and pooling layer of a trained run for the first test images.

    Raises:
        search_spaces.errors.UserError: no such run, or one without a checkpoint.
    """
    return _analysis(sweep.folder, [captured.map_activations(sweep.folder, run, images=images)])


def _spec(spec: str | Path | Mapping[str, Any], overrides: Mapping[str, Any]) -> Spec:
    if isinstance(spec, Mapping):
        return spec_of(dict(spec), where="spec", name="sweep", overrides=overrides)
    return read_spec(str(spec), overrides)


def _subjects(
    of: str | Path | Mapping[str, Any] | Sweep, run: str | None, seed: int | None, overrides: dict[str, Any]
) -> Subjects:
    runs_dir = Path(overrides.pop("runs_dir", DEFAULT_RUNS_DIR))
    if isinstance(of, Sweep):
        for key in overrides:
            if key != "data":
                raise UnknownNameError("argument for a sweep", key, ["data", "run"])
        if seed is not None:
            raise SpecError("seed", f"{seed}, but a run of a sweep has its own", "say which run")
        return of_sweep(of.folder, run, overrides.get("data"))
    if run is not None:
        raise SpecError("run", f"{run} is a run of no sweep", "give the sweep itself, sweep.load(folder)")
    return of_space(_spec(of, overrides), {}, runs_dir, seed)


def _analysis(folder: SweepFolder, files: Sequence[Path]) -> Analysis:
    from results.reports.registry import analysis_tables

    found = load_analyses(folder.analyses).subset(files)
    return Analysis(tuple(files), _frames(analysis_tables(found)), found.figures(), tuple(found.sentences()))


def _frames(tables: Mapping[str, Table]) -> dict[str, pd.DataFrame]:
    frames = {}
    for name, table in tables.items():
        frames[name] = table.frame()
        frames[name].attrs = {"caption": table.caption, "notes": list(table.notes)}
    return frames
