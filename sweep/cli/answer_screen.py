"""The screen that `sweep run` ends with and that `sweep show NAME` prints: a ranked table, a sentence, a next step."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.ledger.arrays import SweepData
from results.metrics.intervals import Estimate
from results.reports.lead import lint_lines
from results.reports.ranking import BEST, REFERENCE, SHORT, RankedConfiguration, Ranking
from results.tables.comparison import SPLIT_NAMES
from results.tables.fairness import WARNING, fairness_table
from results.tables.lint_codes import LINT_PAGE
from results.tables.numbers import estimate_text
from search_spaces.plain_text import counted
from sweep.cli.next_step import NextStep
from sweep.cli.options import near
from sweep.folder.paths import SweepFolder
from sweep.folder.status import STATES

MOST_ROWS = 10
WIDTH = 80
"""Most columns of a terminal that the table takes."""
DECIMALS = 2


class EstimateRecord(BaseModel):
    """A mean with its 95 % interval; the bounds are null where there is none."""

    value: float
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, estimate: Estimate | None) -> EstimateRecord | None:
        """Return the record; None without a value."""
        if estimate is None or estimate.value != estimate.value:
            return None
        bounds = [bound if abs(bound) < float("inf") else None for bound in (estimate.low, estimate.high)]
        return cls(value=estimate.value, low=bounds[0], high=bounds[1], n=estimate.n)


class ConfigurationRecord(BaseModel):
    """A row of the table. Accuracies are in percent, the difference is in pp."""

    rank: int
    configuration: str
    configuration_id: str
    validation: EstimateRecord | None
    test: EstimateRecord | None
    difference: EstimateRecord | None
    verdict: str


class NextRecord(BaseModel):
    """The next command, and its expected time in seconds."""

    command: str
    seconds: float | None


class SweepSummary(BaseModel):
    """The one object that `--json` prints."""

    version: Literal[1] = 1
    name: str
    folder: str
    data: str
    synthetic: bool
    epochs: int
    runs: dict[str, int]  # by state, and `total`
    compared_with: str | None  # label of the configuration that the differences are from
    split: str | None  # of the differences: `validation` or `test`
    configurations: list[ConfigurationRecord]
    sentence: str
    next: NextRecord
    tables: str
    report: str


def summary(folder: SweepFolder, ranking: Ranking, then: NextStep) -> SweepSummary:
    """Return the answer for a program."""
    sweep, compared = ranking.sweep, ranking.compared
    statuses = [status for group in sweep.configurations for status in group.statuses]
    return SweepSummary(
        name=folder.name, folder=str(folder.path), data=sweep.data_name, synthetic=sweep.synthetic,
        epochs=sweep.epochs, runs={"total": len(statuses), **{state: statuses.count(state) for state in STATES}},
        compared_with=compared.best.label if compared else None,
        split=SPLIT_NAMES[compared.split] if compared else None,
        configurations=[
            ConfigurationRecord(
                rank=row.rank, configuration=row.group.label, configuration_id=row.group.configuration_id,
                validation=EstimateRecord.of(row.validation), test=EstimateRecord.of(row.test),
                difference=EstimateRecord.of(row.difference), verdict=row.verdict,
            )
            for row in ranking.rows
        ],
        sentence=ranking.sentence(), next=NextRecord(command=then.command, seconds=then.seconds),
        tables=str(folder.tables), report=str(folder.report),
    )  # fmt: skip


def print_answer(console: Console, folder: SweepFolder, ranking: Ranking, then: NextStep) -> None:
    """Print the answer for a reader."""
    if ranking.rows:
        print_table(console, _table(ranking))
        for line in _notes(ranking):
            _print(console, line)
        _print(console, "")
    _print(console, ranking.sentence())
    for line in _lint(ranking.sweep):
        _print(console, line)
    if folder.report.exists():
        _print(console, f"tables: {near(folder.tables)}  report: {near(folder.report)}")
    _print(console, f"Next: {then}")


def _lint(sweep: SweepData) -> list[str]:
    """Return the findings of the lint: those of a benchmark in a line each, those of another sweep as their codes."""
    if sweep.benchmark is not None:
        return [f"lint {line}" for line in lint_lines(sweep)]
    codes = [str(row.values["code"]) for row in fairness_table(sweep).rows if row.values["finding"] == WARNING]
    return [f"Fairness lint: {', '.join(codes)} ({LINT_PAGE})"] if codes else []


def print_table(console: Console, table: Table) -> None:
    """Print a table of at most :data:`WIDTH` columns, without spaces at the ends of its lines."""
    with console.capture() as text:
        console.print(table, width=min(WIDTH, console.width))
    console.file.write("".join(f"{line.rstrip()}\n" for line in text.get().splitlines()))


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _table(ranking: Ranking) -> Table:
    sweep, compared = ranking.sweep, ranking.compared
    seeds = len(sweep.common_seeds)
    about = f"{counted(sweep.epochs, 'epoch')}, {counted(seeds, 'seed')}"
    table = Table(
        title=Text(f"{sweep.name}: {sweep.data_label}, {about}"), title_justify="left", title_style="bold",
        box=None, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_column("#", justify="right")
    table.add_column("Configuration", overflow="fold", ratio=1)
    table.add_column("Validation\nacc. (%)", justify="right")
    table.add_column("Test\nacc. (%)", justify="right")
    if compared is not None:
        table.add_column(f"To the {REFERENCE if compared.named_before else BEST}\n(pp)", justify="right")
        table.add_column("Verdict", overflow="fold", max_width=9)
    for row in ranking.rows[:MOST_ROWS]:
        cells = [str(row.rank), row.group.label, _cell(row.validation), _cell(row.test)]
        if compared is not None:
            cells += [_difference(row), SHORT.get(row.verdict, row.verdict)]
        table.add_row(*map(Text, cells))
    return table


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    if estimate.n_at_chance:
        return f"{estimate.n - estimate.n_at_chance} of {estimate.n}\ntrained"
    return _short(estimate_text(estimate, DECIMALS))


def _short(text: str | None) -> str:
    """Return an estimate without the words in brackets, such as `both runs equal`."""
    return (text or "–").partition(" (")[0]


def _difference(row: RankedConfiguration) -> str:
    if row.difference is None:
        return "–"
    text = _short(estimate_text(row.difference, DECIMALS, of="pairs"))
    return f"+{text}" if row.difference.value > 0 and not text.startswith("-") else text


def _notes(ranking: Ranking) -> list[str]:
    notes = []
    if len(ranking.rows) > MOST_ROWS:
        notes.append(f"{len(ranking.rows) - MOST_ROWS} more configurations are in the tables.")
    notes += ranking.notes(ranking.rows[:MOST_ROWS])
    if ranking.sweep.synthetic:
        notes.append("The data is synthetic, not CIFAR-100.")
    return notes
