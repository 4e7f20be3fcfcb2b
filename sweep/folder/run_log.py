"""The log of the trial that trained a run."""

from __future__ import annotations

from results.ledger.ledger import Ledger
from results.ledger.queries import begun_pack_of, find_run
from sweep.folder.paths import SweepFolder


def run_log(folder: SweepFolder, run: str) -> str:
    """Return the log of the trial that trained ``run``, a run id or the beginning of one.

    Control characters are escaped, so that the log cannot control the terminal.

    Raises:
        UnknownNameError: see :func:`results.ledger.queries.find_run`.
        SweepFolderError: the ledger has an invalid pack id.
    """
    with Ledger.open_read_only(folder.ledger) as ledger:
        run_id = find_run(ledger, run)
        pack_id = begun_pack_of(ledger, run_id)
    path = None if pack_id is None else folder.pack_log(pack_id)
    if path is None or not path.is_file():
        return f"run {run_id} has not started yet\n"
    text = path.read_text(encoding="utf-8", errors="replace")
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text)
