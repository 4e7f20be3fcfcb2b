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
from results.reports.baseline import Baseline, published, read_baselines
from results.reports.lead import lint_lines
from results.reports.registry import report_tables
from results.reports.summary import answer
from results.tables.benchmark import crossing_notes
from results.tables.formats import as_markdown
from results.tables.numbers import estimate_text
from results.tables.table import Table
from search_spaces.plain_text import counted

PAGE = Path(__file__).parents[1] / "docs" / "benchmark.md"
MARKS = ("<!-- begin of the results -->\n", "<!-- end of the results -->\n")
DEFAULT = "optimizers_tuned"
SHOWN = ("evaluation", "tuning_curves")
IN_TABLE = (
    "method", "chosen", "tuned", "untuned", "difference", "p_better", "p_holm", "verdict", "diverged_in_tuning",
    "run_epochs",
)  # fmt: skip
NOTHING = "No benchmark is published yet.\n"


def results_section(baseline: Baseline) -> str:
    """Return the text between the marks: the setup, the verdict, the tables, and the links to both figures."""
    sweep = baseline.sweep
    benchmark, tables = sweep.benchmark, report_tables(sweep)
    assert benchmark is not None
    table = tables["benchmark"]
    small = replace(table, columns=[column for column in table.columns if column.key in IN_TABLE])
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
        "\n".join(f"- {line.replace('docs/lint.md', 'lint.md')}" for line in lint_lines(sweep)),
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
    return (
        f"The benchmark `{baseline.name}`: {counted(len(benchmark.methods), 'method')} on {sweep.data_label}. "
        f"Tuning: {counted(benchmark.points, 'point')} per method ({design['budget']} from the sampler "
        f"`{design['sampler']}`, the others after a range was widened) × {facts['tuning_epochs']} epochs, "
        f"{spent:,} run-epochs per method. Evaluation: {counted(len(benchmark.methods[0].run_ids), 'new seed')} × "
        f"{benchmark.epochs} epochs, tuned and untuned. In all {whole:,} run-epochs, in "
        f"{counted(max(1, len(sessions)), 'session')}.{machine} {versions}. The rows are in "
        f"`results/baselines/{baseline.name}/`."
    )


def _untuned(table: Table) -> list[str]:
    """Return the sentence that compares the order of the methods before and after the tuning."""
    rows = [row.values for row in table.rows if row.values.get("untuned") is not None]
    if len(rows) < 2:
        return []
    ranked = sorted(rows, key=lambda values: -float(getattr(values["untuned"], "value", 0.0)))
    first = ranked[0]
    return [
        f"With the class defaults, {first['method']} has the highest accuracy ({estimate_text(first['untuned'], 2)} %), "  # type: ignore[arg-type]
        f"and the order is {', '.join(str(values['method']) for values in ranked)}."
    ]


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
