"""The report: one HTML page that needs nothing but itself, written from tables and figures that are already made."""

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
from results.tables.fairness import LOOK
from results.tables.table import NOT_AVAILABLE, Column, Row, Table, Value, cell_text

FIRST_TABLE = "consolidated"
LINT_TABLE = "fairness"  # has a section of its own

SVG_ZOOM = 1.35  # figures have a paper's small type; a screen is read from farther away
PIXELS_PER_POINT = 96 / 72
WIDE_TABLE = 10  # columns; a wider one is set smaller
LONG_TABLE = 30  # rows; a longer one scrolls in a frame of its own


@dataclass(frozen=True)
class ReportFigure:
    """A figure as it goes into the page: its name, its caption, and the text of its SVG file."""

    name: str
    caption: str
    svg: str


@dataclass(frozen=True)
class _Cell:
    """What the page shows, and what it sorts by: a number, ``inf``, empty for n/a, or None for the text itself."""

    text: str
    sort_value: str | None


@dataclass(frozen=True)
class _Section:
    """A table or a figure with its place on the page."""

    anchor: str
    title: str
    caption: str
    content: Any


def report_html(
    sweep: SweepData,
    tables: Mapping[str, Table],
    figures: Mapping[str, ReportFigure],
    *,
    question: str,
    answer: Sequence[str],
    provenance: Sequence[Mapping[str, Any]],
    commands: Sequence[str],
    spec_text: str = "",
) -> str:
    """Return the report as the text of one HTML file; it reads and writes nothing.

    ``answer`` is one sentence an entry, ``provenance`` one record for every start of the sweep, ``commands`` one
    command line an entry that makes these numbers again, and ``spec_text`` the spec as resolved. All of it is escaped.
    """
    names = sorted((name for name in tables if name != LINT_TABLE), key=lambda name: name != FIRST_TABLE)
    lint = tables.get(LINT_TABLE)
    return page_template("report.html.j2").render(
        name=sweep.name,
        question=question,
        asked=asked_facts(sweep),
        answer=answer,
        caveats=sweep.caveats(),
        tables=_placed("table", ((name, tables[name].caption, _table_view(tables[name])) for name in names)),
        figures=_placed(
            "figure",
            (
                (name, figure.caption, inline_svg(figure.svg, prefix=f"svg{number}-", label=figure.caption))
                for number, (name, figure) in enumerate(figures.items(), start=1)
            ),
        ),
        lint=_Section("lint-table", "Fairness lint", lint.caption, _table_view(lint)) if lint else None,
        look=LOOK,
        to_look_at=sum(row.values.get("finding") == LOOK for row in lint.rows) if lint else 0,
        trained=trained_facts(sweep),
        starts=[{_heading(key): plain_text(key, value) for key, value in start.items()} for start in provenance],
        commands=commands,
        spec_text=spec_text,
    )


def inline_svg(text: str, *, prefix: str, label: str) -> Markup:
    """Return an SVG file's text as an element that can stand beside others in one HTML page.

    Prolog, doctype, comments and metadata go; so does the style sheet, which would hold for the whole page. Every id,
    and what refers to it, gets ``prefix``. The width follows the page, up to the drawing's own times ``SVG_ZOOM``.

    Raises:
        xml.etree.ElementTree.ParseError: not an SVG file.
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
        # The two properties are matplotlib's style sheet, inherited in place of set on everything.
        "style": f"stroke-linejoin: round; stroke-linecap: butt; "
        f"--drawn: {width:.0f}px; max-width: {width * SVG_ZOOM:.0f}px",
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def plain_text(key: str, value: Any) -> str:
    """Return a provenance value as a reader sees it: a command as it was typed, a mapping as ``key value, …``."""
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
    """Return the template of an HTML page; whatever is filled in is escaped."""
    loader = PackageLoader("results", "templates")
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template(name)


def _placed(kind: str, items: Iterable[tuple[str, str, Any]]) -> list[_Section]:
    """Give every table or figure an anchor of its own, whatever its name is made of."""
    sections: list[_Section] = []
    for name, caption, content in items:
        anchor = f"{kind}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}"
        if anchor in {section.anchor for section in sections}:
            anchor += f"--{len(sections) + 1}"
        sections.append(_Section(anchor, _heading(name), caption, content))
    return sections


def _table_view(table: Table) -> dict[str, Any]:
    """Return what the template needs of a table; ``rows`` are (cells, run ids)."""
    return {
        "columns": [(column, _is_numeric(table.rows, column)) for column in table.columns],
        "rows": [
            ([_cell(row.values.get(column.key), column) for column in table.columns], row.run_ids) for row in table.rows
        ],
        "has_runs": any(row.run_ids for row in table.rows),
        "is_wide": len(table.columns) > WIDE_TABLE,
        "is_long": len(table.rows) > LONG_TABLE,
        "notes": table.notes,
    }


def _cell(value: Value, column: Column) -> _Cell:
    text = cell_text(value, column)
    number = value.value if isinstance(value, Estimate) else value
    if text == NOT_AVAILABLE or number is None:
        return _Cell(text, "")
    if isinstance(number, str):
        return _Cell(text, "inf" if _is_miss(number) else None)
    return _Cell(text, repr(float(number)))


def _is_miss(text: str) -> bool:
    """``> 50``: the median of runs that did not reach the target, which is ∞."""
    return re.fullmatch(r"> \d+", text) is not None


def _is_numeric(rows: Sequence[Row], column: Column) -> bool:
    """Numbers stand at the right of their column; truth values and words at its left."""
    values = [row.values.get(column.key) for row in rows]
    return any(value not in (None, NOT_AVAILABLE) for value in values) and all(
        value in (None, NOT_AVAILABLE)
        or (isinstance(value, Estimate | float | int) and not isinstance(value, bool))
        or (isinstance(value, str) and _is_miss(value))
        for value in values
    )


def asked_facts(sweep: SweepData) -> dict[str, str]:
    """Return the sweep's size and data in a few words each."""
    runs = sum(len(group.run_ids) for group in sweep.configurations)
    seeds = {seed for group in sweep.configurations for seed in group.seeds}
    configurations = len(sweep.configurations)
    size = f"{_count(configurations, 'configuration')} × {_count(len(seeds), 'seed')}"
    if runs != configurations * len(seeds):
        size = f"{_count(configurations, 'configuration')}, up to {_count(len(seeds), 'seed')}"
    return {
        "Runs": f"{size} = {runs:,}" if runs == configurations * len(seeds) else f"{size}, {runs:,} together",
        "Epochs": f"{sweep.epochs:,}",
        "Data": (sweep.data_name or NOT_AVAILABLE)
        + (" (synthetic)" if sweep.synthetic and sweep.data_name != "synthetic" else ""),
        "Target": f"{sweep.target:.2f} % validation accuracy" if math.isfinite(sweep.target) else NOT_AVAILABLE,
    }


def trained_facts(sweep: SweepData) -> dict[str, str]:
    """Return under which conditions the runs were trained, as the ledger has it."""
    protocol = {key: value for key, value in sweep.protocol.items() if key != "data"}
    return {
        "Devices": plain_text("", sweep.devices),
        "Threads a process": plain_text("", sweep.threads),
        "Runs a pack": plain_text("", sweep.pack_sizes),
        "Versions": "; ".join(plain_text("", versions) for versions in sweep.versions) or NOT_AVAILABLE,
        "Protocol": plain_text("", protocol),
        "Data fingerprint": plain_text("", sweep.protocol.get("data")),
    }


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _heading(name: str) -> str:
    """``git_commit`` → ``Git commit``."""
    return _words(name[:1].upper() + name[1:]) if name != "cpus" else "CPUs"


def _local(name: str) -> str:
    """Return a tag or attribute without its XML namespace, which HTML does not have."""
    return name.rpartition("}")[2]


def _with_prefix(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return prefix + value
    if key == "href":
        return f"#{prefix}{value[1:]}" if value.startswith("#") else ""
    return re.sub(r"url\(\s*(['\"]?)#", rf"url(\1#{prefix}", value) if "url(" in value else value
