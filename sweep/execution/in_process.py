"""The executor that trains in the process of the command, one pack after the other, without Ray."""

from __future__ import annotations

import socket
import time
import traceback
from bdb import BdbQuit
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces import Configuration
from search_spaces.errors import SpecError
from sweep.config.spec import Resources, Spec
from sweep.execution.cluster_slots import ClusterSlots
from sweep.execution.executor import ProbeError, Round, StepsToTime
from sweep.execution.failure import Failure
from sweep.execution.probe_rounds import time_in_rounds
from sweep.execution.recorder import TrialRecorder
from sweep.execution.session import SweepSession
from sweep.execution.training import trial_spec
from sweep.planning.plan import Pack
from sweep.planning.planner import StepTimes
from sweep.process.cpus import available_cpus
from sweep.process.signals import Stopped, end_on_sigterm, keep_sigterm
from trainables.runtime.malloc import keep_freed_memory
from trainables.runtime.stop_signal import StopRequest

if TYPE_CHECKING:
    from results.ledger.ledger import Ledger
    from trainables.data.dataset import DataSet

FLAG = "--in-process"
TICK_SECONDS = 0.25
"""Least time between two updates of the screen and of the published status."""


class InProcessExecutor:
    """Trains packs in this process. A breakpoint in a user's own optimizer works.

    It gives the same bits as Ray with the same packs and threads, and the same ledger and checkpoints.
    """

    opening = "preparing this process"

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def check(self, spec: Spec, runs_dir: Path) -> None:
        """Refuse what needs other machines or a GPU share.

        Raises:
            SpecError: the key, its value, and what would be right.
        """
        if spec.cluster.address != "local":
            raise SpecError(
                "cluster.address", f"{spec.cluster.address!r}, but {FLAG} trains in this process",
                f"--address local, or leave out {FLAG}",
            )  # fmt: skip
        if "://" in spec.storage:
            raise SpecError(
                "storage", f"{spec.storage!r}, but {FLAG} writes to this machine only",
                f"a local folder (--storage FOLDER), or leave out {FLAG}",
            )  # fmt: skip
        if spec.resources.gpus_per_trial != 0:
            raise SpecError(
                "resources.gpus_per_trial", f"{spec.resources.gpus_per_trial!r}, but {FLAG} trains on the CPU",
                f"--gpus-per-trial 0, or leave out {FLAG}",
            )  # fmt: skip

    @contextmanager
    def open(
        self, spec: Spec, configurations: Sequence[Configuration],
        say: Callable[[str], None], requested: Callable[[], StopRequest],
    ) -> Iterator[Mapping[str, float]]:  # fmt: skip
        """Prepare this process, and yield its CPUs; its number of threads and its SIGTERM handler are restored.

        Raises:
            SpecError: more CPUs per trial than this machine has.
        """
        import torch

        if spec.resources.cpus > available_cpus():
            raise SpecError(
                "resources.cpus_per_trial", f"asked {spec.resources.cpus:g} CPU a trial, {available_cpus()} can be used"
            )
        threads, restore = torch.get_num_threads(), keep_sigterm()
        end_on_sigterm()
        keep_freed_memory()
        try:
            yield {"CPU": float(available_cpus())}
        finally:
            torch.set_num_threads(threads)
            restore()

    def slots(self) -> ClusterSlots:
        """Return this machine, with one trial at a time."""
        return ClusterSlots({"this machine": {"CPU": float(available_cpus())}}, most_at_a_time=1)

    def probe(self, slots: ClusterSlots, resources: Resources, data: DataSet, steps: StepsToTime) -> StepTimes:
        """Time steps in this process.

        Raises:
            ProbeError: a step raised an exception.
        """
        from trainables.profiling.probe import StepTimer

        timer = StepTimer(data, list(steps.runs), gpu=False, kernels=steps.kernels)
        try:
            return time_in_rounds(steps, lambda size, threads: [timer.seconds(size, threads)])
        except Exception as error:
            raise ProbeError(f"{error!s:.100}") from error

    def gpus_per_trial(self, spec: Spec, packs: Sequence[Pack], data: DataSet, ledger: Ledger) -> float:
        """Return 0: it trains on the CPU."""
        return 0.0

    def gpu_kernels(self, spec: Spec, packs: Sequence[Pack], data: DataSet, ledger: Ledger) -> Mapping[int, str]:
        """Return nothing: it trains on the CPU."""
        return {}

    def nodes(self) -> Sequence[Mapping[str, Any]]:
        """Return this machine, with the CPUs of one trial at a time."""
        return [
            {
                "NodeID": "in-process",
                "NodeManagerHostname": socket.gethostname(),
                "NodeManagerAddress": "127.0.0.1",
                "Resources": {"CPU": float(available_cpus())},
                "Alive": True,
            }
        ]

    def run(self, session: SweepSession, packs: Round, recorder: TrialRecorder) -> None:
        """Train a round of packs, one after the other.

        Raises:
            Stopped: a stop request; the pack has written its checkpoint.
        """
        for pack in packs.packs:
            failed = not self._attempts(session, pack, packs.retries, recorder)
            recorder.tick()
            if recorder.stop.asked:
                raise Stopped
            if failed and session.fail_fast:
                return

    def _attempts(self, session: SweepSession, pack: Pack, retries: int, recorder: TrialRecorder) -> bool:
        """Train ``pack``, with up to ``retries`` retries; return whether it succeeded."""
        for left in range(retries, -1, -1):
            recorder.started(pack)
            try:
                self._train(session, pack, recorder)
            except BdbQuit as error:  # the user left the debugger
                raise KeyboardInterrupt from error
            except Exception as error:
                failure = Failure(traceback.format_exc(), error)
                traceback.clear_frames(error.__traceback__)  # they hold the pack's memory during the next attempt
                (recorder.retried if left and not recorder.stop.asked else recorder.failed)(pack, failure)
                if recorder.stop.asked:
                    return False
            else:
                recorder.finished(pack)
                return True
        return False

    def _train(self, session: SweepSession, pack: Pack, recorder: TrialRecorder) -> None:
        """Train ``pack`` to its last epoch, or to a stop request."""
        from trainables.training.messages import Report
        from trainables.training.trial import run_trial

        ticks_from = self._clock() + TICK_SECONDS

        def asked_to_stop() -> bool:
            nonlocal ticks_from
            if not recorder.stop.asked and self._clock() >= ticks_from:
                recorder.tick()
                ticks_from = self._clock() + TICK_SECONDS
            return recorder.stop.asked is StopRequest.CANCEL

        reports = run_trial(trial_spec(session, pack), session.data, asked_to_stop)
        ended = False
        while not ended:
            if not recorder.stop.asked:
                recorder.tick()
            report = Report(stopped=True) if recorder.stop.asked else next(reports)
            recorder.reported(pack, report)
            ended = report.done or report.stopped
