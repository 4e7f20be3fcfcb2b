"""The trackers of a sweep: opened with what its ledger has, so that nothing is missing and nothing is written twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from results.ledger.ledger import Ledger
from sweep.folder.paths import SweepFolder
from sweep.tracking.backend import Backend
from sweep.tracking.registry import TRACKERS
from sweep.tracking.tracked_run import recorded_epochs, tracked_runs
from sweep.tracking.tracking import Tracking


@contextmanager
def tracking_of(
    folder: SweepFolder, ledger: Ledger, names: Collection[str], warn: Callable[[str], None]
) -> Iterator[Tracking | None]:
    """Yield the trackers ``names`` of a sweep; None without one. Runs are marked as ended when the block ends.

    A tracker that cannot be opened is reported to ``warn`` and left out.
    """
    if not names:
        yield None
        return
    backends: dict[str, Backend] = {}
    for name in names:
        try:
            backends[name] = TRACKERS[name].open(folder.tracking, folder.name)
        except Exception as error:  # whatever the library raises: the sweep does not depend on it
            warn(f"tracking with {name} failed ({type(error).__name__}: {error!s:.200}); it gets nothing")
    with Tracking(backends, tracked_runs(ledger, folder.name), warn) as tracking:
        tracking.record(recorded_epochs(ledger))
        try:
            yield tracking
        finally:
            tracking.end(ledger.statuses())


def export_to_trackers(folder: SweepFolder, names: Collection[str], warn: Callable[[str], None]) -> list[Path]:
    """Write all that the ledger has to the trackers ``names``; return the place of each."""
    with (
        Ledger.open_read_only(folder.ledger) as ledger,
        tracking_of(folder, ledger, names, warn) as tracking,
    ):
        if tracking is not None:
            tracking.wait()
    return [folder.tracking / TRACKERS[name].place for name in names]
