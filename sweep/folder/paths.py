"""The folder of a sweep: the one owner of every path in it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from search_spaces.atomic_write import atomic_write
from search_spaces.errors import SpecError, SweepFolderError

DEFAULT_RUNS_DIR = Path("runs")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ID = re.compile(r"[0-9a-f]{16}")


class SweepFolder:
    """``runs/<sweep>/`` and what lies in it; nothing is made before it is asked for.

    The folder itself, or the one above it, may be a link; within it none leads out, so nothing is written elsewhere by
    way of one, and nothing elsewhere is shown as the sweep's.
    """

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
        self.published = self.path / "published.json"
        self.provenance = self.path / "provenance.json"
        self.checkpoints = self.path / "checkpoints"
        self.weights = self.path / "weights"
        self.analyses = self.path / "analyses"
        self.control = self.path / "control"
        self.logs = self.path / "logs"
        self.tables = self.path / "tables"
        self.figures = self.path / "figures"
        self.article_figures = self.figures / "article"
        self.report = self.path / "report.html"
        self.article = self.path / "article.md"
        self.article_page = self.path / "article.html"

    @classmethod
    def existing(cls, runs_dir: Path, name: str) -> SweepFolder:
        """Return the folder of a sweep that was begun before.

        Raises:
            SweepFolderError: there is none, and the line lists the sweeps that are; or a link in it leads out.
        """
        folder = cls(runs_dir, name)
        if not folder.ledger.exists():
            known = ", ".join(sweep_names(runs_dir)) or "none yet"
            raise SweepFolderError(f"no sweep {name!r} in {runs_dir}: it has {known}; `sweep run` begins one")
        folder.check_links()
        return folder

    def create(self) -> None:
        """Make the folder.

        Raises:
            SweepFolderError: it cannot be made or written, or a link in it leads out.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SweepFolderError(
                f"{self.path}: cannot be made ({error.strerror}); give another --runs-dir"
            ) from error
        if not os.access(self.path, os.W_OK):
            raise SweepFolderError(f"{self.path}: cannot be written; give another --runs-dir")
        self.check_links()

    def check_links(self) -> None:
        """Refuse a link anywhere in the folder that leads out of it.

        Raises:
            SweepFolderError: the line names the link and where it leads.
        """
        top = self.path.resolve()
        for link in _links(self.path):
            leads = Path(os.path.realpath(link))  # Path.resolve raises where links go around in a circle
            if not leads.is_relative_to(top):
                raise SweepFolderError(
                    f"{link}: is a link that leads out of the sweep's folder, to {leads}; put a copy in its place"
                )

    def pack_checkpoints(self, pack_id: str) -> Path:
        """Return the folder of one pack's checkpoints.

        Raises:
            SweepFolderError: no id of a pack.
        """
        return self.checkpoints / self._checked(pack_id)

    def analysis(self, kind: str, stem: str) -> Path:
        """Return the file of one analysis: ``gradients``, ``lr-range``, ``trajectory`` or ``activations``.

        Raises:
            SweepFolderError: a ``stem`` that does not begin with the id of a run, or that is no plain name.
        """
        self._checked(stem[:16])
        if stem[16:] and not re.fullmatch(r"\.[A-Za-z0-9_.]+", stem[16:]):
            raise SweepFolderError(f"{self.analyses}: {stem!r} cannot name an analysis; its ledger was changed by hand")
        return self.analyses / kind / f"{stem}.parquet"

    def pack_log(self, pack_id: str) -> Path:
        """Return the log of one pack's trial.

        Raises:
            SweepFolderError: no id of a pack.
        """
        return self.logs / f"{self._checked(pack_id)}.log"

    def _checked(self, identifier: str) -> str:
        """Return an id that may have come out of a ledger, which anybody may have written, if it is one."""
        if not _ID.fullmatch(identifier):
            raise SweepFolderError(
                f"{self.path}: {identifier!r} is no id of a run or a pack (16 hexadecimal digits); "
                "its ledger was changed by hand: restore it, or begin another sweep with --name"
            )
        return identifier


def _links(folder: Path) -> Iterator[Path]:
    """Yield every link in ``folder`` and below, without following one."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    yield Path(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    yield from _links(Path(entry.path))
    except OSError:  # it cannot be looked into, or went meanwhile: nothing can be read or written there either
        return


def resume_command(name: str, runs_dir: Path, *, retry_failed: bool = False) -> str:
    """Return what a user types to go on with the sweep ``name``, quoted for a shell."""
    place = [] if runs_dir == DEFAULT_RUNS_DIR else ["--runs-dir", str(runs_dir)]
    return shlex.join(["sweep", "resume", name, *(["--retry-failed"] if retry_failed else []), *place])


def sweep_names(runs_dir: Path) -> list[str]:
    """Return the names of the sweeps in ``runs_dir``, sorted."""
    names = (path.parent.name for path in runs_dir.glob("*/ledger.sqlite"))
    return sorted(name for name in names if _NAME.fullmatch(name))  # another name is nothing that a sweep made


def write_aside(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and rename it into place: a reader sees the old file or the new one."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
