"""The executor that trains packs as Ray Tune trials, on this machine or on a cluster."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces import Configuration
from search_spaces.code_version import other_copy
from search_spaces.errors import SweepFolderError
from sweep.config.spec import Resources, Spec
from sweep.execution.cluster_slots import ClusterSlots
from sweep.execution.executor import Round, StepsToTime
from sweep.execution.ray import gpu_kernels, gpu_share, probes
from sweep.execution.ray.cluster import check_address, check_record_stays, shipped_modules
from sweep.execution.ray.local_start import workers_to_start
from sweep.execution.ray.nodes import alive_nodes, check_nodes, check_resources
from sweep.execution.ray.session import ray_session
from sweep.execution.ray.trials import run_trials, start_stop_signal
from sweep.execution.recorder import TrialRecorder
from sweep.execution.session import SweepSession
from sweep.folder.paths import LEASE_FILE
from sweep.folder.snapshot import sweep_storage
from sweep.planning.plan import Pack
from sweep.planning.planner import StepTimes
from trainables.runtime.stop_signal import StopRequest

if TYPE_CHECKING:
    from results.ledger.ledger import Ledger
    from trainables.data.dataset import DataSet


class RayExecutor:
    """Trains packs as Ray Tune trials: Ray places them, retries them and reuses their processes."""

    def __init__(self, kept: ExitStack | None = None, started: ExitStack | None = None) -> None:
        """With ``kept``, Ray stays open until that stack is closed; the next executor in this process uses it.

        ``started`` has a Ray that was started before; it is closed where one that is started here would be.
        """
        self._stop_signal = ""
        self._kept = kept
        self._started = started

    @property
    def opening(self) -> str:
        """Whether :meth:`open` starts Ray, or uses one that this process has started."""
        ray = sys.modules.get("ray")
        return "connecting to Ray" if ray is not None and ray.is_initialized() else "starting Ray and its workers"

    def check(self, spec: Spec, runs_dir: Path) -> None:
        """Refuse an address that Ray does not accept, a folder that Ray deletes, and other code in this folder.

        Raises:
            UserError: the key, its value, and what would be right.
        """
        check_address(spec.cluster.address)
        check_record_stays(runs_dir, spec.storage)
        if (package := other_copy(Path.cwd())) is not None:
            raise SweepFolderError(
                f"{package}: differs from the code of this command, and Ray's workers would import it; "
                "go to another directory, or run `python -m sweep` here"
            )

    @contextmanager
    def open(
        self, spec: Spec, configurations: Sequence[Configuration],
        say: Callable[[str], None], requested: Callable[[], StopRequest],
    ) -> Iterator[Mapping[str, float]]:  # fmt: skip
        """Connect to Ray, check its nodes, and yield the resources of the cluster.

        Raises:
            UserError: no connection, nodes that differ from this one, or none with room for one trial.
        """
        address = spec.cluster.address
        began = time.monotonic()
        modules = shipped_modules(configurations) if address != "local" else ()
        workers = (
            workers_to_start(spec.resources, len(configurations) * len(spec.seed_list)) if address == "local" else 0
        )
        session = ray_session(address, modules, workers)
        with ExitStack() as until_closed:
            owner = until_closed if self._kept is None else self._kept
            if self._started is not None:
                owner.enter_context(self._started.pop_all())
            resources = owner.enter_context(session)
            spent_seconds = time.monotonic() - began
            check_resources(spec, say, requested)
            if address != "local":
                storage = sweep_storage(spec)
                check_nodes(storage.uri if storage else "", LEASE_FILE, spent_seconds)
            yield resources

    def slots(self) -> ClusterSlots:
        """Return the places for trials on the nodes of the cluster."""
        return ClusterSlots({node["NodeID"]: node["Resources"] for node in alive_nodes()})

    def probe(self, slots: ClusterSlots, resources: Resources, data: DataSet, steps: StepsToTime) -> StepTimes:
        """Time steps in as many processes as trials will run, on the nodes where they will run.

        Raises:
            ProbeError: a process died or raised, or no place was free.
        """
        return probes.probe(slots, resources, data, steps)

    def gpus_per_trial(self, spec: Spec, packs: Sequence[Pack], data: DataSet, ledger: Ledger) -> float:
        """Return the GPUs of a trial; for ``auto`` the share that the ledger keeps, or that a probe finds."""
        return gpu_share.gpus_per_trial(spec, packs, data, ledger, self.slots())

    def gpu_kernels(self, spec: Spec, packs: Sequence[Pack], data: DataSet, ledger: Ledger) -> Mapping[int, str]:
        """Return the kernels on a GPU for the sizes of ``packs`` that the ledger keeps or a measurement finds."""
        return gpu_kernels.gpu_kernels(spec, packs, data, ledger)

    def nodes(self) -> Sequence[Mapping[str, Any]]:
        """Return ``ray.nodes()``."""
        import ray

        return list(ray.nodes())

    def run(self, session: SweepSession, packs: Round, recorder: TrialRecorder) -> None:
        """Train a round of packs as trials.

        Raises:
            Stopped: there was a stop request.
        """
        self._stop_signal = self._stop_signal or start_stop_signal(recorder.stop)
        run_trials(session, packs, recorder, self._stop_signal)
