"""`sweep show NAME RUN`: one run with its configuration, its curve as text, and the places of its files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.ledger.frames import epochs_frame, runs_frame
from results.ledger.ledger import Ledger
from results.ledger.queries import begun_pack_of, find_run, run_names
from search_spaces.configuration import Configuration
from sweep.cli.answer_screen import print_table
from sweep.cli.line_chart import line_chart
from sweep.cli.options import near
from sweep.folder.paths import SweepFolder

CHART_WIDTH, CHART_HEIGHT = 78, 12


class RunRecord(BaseModel):
    """One run, as `sweep show NAME RUN --json` prints it. Accuracies are in percent, per epoch from 1."""

    run_id: str
    name: str
    configuration: dict[str, Any]
    seed: int
    status: str
    epochs: int
    target_epochs: int
    final_val_acc: float | None
    best_val_acc: float | None
    test_acc: float | None
    error: str | None
    val_acc: list[float | None]
    files: dict[str, str]


def run_record(folder: SweepFolder, run: str) -> RunRecord:
    """Return the record of ``run``, a run id or the beginning of one.

    Raises:
        UnknownNameError: no run or several runs match.
    """
    with Ledger.open_read_only(folder.ledger) as ledger:
        run_id = find_run(ledger, run)
        frame, names, pack = runs_frame(ledger), run_names(ledger), begun_pack_of(ledger, run_id)
        epochs = epochs_frame(ledger)
        text = ledger.rows("SELECT configuration FROM runs WHERE run_id = :run", {"run": run_id})[0][0]
    found = frame[frame["run_id"] == run_id]
    row = {} if found.empty else {key: _none(value) for key, value in found.iloc[0].items()}
    curve = epochs[epochs["run_id"] == run_id].sort_values("epoch")["val_acc"]
    files = {"ledger": folder.ledger}
    if pack is not None:
        files |= {"log": folder.pack_log(pack), "checkpoints": folder.pack_checkpoints(pack)}
    return RunRecord(
        run_id=run_id, name=names[run_id], configuration=Configuration.from_dict(json.loads(text)).columns(),
        seed=row.get("seed", -1), status=row.get("status", "not planned"), epochs=row.get("epochs", 0),
        target_epochs=row.get("target_epochs", 0), final_val_acc=row.get("final_val_acc"),
        best_val_acc=row.get("best_val_acc"), test_acc=row.get("test_acc"), error=row.get("error"),
        val_acc=[_none(value) for value in curve],
        files={kind: str(path) for kind, path in files.items() if path.exists()},
    )  # fmt: skip


def print_run(console: Console, folder: SweepFolder, record: RunRecord) -> None:
    """Print the run for a reader."""
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0), title_justify="left")
    facts.title = Text(f"{folder.name}: {record.name}")
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("run", Text(record.run_id))
    facts.add_row("status", Text(f"{record.status}, {record.epochs} of {record.target_epochs} epochs"))
    for key, value in record.configuration.items():
        facts.add_row(Text(key), Text(str(value)))
    for label, accuracy in (("final validation", record.final_val_acc), ("test", record.test_acc)):
        if accuracy is not None:
            facts.add_row(Text(label), Text(f"{accuracy:.2f} %"))
    if record.error:
        facts.add_row("error", Text(record.error))
    print_table(console, facts)
    measured = [value for value in record.val_acc if value is not None]
    if measured:
        console.print()
        chart = line_chart(
            record.val_acc, min(CHART_WIDTH, console.width - 1), CHART_HEIGHT, ascii_only=not _shows_blocks()
        )
        for line in ["validation accuracy (%) by epoch", *chart, ""]:
            console.print(line, highlight=False, markup=False, no_wrap=True)

    for kind, path in record.files.items():
        console.print(f"{kind}: {near(Path(path))}", highlight=False, markup=False, soft_wrap=True)


def _shows_blocks() -> bool:
    """Whether the encoding of standard output has the characters of a chart."""
    try:
        "┤─•└".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _none(value: Any) -> Any:
    import pandas as pd

    if value is None or pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value
