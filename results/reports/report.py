"""The report page: one self-contained HTML file with tables and figures."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from results.ledger.arrays import SweepData
from results.reports.inline_svg import inline_svg
from results.reports.lead import Lead
from results.reports.table_view import table_view
from results.tables.fairness import WARNING
from results.tables.table import NOT_AVAILABLE, Table
from search_spaces.plain_text import counted
from search_spaces.plain_text import plain_text as without_control

FIRST_TABLE = "consolidated"
FAIRNESS_TABLE = "fairness"  # shown in its own section


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the page: its name, its caption, and the text of its SVG file."""

    name: str
    caption: str
    svg: str


@dataclass(frozen=True)
class _Section:
    """A table or a figure with its anchor on the page."""

    anchor: str
    title: str
    caption: str
    content: Any


NO_LEAD = Lead("", (), None, ())


@dataclass(frozen=True)
class ReportTexts:
    """The texts of a report; all of them are escaped on the page."""

    question: str = ""
    answer: Sequence[str] = ()  # sentences
    provenance: Sequence[Mapping[str, Any]] = ()  # one record per start of the sweep
    commands: Sequence[str] = ()  # command lines that reproduce the numbers
    spec: str = ""  # the resolved spec, TOML
    lead: Lead | None = None  # what the page shows first, in place of the answer


def report_html(
    sweep: SweepData, tables: Mapping[str, Table], figures: Mapping[str, ReportFigure], texts: ReportTexts
) -> str:
    """Return the report page as HTML, without reading or writing a file."""
    lead = texts.lead or NO_LEAD
    names = sorted(
        (name for name in tables if name != FAIRNESS_TABLE and tables[name] is not lead.table),
        key=lambda name: name != FIRST_TABLE,
    )
    lint = tables.get(FAIRNESS_TABLE)
    drawn = _sections(
        "figure",
        (
            (name, figure.caption, inline_svg(figure.svg, prefix=f"svg{number}-", label=figure.caption))
            for number, (name, figure) in enumerate(figures.items(), start=1)
        ),
    )
    by_name = dict(zip(figures, drawn, strict=True))
    leading = lead.shown(by_name)
    first = [(lead.table.name, lead.table.caption, table_view(lead.table))] if lead.table is not None else []
    return page_template("report.html.j2").render(
        name=sweep.name,
        question=texts.question,
        size=sweep_facts(sweep),
        answer=texts.answer,
        caveats=sweep.caveats(),
        lead=texts.lead,
        lead_tables=_sections("first", first),
        lead_figures=[by_name[name] for name in leading],
        tables=_sections("table", ((name, tables[name].caption, table_view(tables[name])) for name in names)),
        figures=[section for name, section in by_name.items() if name not in leading],
        lint=lint and _Section("lint-table", "Fairness lint", lint.caption, table_view(lint, all_columns=True)),
        warning=WARNING,
        warnings=sum(row.values.get("finding") == WARNING for row in lint.rows) if lint else 0,
        training=training_facts(sweep),
        starts=[{_heading(key): plain_text(key, value) for key, value in start.items()} for start in texts.provenance],
        commands=texts.commands,
        spec_text=texts.spec,
    )


def plain_text(key: str, value: Any) -> str:
    """Return a provenance value as text: a command as a shell command line, a mapping as ``key value, …``."""
    if value is None or value == "" or value == [] or value == {}:
        return NOT_AVAILABLE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(str(name))} {plain_text(str(name), part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return shlex.join(map(str, value)) if key == "command" else ", ".join(plain_text("", part) for part in value)
    if key.endswith("memory") and isinstance(value, int | float):
        return f"{value / 2**30:.1f} GiB"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def page_template(name: str) -> Template:
    """Return the template of an HTML page; all values are escaped."""
    loader = PackageLoader("results.reports", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters["sentence"] = _sentence
    return environment.get_template(name)


def _visible(value: Any) -> Any:
    """Return a text of a template with its control characters as escapes; code of a page stays as it is."""
    return without_control(value, keep="\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value


def _sentence(text: str) -> Markup:
    """Return a sentence as HTML: units stay beside their numbers, and commands between backticks are code."""
    for unit in (" %", " pp"):
        text = text.replace(unit, f"\u00a0{unit[1:]}")
    escaped = str(escape(without_control(text.replace(" ± ", "\u00a0±\u00a0"))))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped))


def _sections(kind: str, items: Iterable[tuple[str, str, Any]]) -> list[_Section]:
    """Return a section with a unique anchor for every table or figure."""
    sections: list[_Section] = []
    for name, caption, content in items:
        anchor = f"{kind}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}"
        if anchor in {section.anchor for section in sections}:
            anchor += f"--{len(sections) + 1}"
        sections.append(_Section(anchor, _heading(name), caption, content))
    return sections


def sweep_facts(sweep: SweepData) -> dict[str, str]:
    """Return the sweep's size, data and target as short texts."""
    runs = sum(len(group.run_ids) for group in sweep.configurations)
    seeds = {seed for group in sweep.configurations for seed in group.seeds}
    configurations = len(sweep.configurations)
    size = f"{counted(configurations, 'configuration')} × {counted(len(seeds), 'seed')}"
    if runs != configurations * len(seeds):
        size = f"{counted(configurations, 'configuration')}, up to {counted(len(seeds), 'seed')}"
    return {
        "Runs": f"{size} = {runs:,}" if runs == configurations * len(seeds) else f"{size}, {runs:,} in total",
        "Epochs": f"{sweep.epochs:,}",
        "Data": sweep.data_title + ("" if sweep.synthetic or sweep.is_cifar100 else f", {sweep.facts.classes} classes"),
        "Target": f"{sweep.target:.2f} % validation accuracy" if math.isfinite(sweep.target) else NOT_AVAILABLE,
    }


def training_facts(sweep: SweepData) -> dict[str, str]:
    """Return the training conditions in the ledger as short texts."""
    protocol = {key: value for key, value in sweep.protocol.items() if key != "data"}
    return {
        "Devices": plain_text("", sweep.devices),
        "Threads per process": plain_text("", sweep.threads),
        "Runs per pack": plain_text("", sweep.pack_sizes),
        "Versions": "; ".join(plain_text("", versions) for versions in sweep.versions) or NOT_AVAILABLE,
        "Protocol": plain_text("", protocol),
        "Data fingerprint": plain_text("", sweep.protocol.get("data")),
    }


def _words(name: str) -> str:
    return name.replace("_", " ")


def _heading(name: str) -> str:
    """``git_commit`` → ``Git commit``."""
    return _words(name[:1].upper() + name[1:]) if name != "cpus" else "CPUs"
