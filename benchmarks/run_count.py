"""Cost per run by the number of runs and the pack size: the second part of ``benchmarks.growth``.

Every sweep is one of :mod:`benchmarks.overhead`: one epoch per run on tiny synthetic data, each in a separate process.
Through Ray it trains LeNet-5 in two slots of one CPU; in the process of the command it trains a linear model, so that
what a run costs beside its training is left. Its wall time has three parts: start-up (Ray, its workers, their
imports), the time from the start of the first trial to the end of the last one, and the tables, figures and report.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator

from benchmarks.overhead import SLOTS, apart, tell
from results.figures.label_layout import legend_below, write_notes
from results.figures.style import GREY, LINESTYLES, MARKERS, PALETTE, SINGLE_COLUMN, drawing_style
from results.tables.table import Column, Row, Table
from search_spaces.atomic_write import atomic_write

RUNS = (10, 30, 100, 300, 1000)
PACKS = (1, 4, 8)

Sweep = Mapping[str, float]
"""What one sweep took: see :func:`benchmarks.overhead.measure_sweep`; and its ``pack``."""


def measure_sweeps(
    runs: Sequence[int], packs: Sequence[int], kept: Path | None = None, in_process: bool = False
) -> list[Sweep]:
    """Measure a sweep for each number of ``runs`` and each of ``packs``, and return all that ``kept`` has then.

    The file ``kept`` is written after every sweep, and what it has is not measured again.
    """
    found: list[Sweep] = json.loads(kept.read_text(encoding="utf-8")) if kept and kept.exists() else []
    if other := [sweep for sweep in found if sweep.get("in_process") != in_process]:
        raise SystemExit(f"{kept}: has {len(other)} sweeps that were measured in another way; give another --json FILE")
    there = {(sweep["asked"], sweep["pack"]) for sweep in found}
    for count, pack in _in_order(runs, packs):
        if (count, pack) in there:
            continue
        found.append(
            {"asked": count, "pack": pack, "in_process": in_process, **apart("sweep", count, pack, int(in_process))}
        )
        tell(f"{count} runs in packs of {pack}: {found[-1]['wall']:.1f} s")
        if kept:
            with atomic_write(kept) as unfinished:
                unfinished.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return sorted(found, key=lambda sweep: (sweep["pack"], sweep["runs"]))


def _in_order(runs: Sequence[int], packs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the packs in turn for each number of runs: what else the machine does falls on all of them."""
    for count in runs:
        for pack in packs:
            yield count, pack


def tabulate_sweeps(sweeps: Sequence[Sweep]) -> Table:
    """Return the seconds of a run in each sweep: in total, and from the first start to the last end of a trial.

    The last column is relative to the smallest sweep with the same pack size.
    """
    first = {sweep["pack"]: sweep for sweep in reversed(sweeps)}
    rows = [
        Row(
            {
                "pack": sweep["pack"], "runs": sweep["runs"], "trials": sweep["trials"],
                "all": sweep["wall"] / sweep["runs"], "trained": sweep["span"] / sweep["runs"],
                "start_up": sweep["start_up"], "outputs": sweep["outputs"],
                "cpu": 1000 * sweep["cpu"] / sweep["runs"], "memory": sweep["rss_peak"], "ledger": sweep["ledger"],
                "share": sweep["wall"] / sweep["runs"] / (first[sweep["pack"]]["wall"] / first[sweep["pack"]]["runs"]),
            }
        )
        for sweep in sweeps
    ]  # fmt: skip
    columns = [
        Column("pack", "Maximum pack size"), Column("runs", "Runs"), Column("trials", "Packs"),
        Column("all", "One run", "s", 3), Column("trained", "Trials alone", "s", 3),
        Column("start_up", "Start-up", "s", 1), Column("outputs", "Tables, figures, report", "s", 1),
        Column("cpu", "CPU time of the command per run", "ms", 1),
        Column("memory", "Its peak memory before the outputs", "MiB", 0), Column("ledger", "Ledger", "MiB", 2),
        Column("share", "Relative to a run of the smallest sweep"),
    ]  # fmt: skip
    in_process = any(sweep["in_process"] for sweep in sweeps)  # all or none: see measure_sweeps
    trained_in = "a linear model, in the process of the command" if in_process else f"{SLOTS} slots of one CPU"
    notes = [
        f"One epoch per run on tiny synthetic data; the numbers do not apply to CIFAR-100; {trained_in}.",
        "One run: time of the command divided by the number of runs. Trials alone: from the start of the first trial "
        "to the end of the last, without start-up, tables, figures and report, which are made in one process.",
    ]
    return Table("run_count", "Cost per run by the number of runs", columns, rows, notes, "synthetic")


def draw_sweeps(table: Table) -> Figure:
    """Draw the seconds of a run over the number of runs, on logarithmic axes: in total, and trials alone."""
    packs = sorted({number(row, "pack") for row in table.rows})
    with drawing_style():
        figure = Figure(figsize=(SINGLE_COLUMN, 2.4), layout="constrained")
        write_notes(figure, table.notes)
        axes = figure.add_subplot()
        lines = []
        for i, pack in enumerate(packs):
            rows = [row for row in table.rows if row.values["pack"] == pack]
            runs, whole, trained = ([number(row, key) for row in rows] for key in ("runs", "all", "trained"))
            name = f"packs of {pack:g}" if pack > 1 else "one by one"
            lines += axes.plot(runs, whole, color=PALETTE[i], marker=MARKERS[i], label=name)
            axes.plot(runs, trained, color=PALETTE[i], marker=MARKERS[i], markersize=2.5, linestyle=LINESTYLES[1])
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = sorted({number(row, "runs") for row in table.rows})
        axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
        axes.minorticks_off()
        axes.set(xlabel="Runs in the sweep", ylabel="A run (s)")
        lines.append(Line2D([], [], color=GREY, linestyle=LINESTYLES[1]))
        legend_below(axes, lines, [*(str(line.get_label()) for line in lines[:-1]), "trials alone"])
    return figure


def number(row: Row, key: str) -> float:
    """Return a cell's number."""
    return float(str(row.values[key]))
