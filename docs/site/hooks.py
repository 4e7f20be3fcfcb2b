"""Pages that are made when the site is built: the command line's reference, the measurements, the changelog."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
COPIED = {"log.md": ROOT / "benchmarks" / "LOG.md", "changelog.md": ROOT / "CHANGELOG.md"}
"""Page to the file of the repository that it shows."""
LINKS = {"../benchmarks/LOG.md": "log.md", "../CHANGELOG.md": "changelog.md", "../docs/": "", "docs/": ""}
"""Link in a file of the repository to the link in the site."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not files of ``docs/``."""
    files.append(File.generated(config, "commands.md", content=command_reference()))
    for page, path in COPIED.items():
        files.append(File.generated(config, page, content=path.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace links to files outside ``docs/`` by links to their pages."""
    for link, page in LINKS.items():
        markdown = markdown.replace(f"]({link}", f"]({page}")
    return markdown


def command_reference() -> str:
    """Return the reference of all commands and options as Markdown, as Typer writes it."""
    command = [sys.executable, "-m", "typer", "sweep.cli.app", "utils", "docs", "--name", "sweep"]
    made = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return made.stdout
