"""The sweep that a driver runs: its spec, its folder and ledger, and its connections to the user and to its storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from results.ledger.ledger import Ledger
from sweep.config.spec import Spec
from sweep.folder.control import Control
from sweep.folder.paths import SweepFolder
from sweep.folder.snapshot import Snapshots
from sweep.progress.live_view import Progress
from sweep.tracking.tracking import Tracking
from trainables.data.dataset import DataSet


@dataclass(frozen=True)
class SweepSession:
    """A sweep while its driver trains it."""

    spec: Spec  # with the numbers of CPUs and GPUs that were chosen for ``auto``
    folder: SweepFolder
    ledger: Ledger
    data: DataSet
    progress: Progress
    control: Control
    snapshots: Snapshots | None = None  # None: the sweep has no storage
    tracking: Tracking | None = None  # None: the sweep has no tracker
    fail_fast: bool = False  # whether the first failure ends the sweep
    gpu_kernels: Mapping[int, str] = field(default_factory=dict)  # measured, by the number of runs in a pack

    @property
    def retries(self) -> int:
        """How often a run is retried."""
        return 0 if self.fail_fast else self.spec.resources.retries
