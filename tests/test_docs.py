"""The documents: the tests that they cite exist, every page is in the contents, every error and option is explained."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
import typer

from search_spaces.errors import UserError
from sweep.cli.app import app

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def cited_tests(text: str) -> Iterator[tuple[str, str]]:
    """Every cited test file with the cited test, or ""; ``…::name`` is a test of the file before it."""
    file = ""
    for cited, name in re.findall(r"`(tests/[\w/]+\.py|…)(?:::(\w+))?`", text):
        file = file if cited == "…" else cited
        yield file, name


def test_both_forms_of_a_citation_are_found() -> None:
    text = "`tests/a.py::test_b`, `…::test_c` and `tests/d/e.py`; not `tests/` or `make test`"
    assert list(cited_tests(text)) == [("tests/a.py", "test_b"), ("tests/a.py", "test_c"), ("tests/d/e.py", "")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_cited_test_exists(path: Path) -> None:
    for file, name in cited_tests(path.read_text(encoding="utf-8")):
        assert (ROOT / file).is_file(), file
        functions = {
            node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)
        }
        assert not name or name in functions, f"{file}::{name}"


def test_every_selection_of_tests_by_a_word_selects_one() -> None:
    """``pytest -k "a or b"``: each word is a part of the name of a test."""
    names = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    selections = [
        quoted or word
        for path in DOCUMENTS
        for quoted, word in re.findall(r'pytest -k (?:"([^"]+)"|(\w+))', path.read_text(encoding="utf-8"))
    ]
    assert selections
    for word in {word for selection in selections for word in re.split(r" or | and |\bnot ", selection) if word}:
        assert any(word in name for name in names), word


def test_every_page_is_in_the_contents_of_the_site() -> None:
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r": (\w+\.md)$", contents, re.MULTILINE)
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert pages <= set(listed)
    assert len(listed) == len(set(listed))


def test_every_error_of_a_user_has_a_section_in_the_troubleshooting_page() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    names = [cls.__name__ for cls in UserError.__subclasses__()]
    assert sections_of_errors(text) == sorted(names)
    assert sections_of_errors(text.replace("\n## SpecError\n", "\n")) != sorted(names)


def sections_of_errors(text: str) -> list[str]:
    return sorted(re.findall(r"^## (\w+Error)$", text, re.MULTILINE))


def test_every_command_and_every_option_has_a_help_text() -> None:
    """The site's reference of the commands is made from these texts."""
    assert without_help(app) == []


def test_a_command_and_an_option_without_a_help_text_are_found() -> None:
    planted = typer.Typer()

    @planted.command()
    def silent(number: int = 1) -> None:
        print(number)

    @planted.command()
    def described(number: Annotated[int, typer.Option(help="A number.")] = 1) -> None:
        """Print a number."""
        print(number)

    assert without_help(planted) == ["silent", "silent number"]


def without_help(application: typer.Typer) -> list[str]:
    """Return the commands, and the options and arguments, that have no help text."""
    without = []
    for name, command in typer.main.get_group(application).commands.items():
        if not command.help:
            without.append(name)
        without += [f"{name} {option.name}" for option in command.params if not getattr(option, "help", None)]
    return without
