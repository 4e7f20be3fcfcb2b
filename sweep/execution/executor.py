"""The executor: the component that trains packs. The driver knows no other interface to Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from search_spaces import Configuration, Run
from sweep.config.spec import Resources, Spec
from sweep.execution.cluster_slots import ClusterSlots
from sweep.execution.session import SweepSession
from sweep.planning.plan import Pack
from sweep.planning.planner import StepTimes
from trainables.runtime.stop_signal import StopRequest

if TYPE_CHECKING:
    from results.ledger.ledger import Ledger
    from sweep.execution.recorder import TrialRecorder
    from trainables.data.dataset import DataSet


@dataclass(frozen=True)
class Round:
    """Packs that are trained under the same conditions, each retried ``retries`` times."""

    packs: tuple[Pack, ...]
    retries: int
    gpus_per_trial: float
    last: bool = False  # whether a pack that fails is not retried in another round
    most_at_a_time: int = 0  # trials; 0: no limit but that of the spec
    wait_seconds: float = 0.0  # before it starts, so that another program can free memory


@dataclass(frozen=True)
class StepsToTime:
    """Training steps that a probe times."""

    runs: Sequence[Run]  # of one seed; they make the packs
    sizes: Sequence[int]  # runs in a pack
    cpus: Mapping[int, float]  # threads of a trial → the CPUs that it requests
    most: int  # number of trials there are to run; no more processes than that are timed at a time
    kernels: str = "torch"  # of the convolutions


class ProbeError(Exception):
    """A probe that failed, in one line. The sweep then uses default ratios."""


class Executor(Protocol):
    """Trains packs. Every method but :meth:`check` is called within :meth:`open`."""

    @property
    def opening(self) -> str:
        """What :meth:`open` does, for the user."""

    def check(self, spec: Spec, runs_dir: Path) -> None:
        """Refuse a spec that this executor cannot run, before data is loaded.

        Raises:
            UserError: the key, its value, and what would be right.
        """

    def open(
        self, spec: Spec, configurations: Sequence[Configuration],
        say: Callable[[str], None], requested: Callable[[], StopRequest],
    ) -> AbstractContextManager[Mapping[str, float]]:  # fmt: skip
        """Connect, and yield the resources that there are; ``requested`` returns the present stop request.

        Raises:
            UserError: no connection, or no node with room for one trial.
        """

    def slots(self) -> ClusterSlots:
        """Return the places that trials can run in."""

    def probe(self, slots: ClusterSlots, resources: Resources, data: DataSet, steps: StepsToTime) -> StepTimes:
        """Return the seconds of training steps, while as many processes train as trials would.

        Raises:
            ProbeError: no measurement.
        """

    def gpus_per_trial(self, spec: Spec, packs: Sequence[Pack], data: DataSet, ledger: Ledger) -> float:
        """Return the GPUs of a trial; for ``auto`` the share that the ledger keeps, or that a probe finds."""

    def gpu_kernels(self, spec: Spec, packs: Sequence[Pack], data: DataSet, ledger: Ledger) -> Mapping[int, str]:
        """Return the kernels on a GPU for the sizes of ``packs`` that the ledger keeps or a measurement finds."""

    def nodes(self) -> Sequence[Mapping[str, Any]]:
        """Return the nodes, in the form of ``ray.nodes()``, for the published status."""

    def run(self, session: SweepSession, packs: Round, recorder: TrialRecorder) -> None:
        """Train a round of packs and return when all have ended.

        The executor calls ``recorder`` on every event of a trial: ``started``, ``reported`` once per epoch,
        ``finished``, ``retried``, ``failed``, and ``tick`` in between.

        Raises:
            Stopped: a stop request; the trials have written their checkpoints, or had the time to.
        """
