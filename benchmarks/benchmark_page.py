"""The results in ``docs/benchmark.md``, from a published benchmark: ``python -m benchmarks.benchmark_page``.

The section between the two marks of the page, and both figures, are written again. Every number is computed from the
rows of the baseline, which are those of the ledger. `sweep baseline NAME FOLDER` writes a baseline.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from results.figures.registry import FIGURES, make_figures, write_figures
from results.ledger.arrays import SweepData
from results.ledger.benchmark import Benchmark
from results.metrics.intervals import Estimate
from results.reports.baseline import Baseline, published, read_baselines
from results.reports.lead import lint_lines
from results.reports.registry import report_tables
from results.reports.summary import answer
from results.tables.formats import as_markdown
from results.tables.numbers import estimate_text
from results.tables.table import Table
from results.tables.tuning import crossing_notes
from search_spaces.plain_text import counted

PAGE = Path(__file__).parents[1] / "docs" / "benchmark.md"
MARKS = ("<!-- begin of the results -->\n", "<!-- end of the results -->\n")
DEFAULT = "optimizers_tuned"
SHOWN = ("evaluation", "tuning_curves")
IN_TABLE = (
    "method", "chosen", "tuned", "untuned", "difference", "p_better", "p_holm", "verdict", "diverged_in_tuning",
    "run_epochs",
)  # fmt: skip
OF_OTHER_COLUMNS = ("Target:", "Seeds needed:", "Equal within")
"""Beginnings of the notes on columns that the page leaves out."""
NOTHING = "No benchmark is published yet.\n"


def results_section(baseline: Baseline) -> str:
    """Return the text between the marks: the setup, the verdict, the tables, and the links to both figures."""
    sweep = baseline.sweep
    benchmark, tables = sweep.benchmark, report_tables(sweep)
    assert benchmark is not None
    table = tables["benchmark"]
    small = replace(
        table,
        columns=[column for column in table.columns if column.key in IN_TABLE],
        notes=[note for note in table.notes if not note.startswith(OF_OTHER_COLUMNS)],
    )
    parts = [
        _setup(baseline, sweep, benchmark),
        "### Verdict",
        " ".join([*answer(sweep), *_untuned(table)]),
        "### Accuracy under new seeds",
        as_markdown(small).rstrip(),
        _link("evaluation"),
        "### Accuracy by points spent",
        _link("tuning_curves"),
        " ".join(crossing_notes(benchmark)),
        "### Sensitivity",
        as_markdown(tables["sensitivity"]).rstrip(),
        "### Lint",
        "\n".join(map(_lint_item, lint_lines(sweep))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _setup(baseline: Baseline, sweep: SweepData, benchmark: Benchmark) -> str:
    facts, design = baseline.facts, benchmark.design
    spent = max(sum(point.run_epochs for point in method.points) for method in benchmark.methods)
    whole = sum(
        sum(point.run_epochs for point in method.points)
        + benchmark.epochs * (len(method.run_ids) + (len(method.untuned.run_ids) if method.untuned else 0))
        for method in benchmark.methods
    )
    versions = ", ".join(f"{name} {version}" for name, version in sorted(facts["versions"][-1].items()))
    sessions = facts["sessions"]
    machine = f" {sessions[-1]['cpus']} CPU cores, {sessions[-1]['platform']}." if sessions else ""
    extra = benchmark.points - design["budget"]
    widened = f", and {extra} after a range was widened" if extra else ""
    return (
        f"The benchmark `{baseline.name}`: {counted(len(benchmark.methods), 'method')} on {sweep.data_label}. "
        f"Tuning: {counted(benchmark.points, 'point')} per method ({design['budget']} from the sampler "
        f"`{design['sampler']}`{widened}) × {facts['tuning_epochs']} epochs, "
        f"{spent:,} run-epochs per method. Evaluation: {counted(len(benchmark.methods[0].run_ids), 'new seed')} × "
        f"{benchmark.epochs} epochs, tuned and untuned. In all {whole:,} run-epochs, in "
        f"{counted(max(1, len(sessions)), 'session')}.{machine} {versions}. The rows are in "
        f"`results/baselines/{baseline.name}/`."
    )


def _untuned(table: Table) -> list[str]:
    """Return the sentence that compares the order of the methods before and after the tuning."""
    means = {str(row.values["method"]): row.values.get("untuned") for row in table.rows}
    known = {name: mean for name, mean in means.items() if isinstance(mean, Estimate)}
    if len(known) < 2:
        return []
    ranked = sorted(known, key=lambda name: -known[name].value)
    return [
        f"With the class defaults, {ranked[0]} has the highest accuracy ({estimate_text(known[ranked[0]], 2)} %), and "
        f"the order is {', '.join(ranked)}."
    ]


def _lint_item(line: str) -> str:
    code, _, rest = line.partition(" ")
    return f"- [{code}](lint.md#{code.lower()}) {rest.rpartition(' See ')[0]}"


def _link(name: str) -> str:
    return f"![{FIGURES[name].caption}](figures/benchmark_{name}.png)\n\n*{FIGURES[name].caption}*"


def write_page(baseline: Baseline, page: Path) -> list[Path]:
    """Write the section between the marks of ``page``, and both figures beside it; return the files."""
    before, mark, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not mark or not end:
        raise SystemExit(f"{page}: has no lines {MARKS[0].strip()} and {MARKS[1].strip()}")
    page.write_text(f"{before}{MARKS[0]}{results_section(baseline)}{MARKS[1]}{after}", encoding="utf-8")
    figures = {f"benchmark_{name}": figure for name, figure in make_figures(baseline.sweep, only=SHOWN).items()}
    return [page, *write_figures(figures, page.parent / "figures", ["png"])]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("baseline", nargs="?", default=DEFAULT, help="name of a published benchmark, or a folder")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page; its figures are in figures/ beside it")
    asked = parser.parse_args(arguments)
    for path in write_page(read_baselines(asked.baseline)[0], asked.page):
        print(path)


def section_of(page: Path) -> str:
    """Return what is between the marks of the page."""
    return page.read_text(encoding="utf-8").partition(MARKS[0])[2].partition(MARKS[1])[0]


def expected_section() -> str:
    """Return what the page must contain: the published benchmark, or that there is none."""
    return results_section(read_baselines(DEFAULT)[0]) if DEFAULT in published() else NOTHING


if __name__ == "__main__":
    main()
