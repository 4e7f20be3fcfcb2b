"""Tables, figures and the report of a sweep's folder: all derived, and made again at any time."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from results.analyses.captures import Analyses, is_analysis_output, load_analyses
from results.analyses.gradients import ewma_meaning
from results.figures.registry import FIGURES, FORMATS, DrawEach, draw_here, make_figures, save_figures, write_figures
from results.ledger.arrays import SweepData, load_sweep
from results.reports.export import write_results, write_tables
from results.reports.lead import OF_SWEEP, Lead, benchmark_lead, confirmation_lead, sweep_lead
from results.reports.received import load_with_received
from results.reports.registry import analysis_tables, report_tables
from results.reports.report import ReportFigure, ReportTexts, report_html
from results.reports.study.article import ArticleFigure, article_html, article_markdown
from results.reports.study.figures import STUDY_FIGURES, study_figures
from results.reports.summary import answer, question
from results.tables.formats import TABLE_WRITERS
from results.tables.table import Table
from search_spaces.errors import SweepFolderError
from sweep.folder.paths import SweepFolder, resume_command, write_atomically


def make_report(folder: SweepFolder, target: float | None = None) -> Path:
    """Write the figures and ``report.html``; return the page.

    Args:
        folder: the sweep; the page of a running sweep is marked as partial.
        target: validation accuracy in percent to reach, in place of the default.

    Raises:
        LedgerError: a ledger or an analysis that cannot be read.
        SweepFolderError: a folder that cannot be written.
    """
    sweep = load_with_received(folder.ledger, folder.name, target)
    return _report(folder, sweep, report_tables(sweep))


def _report(folder: SweepFolder, sweep: SweepData, tables: Mapping[str, Table], draw: DrawEach = draw_here) -> Path:
    """Write the figures and the page of a sweep whose tables are already made; return the page."""
    drawn = {path.stem for path in save_figures(sweep, folder.figures, tables=tables, draw=draw)}
    analyses = _analysis_figures(folder)
    lead, confirmed = report_lead(folder, sweep, tables)
    # Older files of the folder are not shown: an image can contain a script, which the page would run.
    captions = {name: spec.caption for name, spec in FIGURES.items() if name in drawn} | analyses.captions() | confirmed
    figures = {
        name: ReportFigure(name, caption, _svg(folder, name))
        for name, caption in captions.items()
        if (folder.figures / f"{name}.svg").exists()
    }
    page = report_html(
        sweep, {**tables, **analysis_tables(analyses)}, figures,
        ReportTexts(
            question(sweep), answer(sweep) if lead.of_another_sweep else [],
            _sessions(folder), [*_commands(folder), resume_command(folder.name, folder.runs_dir)],
            folder.spec.read_text(encoding="utf-8", errors="replace") if folder.spec.exists() else "",
            lead,
        ),
    )  # fmt: skip
    return _written(folder.report, page)


def make_outputs(folder: SweepFolder, draw: DrawEach | None = None) -> Path:
    """Write what a sweep ends with: the tables as CSV and Markdown, the figures and the page; return the page.

    A format that was exported before is written again, so that all files have the same state. ``draw`` decides which
    process draws which figure (:mod:`results.figures.second_process`); None: this one draws all.
    """
    of_analyses = analysis_tables(load_analyses(folder.analyses))
    _drop_old(folder.tables, of_analyses, TABLE_WRITERS)
    sweep = load_with_received(folder.ledger, folder.name)
    tables = report_tables(sweep)
    write_results(folder.ledger, {**tables, **of_analyses}, folder.tables, _formats(folder))
    return _report(folder, sweep, tables, draw or draw_here)


def make_analysis_outputs(folder: SweepFolder) -> Analyses:
    """Write tables and figures of all that the folder's analyses captured; return it.

    Raises:
        LedgerError: an analysis that cannot be read.
        SweepFolderError: a folder that cannot be written.
    """
    analyses = _analysis_figures(folder)
    tables = analysis_tables(analyses)
    _drop_old(folder.tables, tables, TABLE_WRITERS)
    write_tables(tables, folder.tables, _formats(folder))
    return analyses


def make_article(folder: SweepFolder, own: Mapping[Path, str]) -> Path:
    """Write ``article.md``, ``article.html`` and their figures (``figures/article/``); return the page.

    Args:
        folder: a sweep of the space ``study``.
        own: the files of the study's own analyses; to each trajectory's, what the article calls its figure. What else
            was captured in this folder has no place in the article.

    Raises:
        LedgerError: a ledger or an analysis that cannot be read.
        SweepFolderError: a folder that cannot be written.
    """
    sweep = load_sweep(folder.ledger, folder.name)
    analyses = load_analyses(folder.analyses).subset(own)
    names = {name: own[path] for path, name in analyses.trajectory_names().items()}
    drawn = {**study_figures(sweep), **{names.get(name, name): one for name, one in analyses.figures().items()}}
    captions = {name: spec.caption for name, spec in STUDY_FIGURES.items()}
    captions |= {names.get(name, name): caption for name, caption in analyses.captions().items()}
    write_figures(drawn, folder.article_figures)
    place = folder.article_figures.relative_to(folder.path)
    figures = {
        name: ArticleFigure(
            name, captions[name], (folder.article_figures / f"{name}.svg").read_text(encoding="utf-8"),
            f"{place}/{name}.png",
        )
        for name in drawn
    }  # fmt: skip
    sentences = {"answer": " ".join(answer(sweep))}
    for capture in analyses.gradients.values():
        sentences["ewma_meaning"] = ewma_meaning(capture, capture.about["beta"])
    sessions = _sessions(folder)
    text = article_markdown(
        sweep, {**report_tables(sweep), **analysis_tables(analyses)}, figures, sentences=sentences,
        commands=_commands(folder), versions=sessions[-1].get("versions", {}) if sessions else {},
    )  # fmt: skip
    _written(folder.article, text)
    return _written(folder.article_page, article_html(text, figures, f"{folder.name}: the article"))


COMMANDS = ("run", "study", "benchmark")
"""The commands that a report shows for repeating the sweep."""

CONFIRMATION_FIGURE = "confirmation"
"""The figure ``evaluation`` of a confirmation, in the folder of the sweep that it confirms."""


def report_lead(
    folder: SweepFolder, sweep: SweepData, tables: Mapping[str, Table]
) -> tuple[Lead, dict[str, str]]:  # fmt: skip
    """Return what the report shows first, and the caption of the figure that is drawn for it, by name.

    A benchmark and a confirmation show their own verdict. A sweep with a confirmation shows that of the confirmation.
    """
    found = folder.confirmation
    if sweep.benchmark is not None or found is None:
        own = benchmark_lead(sweep, tables) if sweep.benchmark is not None else confirmation_lead(sweep, tables)
        return own or sweep_lead(sweep), {}
    confirmed = load_sweep(found.ledger, found.name) if found.ledger.exists() else None
    lead = confirmation_lead(confirmed, report_tables(confirmed)) if confirmed is not None else None
    if confirmed is None or lead is None:
        return sweep_lead(sweep), {}
    drawn = make_figures(confirmed, only=(*lead.figures, *OF_SWEEP))
    first = lead.shown(drawn)[:1]
    lead = replace(lead, of_another_sweep=True)
    if not first:
        return lead, {}
    write_figures({CONFIRMATION_FIGURE: drawn[first[0]]}, folder.figures)
    return replace(lead, figures=(CONFIRMATION_FIGURE,)), {CONFIRMATION_FIGURE: FIGURES[first[0]].caption}


def _analysis_figures(folder: SweepFolder) -> Analyses:
    """Draw the figures of the folder's analyses; figures under an older name are removed."""
    analyses = load_analyses(folder.analyses)
    figures = analyses.figures()
    _drop_old(folder.figures, figures, FORMATS)
    if figures:
        write_figures(figures, folder.figures)
    return analyses


def _drop_old(folder: Path, names: Collection[str], formats: Collection[str]) -> None:
    """Remove the tables and figures of an analysis under an older name."""
    for path in folder.glob("*.*"):
        ours = path.suffix.removeprefix(".") in formats and is_analysis_output(path.stem)
        if ours and path.stem not in names:
            path.unlink(missing_ok=True)


def _formats(folder: SweepFolder) -> list[str]:
    before = {path.suffix.removeprefix(".") for path in folder.tables.glob("consolidated.*")}
    return ["csv", "md", *sorted(before & set(TABLE_WRITERS) - {"csv", "md"})]


def _svg(folder: SweepFolder, name: str) -> str:
    return (folder.figures / f"{name}.svg").read_text(encoding="utf-8")


def _written(path: Path, text: str) -> Path:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise SweepFolderError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def _sessions(folder: SweepFolder) -> list[dict[str, Any]]:
    try:
        found = json.loads(folder.provenance.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []  # the numbers come from the ledger; only their origin is unknown
    return [session for session in found if isinstance(session, dict)] if isinstance(found, list) else []


def _commands(folder: SweepFolder) -> list[str]:
    """The commands that started or resumed the sweep, as they were typed, if they are known."""
    words = [session.get("command") for session in _sessions(folder)]
    typed = [[str(word) for word in command] for command in words if isinstance(command, list)]
    return list(
        dict.fromkeys(shlex.join(command) for command in typed if command[1:2] in (["run"], ["study"], ["benchmark"]))
    )
