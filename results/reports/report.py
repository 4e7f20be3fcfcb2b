"""The report page: one self-contained HTML file with tables and figures."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from results.ledger.arrays import SweepData
from results.metrics.intervals import Estimate
from results.reports.lead import Lead
from results.tables.fairness import WARNING
from results.tables.table import NOT_AVAILABLE, Column, Row, Table, Value
from search_spaces.plain_text import counted
from search_spaces.plain_text import plain_text as without_control

FIRST_TABLE = "consolidated"
FAIRNESS_TABLE = "fairness"  # shown in its own section

SVG_ZOOM = 1.35  # figures have the small type of a paper, which is enlarged for a screen
PIXELS_PER_POINT = 96 / 72
WIDE_TABLE = 10  # columns; wider tables have a smaller font
PIXELS = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]+")
"""An image inside a figure, as matplotlib writes it; every other reference outside of the figure is removed."""

LONG_TABLE = 30  # rows; longer tables scroll in a frame


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the page: its name, its caption, and the text of its SVG file."""

    name: str
    caption: str
    svg: str


@dataclass(frozen=True)
class _Cell:
    """Printed text, and its sort key: a number, ``inf``, empty for n/a, or None to sort by the text."""

    text: str
    sort_value: str | None


@dataclass(frozen=True)
class _Section:
    """A table or a figure with its anchor on the page."""

    anchor: str
    title: str
    caption: str
    content: Any


NO_LEAD = Lead("", (), None, (), ())


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
    first = [(lead.table.name, lead.table.caption, _table_view(lead.table))] if lead.table is not None else []
    return page_template("report.html.j2").render(
        name=sweep.name,
        question=texts.question,
        size=sweep_facts(sweep),
        answer=texts.answer,
        caveats=sweep.caveats(),
        lead=texts.lead,
        lead_tables=_sections("first", first),
        lead_figures=[by_name[name] for name in lead.figures if name in by_name],
        tables=_sections("table", ((name, tables[name].caption, _table_view(tables[name])) for name in names)),
        figures=[section for name, section in by_name.items() if name not in lead.figures],
        lint=_Section("lint-table", "Fairness lint", lint.caption, _table_view(lint)) if lint else None,
        warning=WARNING,
        warnings=sum(row.values.get("finding") == WARNING for row in lint.rows) if lint else 0,
        training=training_facts(sweep),
        starts=[{_heading(key): plain_text(key, value) for key, value in start.items()} for start in texts.provenance],
        commands=texts.commands,
        spec_text=texts.spec,
    )


def inline_svg(text: str, *, prefix: str, label: str) -> Markup:
    """Return an SVG file's text as an element for an HTML page with several SVG elements.

    Prolog, doctype, comments and metadata are removed, and the style sheet, which would apply to the whole page. Every
    id and every reference to an id gets ``prefix``. The width is that of the page, at most ``SVG_ZOOM`` times the
    figure's width.

    Raises:
        xml.etree.ElementTree.ParseError: the text is not SVG.
    """
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in [child for child in parent if _local(child.tag) in ("metadata", "style", "script")]:
            parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {
            _local(key): _with_prefix(_local(key), value, prefix)
            for key, value in element.attrib.items()
            if not _local(key).startswith("on")
        }
    width = float(root.get("viewBox", "0 0 504 288").split()[2]) * PIXELS_PER_POINT  # a matplotlib unit is a point
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {
        "role": "img",
        "aria-label": label,
        # The first two properties replace matplotlib's style sheet, which sets them on all elements.
        "style": f"stroke-linejoin: round; stroke-linecap: butt; "
        f"--drawn: {width:.0f}px; max-width: {width * SVG_ZOOM:.0f}px",
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))


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
    return Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    ).get_template(name)


def _visible(value: Any) -> Any:
    """Return a text of a template with its control characters as escapes; code of a page stays as it is."""
    return without_control(value, keep="\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value


def _sections(kind: str, items: Iterable[tuple[str, str, Any]]) -> list[_Section]:
    """Return a section with a unique anchor for every table or figure."""
    sections: list[_Section] = []
    for name, caption, content in items:
        anchor = f"{kind}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}"
        if anchor in {section.anchor for section in sections}:
            anchor += f"--{len(sections) + 1}"
        sections.append(_Section(anchor, _heading(name), caption, content))
    return sections


def _table_view(table: Table) -> dict[str, Any]:
    """Return the table as the template needs it; ``rows`` are (cells, run ids)."""
    return {
        "columns": [(column, _is_numeric(table.rows, column)) for column in table.printed],
        "rows": [
            ([_cell(row.values.get(c.key), text) for c, text in zip(table.printed, texts, strict=True)], row.run_ids)
            for row, texts in zip(table.rows, table.text(), strict=True)
        ],
        "has_runs": any(row.run_ids for row in table.rows),
        "is_wide": len(table.printed) > WIDE_TABLE,
        "is_long": len(table.rows) > LONG_TABLE,
        "notes": table.notes,
    }


def _cell(value: Value, text: str) -> _Cell:
    number = value.value if isinstance(value, Estimate) else value
    if text == NOT_AVAILABLE or number is None:
        return _Cell(text, "")
    if isinstance(number, str):
        return _Cell(text, "inf" if _is_miss(number) else None)
    return _Cell(text, repr(float(number)))


def _is_miss(text: str) -> bool:
    """Return whether ``text`` is a missed target, such as ``> 50``, which sorts as ∞."""
    return re.fullmatch(r"> \d+", text) is not None


def _is_numeric(rows: Sequence[Row], column: Column) -> bool:
    """Return whether a column has only numbers, which are right-aligned."""
    values = [row.values.get(column.key) for row in rows]
    return any(value not in (None, NOT_AVAILABLE) for value in values) and all(
        value in (None, NOT_AVAILABLE)
        or (isinstance(value, Estimate | float | int) and not isinstance(value, bool))
        or (isinstance(value, str) and _is_miss(value))
        for value in values
    )


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
        "Data": (sweep.data_name or NOT_AVAILABLE)
        + (" (synthetic)" if sweep.synthetic and sweep.data_name != "synthetic" else "")
        + ("" if sweep.synthetic or sweep.is_cifar100 else f" ({sweep.facts.title}, {sweep.facts.classes} classes)"),
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


def _local(name: str) -> str:
    """Return a tag or attribute without its XML namespace."""
    return name.rpartition("}")[2]


def _with_prefix(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return prefix + value
    if key == "href":
        if PIXELS.fullmatch(value):
            return value
        return f"#{prefix}{value[1:]}" if value.startswith("#") else ""
    return re.sub(r"url\(\s*(['\"]?)#", rf"url(\1#{prefix}", value) if "url(" in value else value
