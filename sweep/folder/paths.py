"""The folder of a sweep: every file name and path in it is defined here."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from search_spaces.atomic_write import atomic_write
from search_spaces.errors import SpecError, SweepFolderError
from trainables.optim.plugins import LEDGER

DEFAULT_RUNS_DIR = Path("runs")
LEDGER_FILE = LEDGER  # also marks a folder from which no module is imported
STATUS_FILE = "status.json"
"""In ``control/`` of the folder and of the storage: the live status; in the storage itself: that of the last copy."""
LEASE_FILE = "driver.json"
"""In the storage: the lease; in the folder it is :attr:`SweepFolder.lock`."""
POINTER_FILE = "snapshot.json"
"""In the storage: which copy of the ledger is the newest complete one."""
LONGEST_NAME = 100
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}")
_ID = re.compile(r"[0-9a-f]{16}")


CONFIRMATION = "-confirm"
"""The confirmation of the sweep ``a`` is the sweep ``a-confirm`` beside it."""


class SweepFolder:
    """``runs/<sweep>/`` and its files. Constructing it creates nothing.

    The folder itself, or the one above it, may be a link. A link within it must not lead out of it, so that nothing
    elsewhere is written, or shown as part of the sweep.
    """

    def __init__(self, runs_dir: Path, name: str) -> None:
        """``name`` is one plain folder name.

        Raises:
            SpecError: a name that could lead out of ``runs_dir``, or that needs quoting in a shell or a URL.
        """
        if len(name) > LONGEST_NAME:
            raise SpecError("name", f"{name[:20]!r}… has {len(name)} characters, at most {LONGEST_NAME}", "give --name")
        if not _NAME.fullmatch(name):
            raise SpecError("name", f"{name!r} cannot name a folder", "use letters, digits, '.', '_' and '-'")
        self.name = name
        self.runs_dir = runs_dir
        self.path = (runs_dir / name).absolute()
        self.spec = self.path / "sweep.toml"
        self.ledger = self.path / LEDGER_FILE
        self.lock = self.path / "lock"
        self.published = self.path / "published.json"
        self.provenance = self.path / "provenance.json"
        self.checkpoints = self.path / "checkpoints"
        self.weights = self.path / "weights"
        self.analyses = self.path / "analyses"
        self.control = self.path / "control"
        self.logs = self.path / "logs"
        self.tracking = self.path / "tracking"
        self.tables = self.path / "tables"
        self.figures = self.path / "figures"
        self.article_figures = self.figures / "article"
        self.report = self.path / "report.html"
        self.paper = self.path / "paper"
        self.article = self.path / "article.md"
        self.article_page = self.path / "article.html"

    @property
    def confirmation(self) -> SweepFolder | None:
        """The folder of the sweep that confirms this one (`sweep confirm`); None for a confirmation."""
        if self.name.endswith(CONFIRMATION):
            return None
        return SweepFolder(self.runs_dir, self.name + CONFIRMATION)

    @classmethod
    def existing(cls, runs_dir: Path, name: str) -> SweepFolder:
        """Return the folder of a sweep that exists; ``name`` is its name in ``runs_dir``, or the path of its folder.

        Raises:
            SweepFolderError: there is none (the message lists the existing sweeps), or a link in it leads out.
        """
        if "/" in name or name in (".", ".."):
            path = Path(name) if Path(name).name not in ("", "..") else Path(name).resolve()
            runs_dir, name = path.parent, path.name
        folder = cls(runs_dir, name)
        if not folder.ledger.exists():
            known = ", ".join(sweep_names(runs_dir)) or "none"
            raise SweepFolderError(
                f"no sweep {name!r} in {runs_dir}; existing sweeps: {known}; `sweep run` starts a new one"
            )
        folder.check_links()
        return folder

    def create(self) -> None:
        """Create the folder.

        Raises:
            SweepFolderError: it cannot be created or written, or a link in it leads out.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SweepFolderError(
                f"{self.path}: cannot be created ({error.strerror}); give another --runs-dir"
            ) from error
        if not os.access(self.path, os.W_OK):
            raise SweepFolderError(f"{self.path}: cannot be written; give another --runs-dir")
        self.check_links()

    def check_links(self) -> None:
        """Refuse a link anywhere in the folder that leads out of it, and whatever is neither a file nor a folder.

        Opening a FIFO would wait for a writer that may never come.

        Raises:
            SweepFolderError: the message names the link and its target, or the special file.
        """
        top = self.path.resolve()
        for link in _links_and_special_files(self.path):
            if not link.is_symlink():
                raise SweepFolderError(f"{link}: is a FIFO, socket or device; remove it, or replace it by a file")
            target = Path(os.path.realpath(link))  # Path.resolve raises on a cycle of links
            if not target.is_relative_to(top):
                raise SweepFolderError(
                    f"{link}: is a link that leads out of the sweep's folder, to {target}; replace it by a copy"
                )

    def pack_checkpoints(self, pack_id: str) -> Path:
        """Return the folder of one pack's checkpoints.

        Raises:
            SweepFolderError: ``pack_id`` is not a pack id.
        """
        return self.checkpoints / self._checked(pack_id)

    def analysis(self, kind: str, stem: str) -> Path:
        """Return the file of one analysis: ``gradients``, ``lr-range``, ``trajectory`` or ``activations``.

        Raises:
            SweepFolderError: ``stem`` does not start with a run id, or is not a plain name.
        """
        self._checked(stem[:16])
        if stem[16:] and not re.fullmatch(r"\.[A-Za-z0-9_.]+", stem[16:]):
            raise SweepFolderError(f"{self.analyses}: {stem!r} cannot name an analysis; the ledger was changed by hand")
        return self.analyses / kind / f"{stem}.parquet"

    def pack_log(self, pack_id: str) -> Path:
        """Return the log of one pack's trial.

        Raises:
            SweepFolderError: ``pack_id`` is not a pack id.
        """
        return self.logs / f"{self._checked(pack_id)}.log"

    def _checked(self, identifier: str) -> str:
        """Return an id from a ledger if it is valid: the ledger may come from anybody."""
        if not _ID.fullmatch(identifier):
            raise SweepFolderError(
                f"{self.path}: {identifier!r} is not a run id or pack id (16 hexadecimal digits); "
                "the ledger was changed by hand: restore it, or start another sweep with --name"
            )
        return identifier


def _links_and_special_files(folder: Path) -> Iterator[Path]:
    """Yield every link, FIFO, socket and device in ``folder`` and below, without following a link."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    yield Path(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    yield from _links_and_special_files(Path(entry.path))
                elif not entry.is_file(follow_symlinks=False) and os.path.lexists(entry.path):  # not just removed
                    yield Path(entry.path)
    except OSError:  # a folder that cannot be listed, or was removed: nothing is read or written there either
        return


def resume_command(name: str, runs_dir: Path, *, retry_failed: bool = False) -> str:
    """Return the command that resumes the sweep ``name``, quoted for a shell."""
    return sweep_command("resume", name, runs_dir, *(["--retry-failed"] if retry_failed else []))


def sweep_command(verb: str, name: str, runs_dir: Path, *options: str) -> str:
    """Return ``sweep VERB NAME OPTIONS`` for the sweep ``name``, quoted for a shell."""
    place = [] if runs_dir == DEFAULT_RUNS_DIR else ["--runs-dir", str(runs_dir)]
    return shlex.join(["sweep", verb, name, *options, *place])


def is_sweep_folder(path: str) -> bool:
    """Return whether ``path`` is the folder of a sweep, and not an address in a storage."""
    return (Path(path) / LEDGER_FILE).is_file()


def sweep_names(runs_dir: Path) -> list[str]:
    """Return the names of the sweeps in ``runs_dir``, sorted."""
    names = (path.parent.name for path in runs_dir.glob(f"*/{LEDGER_FILE}"))
    return sorted(name for name in names if _NAME.fullmatch(name))  # no sweep creates another name


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` to a temporary file and rename it to ``path``: a reader sees the old file or the new one."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
