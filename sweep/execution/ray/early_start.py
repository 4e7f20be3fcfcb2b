"""Ray's start before PyTorch is imported: its processes finish their start while this process imports."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from results.ledger.ledger import Ledger
from search_spaces.code_version import other_copy
from search_spaces.errors import UserError
from sweep.config.spec import Spec
from sweep.execution.ray.cluster import check_record_stays
from sweep.execution.ray.local_start import workers_to_start
from sweep.execution.ray.session import ray_session
from sweep.folder.lease import Holder
from sweep.folder.lease_places import FolderLease
from sweep.folder.paths import SweepFolder
from sweep.tracking.registry import check_trackers
from trainables.runtime.user_imports import in_sweep_folder

UNFINISHED = {"pending", "running", "interrupted"}


def start_early(spec: Spec, runs_dir: Path, started: ExitStack, say_step: Callable[[str], None]) -> None:
    """Start Ray on this machine if ``spec`` will certainly need it there; closing ``started`` ends it.

    In any other case nothing happens: the executor starts Ray when it opens, or finds what is wrong. Where another user
    error than a missing folder of data is found later, Ray has started in vain.

    Raises:
        UserError: an invalid block or tracker, or Ray does not start.
    """
    if spec.cluster.address != "local" or not _will_train(spec, SweepFolder(runs_dir, spec.name)):
        return
    if "/" in spec.data and not Path(spec.data).expanduser().exists():  # a missing folder is reported without a start
        return
    if in_sweep_folder(Path.cwd()) or other_copy(Path.cwd()) is not None:  # refused, before a worker imports from there
        return
    check_record_stays(runs_dir, spec.storage)
    check_trackers(spec.tracking.trackers)
    runs = len(spec.expanded()) * len(spec.seed_list) if spec.benchmark is None else None
    workers = workers_to_start(spec.resources, runs)
    say_step(f"sweep {spec.name}: starting Ray and its workers")
    started.enter_context(ray_session("local", workers=workers))


def _will_train(spec: Spec, folder: SweepFolder) -> bool:
    """Whether ``folder`` is that of a new sweep, or of one that nobody runs and that has runs without a result."""
    if not folder.ledger.exists():
        return True
    try:
        folder.check_links()
        with Ledger.open_read_only(folder.ledger) as ledger:
            statuses = ledger.statuses().values()
        holder = Holder.parse(folder.lock.read_bytes()) if folder.lock.exists() else None
        is_driven = holder is not None and FolderLease(folder.lock).is_held(holder)
        return not is_driven and bool(UNFINISHED & set(statuses))
    except (UserError, OSError):
        return False
