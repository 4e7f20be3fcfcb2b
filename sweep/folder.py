"""The folder of a sweep: the one owner of every path in it."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from results.aside import replacing
from search_spaces.errors import SpecError, SweepFolderError

DEFAULT_RUNS_DIR = Path("runs")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class SweepFolder:
    """``runs/<sweep>/`` and what lies in it; nothing is made before it is asked for."""

    def __init__(self, runs_dir: Path, name: str) -> None:
        """``name`` is one plain folder name.

        Raises:
            SpecError: a name that could lead out of ``runs_dir``, or that a shell or a URL would trip over.
        """
        if not _NAME.fullmatch(name):
            raise SpecError("name", f"{name!r} cannot name a folder", "use letters, digits, '.', '_' and '-'")
        self.name = name
        self.runs_dir = runs_dir
        self.path = (runs_dir / name).absolute()
        self.spec = self.path / "sweep.toml"
        self.ledger = self.path / "ledger.sqlite"
        self.lock = self.path / "lock"
        self.provenance = self.path / "provenance.json"
        self.checkpoints = self.path / "checkpoints"
        self.weights = self.path / "weights"
        self.analyses = self.path / "analyses"
        self.logs = self.path / "logs"
        self.tables = self.path / "tables"
        self.figures = self.path / "figures"
        self.report = self.path / "report.html"
        self.article = self.path / "article.md"
        self.article_page = self.path / "article.html"

    @classmethod
    def existing(cls, runs_dir: Path, name: str) -> SweepFolder:
        """Return the folder of a sweep that was begun before.

        Raises:
            SweepFolderError: there is none; the line lists the sweeps that are.
        """
        folder = cls(runs_dir, name)
        if not folder.ledger.exists():
            known = ", ".join(sweep_names(runs_dir)) or "none yet"
            raise SweepFolderError(f"no sweep {name!r} in {runs_dir}: it has {known}; `sweep run` begins one")
        return folder

    def create(self) -> None:
        """Make the folder.

        Raises:
            SweepFolderError: it cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SweepFolderError(
                f"{self.path}: cannot be made ({error.strerror}); give another --runs-dir"
            ) from error
        if not os.access(self.path, os.W_OK):
            raise SweepFolderError(f"{self.path}: cannot be written; give another --runs-dir")

    def pack_checkpoints(self, pack_id: str) -> Path:
        """Return the folder of one pack's checkpoints."""
        return self.checkpoints / pack_id

    def analysis(self, kind: str, stem: str) -> Path:
        """Return the file of one analysis: ``gradients``, ``lr-range``, ``trajectory`` or ``activations``."""
        return self.analyses / kind / f"{stem}.parquet"

    def pack_log(self, pack_id: str) -> Path:
        """Return the log of one pack's trial."""
        return self.logs / f"{pack_id}.log"


def resume_command(name: str, runs_dir: Path) -> str:
    """Return what a user types to go on with the sweep ``name``, quoted for a shell."""
    place = [] if runs_dir == DEFAULT_RUNS_DIR else ["--runs-dir", str(runs_dir)]
    return shlex.join(["sweep", "resume", name, *place])


def sweep_names(runs_dir: Path) -> list[str]:
    """Return the names of the sweeps in ``runs_dir``, sorted."""
    names = (path.parent.name for path in runs_dir.glob("*/ledger.sqlite"))
    return sorted(name for name in names if _NAME.fullmatch(name))  # another name is nothing that a sweep made


def write_aside(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and rename it into place: a reader sees the old file or the new one."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")
