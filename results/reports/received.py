"""Methods of published benchmarks beside those of a benchmark: kept in its folder, shown in its tables and figures.

`sweep benchmark … --against` writes the files of each baseline to ``against/`` in the folder of the sweep, so that its
tables and figures can be made again without the place that the baseline was read from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from results.ledger.arrays import SweepData, load_sweep
from results.ledger.benchmark import Benchmark, Method
from results.ledger.ledger import Ledger
from results.reports.baseline import Baseline, check_comparable, read_folder, write_files
from search_spaces.errors import SpecError

PLACE = "against"


def keep_received(baselines: Iterable[Baseline], folder: Path) -> None:
    """Write the files of baselines to the folder of a sweep.

    Raises:
        SweepFolderError: the folder cannot be written.
    """
    for baseline in baselines:
        write_files(baseline, folder / PLACE / baseline.name)


def load_with_received(ledger_path: Path, name: str = "", target: float | None = None) -> SweepData:
    """Read a sweep's ledger, with the methods of the baselines in its folder.

    Raises:
        LedgerError: the ledger cannot be read.
        SweepFolderError: a baseline cannot be read.
    """
    sweep = load_sweep(ledger_path, name, target)
    folders = sorted(path for path in (ledger_path.parent / PLACE).glob("*") if path.is_dir())
    if sweep.benchmark is None or not folders:
        return sweep
    with Ledger.open_read_only(ledger_path) as ledger:
        (version,), *_ = ledger.rows("SELECT DISTINCT training_version FROM runs WHERE planned", {})
    return with_received(sweep, [read_folder(path) for path in folders], int(version))


def with_received(sweep: SweepData, baselines: Iterable[Baseline], version: int) -> SweepData:
    """Return the sweep with the methods of comparable baselines; a note names each other one, with both values.

    Args:
        sweep: a benchmark.
        baselines: published benchmarks.
        version: the training version of the sweep.
    """
    benchmark = sweep.benchmark
    if benchmark is None:
        return sweep
    protocol = {key: value for key, value in sweep.protocol.items() if key != "data"}
    received: list[Method] = []
    spaces, notes = dict(benchmark.spaces), []
    for baseline in baselines:
        try:
            check_comparable(baseline, protocol, sweep.protocol["data"], benchmark.epochs, version)
        except SpecError as error:
            notes.append(f"The baseline {baseline.name} is not shown: {error}.")
            continue
        theirs = baseline.sweep.benchmark
        assert theirs is not None
        for method in theirs.methods:
            name = f"{method.name} ({baseline.name})"
            received.append(replace(method, name=name, origin=baseline.name))
            spaces[name] = theirs.spaces.get(method.name, {})
        notes.append(_note(benchmark, baseline, theirs))
    found = replace(benchmark, received=tuple(received), spaces=spaces, notes=tuple(notes))
    return replace(sweep, benchmark=found)


def _note(benchmark: Benchmark, baseline: Baseline, theirs: Benchmark) -> str:
    """Return where the methods come from, with both budgets where they differ."""
    spent = [
        max((sum(point.run_epochs for point in method.points) for method in one.methods), default=0)
        for one in (benchmark, theirs)
    ]
    text = (
        f"Received from the published benchmark {baseline.name}, not trained here, and not part of the verdict: the "
        "methods with its name in parentheses."
    )
    if spent[0] != spent[1]:
        text += f" They were tuned with {spent[1]:,} run-epochs each, the methods of this benchmark with {spent[0]:,}."
    return text
