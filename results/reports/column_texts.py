"""The descriptions of the tables' columns, read from the page docs/tables.md, which is linked into the package."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

FAMILIES = ("target_", "rho_", "best_of_")
"""Beginnings of the keys of numbered columns, which have one description."""

SECTION = re.compile(r"^##+ ([^\n]*)\n(.*?)(?=^##+ |\Z)", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"^`(\w+)`$|[Tt]he\s+table\s+`(\w+)`")
"""The name of a section's table: the heading, or a sentence with the words `the table`."""
LINK = re.compile(r"\[(.*?)\]\(.*?\)")
REFERENCE = re.compile(r"as in \[`(\w+)`\]\(#\w+\)[,;]?\s*")

Texts = Mapping[str, Mapping[str, str]]
"""Table → key of a column → its description."""


def column_text(table: str, key: str, headings: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the description of a printed column as plain text; empty for an undocumented one.

    Args:
        table: the table's name; after ``-`` it may name a run.
        key: the key of the column.
        headings: key of a column of the table → its heading, which replaces the key in the text.
    """
    texts = documented().get(table.partition("-")[0], {})
    text = texts.get(_documented_key(key), "").removeprefix("printed only: ")
    return re.sub(r"`(.+?)`", lambda found: headings.get(found[1], found[1]), text)


@cache
def documented() -> Texts:
    """Return all descriptions of the page; nothing where the package was built without it."""
    page = files("results.reports").joinpath("templates/tables.md")
    return column_texts(page.read_text(encoding="utf-8")) if page.is_file() else {}


def column_texts(page: str) -> Texts:
    """Return the descriptions on a Markdown page: rows whose first cell has the keys and whose second has the text.

    ``as in [`table`](#table)`` is replaced by the text there, and other links by their words.
    """
    found: dict[str, dict[str, str]] = {}
    for heading, section in SECTION.findall(page):
        name = NAME.search(heading) or NAME.search(section)
        _, head, rows = section.partition("| column | meaning |")
        if name is None or not head:
            continue
        texts = found.setdefault(name[1] or name[2], {})
        for keys, text in re.findall(r"^\| (`.+?) \| (.*?) \|", rows, re.MULTILINE):
            for key in re.findall(r"`(.+?)`", keys):
                texts[_documented_key(key)] = text
    return {
        name: {key: LINK.sub(r"\1", _resolved(found, key, text)) for key, text in texts.items()}
        for name, texts in found.items()
    }


def _documented_key(key: str) -> str:
    """Return the key, or the family of a numbered column."""
    return next((family for family in FAMILIES if key.startswith(family)), key)


def _resolved(texts: Texts, key: str, text: str) -> str:
    """Return the text with the description that it refers to, if any, before its own words."""
    reference = REFERENCE.search(text)
    if reference is None:
        return text
    base = _resolved(texts, key, texts.get(reference[1], {}).get(key, ""))
    rest = text.replace(reference[0], "").strip()
    return f"{base}. Here: {rest}" if rest else base
