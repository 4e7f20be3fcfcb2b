"""Tables, figures and the report of a sweep's folder: all derived, and made again at any time."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from results.answer import answer, question
from results.aside import replacing
from results.export import export
from results.figures import FIGURES, save_figures
from results.report import ReportFigure, report_html
from results.sweep_data import load_sweep
from results.tables import make_tables
from results.writers import TABLE_WRITERS
from search_spaces.errors import SweepFolderError
from sweep.folder import SweepFolder, resume_command


def make_report(folder: SweepFolder, target: float | None = None) -> Path:
    """Write the figures and ``report.html``; return the page.

    Args:
        folder: a sweep that was begun; one that still runs gives a page that says it is partial.
        target: validation accuracy in percent to reach, in place of the default.

    Raises:
        LedgerError: a ledger that cannot be read.
        SweepFolderError: a folder that cannot be written.
    """
    sweep = load_sweep(folder.ledger, folder.name, target)
    tables = make_tables(sweep)
    figures = {
        path.stem: ReportFigure(path.stem, FIGURES[path.stem].caption, path.read_text(encoding="utf-8"))
        for path in save_figures(sweep, folder.figures, tables=tables)
        if path.suffix == ".svg"
    }
    page = report_html(
        sweep, tables, figures,
        question=question(sweep), answer=answer(sweep), provenance=_sessions(folder),
        commands=[*_commands(folder), resume_command(folder.name, folder.runs_dir)],
        spec_text=folder.spec.read_text(encoding="utf-8") if folder.spec.exists() else "",
    )  # fmt: skip
    try:
        with replacing(folder.report) as aside:
            aside.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SweepFolderError(f"{folder.report}: cannot be written ({error.strerror})") from error
    return folder.report


def make_outputs(folder: SweepFolder) -> Path:
    """Write what a sweep ends with: the tables as CSV and Markdown, the figures and the page; return the page.

    A format that was exported there before is written anew, too: no file of an older state stays beside the new ones.
    """
    before = {path.suffix.removeprefix(".") for path in folder.tables.glob("consolidated.*")}
    export(folder.ledger, folder.tables, ["csv", "md", *sorted(before & set(TABLE_WRITERS) - {"csv", "md"})])
    return make_report(folder)


def _sessions(folder: SweepFolder) -> list[dict[str, Any]]:
    try:
        found = json.loads(folder.provenance.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []  # the numbers are the ledger's; where they come from is then not known
    return [session for session in found if isinstance(session, dict)] if isinstance(found, list) else []


def _commands(folder: SweepFolder) -> list[str]:
    """The command that began the sweep, as it was typed, where it is known."""
    words = [session.get("command") for session in _sessions(folder)]
    typed = [shlex.join(map(str, command)) for command in words if isinstance(command, list) and command]
    return list(dict.fromkeys(command for command in typed if " run " in command))
