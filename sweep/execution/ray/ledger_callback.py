"""The callback through which Tune reports the events of its trials to the recorder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray.cloudpickle
from ray.exceptions import RayError, RayTaskError
from ray.tune import Callback
from ray.tune.experiment import Trial

from sweep.execution.failure import Failure
from sweep.execution.recorder import TrialRecorder
from sweep.planning.plan import Pack
from sweep.process.memory import kernel_kills
from trainables.ray_trainable import REPORT, SPEC
from trainables.training.messages import TrialSpec

_LOST_NODE = re.compile(
    r"The actor died because its node has died\. Node Id: "
    r"|Task failed because the node it was running on is dead or unavailable\. Node IP: "
    r"|Actor died by preemption\."
    r"|\bNodeDiedError\b|The task's local raylet died\."
)
"""Messages of Ray 2.60 about a trial whose node is gone. Ray has no exception type for it."""
_MEMORY_MONITOR = re.compile(r"\bray\.exceptions\.OutOfMemoryError\b|killed due to the node running low on memory")
"""Messages of Ray 2.60 about a worker that its memory monitor ended. The exception of an actor does not arrive."""
_WORKER_DIED = "its worker process has died"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class LedgerCallback(Callback):
    """Calls the recorder on every event of a trial."""

    def __init__(self, recorder: TrialRecorder, packs: Iterable[Pack]) -> None:
        self._recorder = recorder
        self._packs = {pack.pack_id: pack for pack in packs}
        self._pack_of_trial: dict[str, Pack] = {}
        self._kernel_kills = kernel_kills()

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its callbacks for a restore, which is not used here."""
        return {}

    def _failure(self, trial: Trial) -> Failure:
        """Return the trial's last failure.

        If the kernel ended processes for lack of memory meanwhile, a dead worker counts as one of them.
        """
        failure, before = failure_of(trial), self._kernel_kills
        self._kernel_kills = kernel_kills()
        if _WORKER_DIED in failure.traceback and self._kernel_kills > before:
            return replace(failure, killed_for_memory="the kernel")
        return failure

    def _pack(self, trial: Trial) -> Pack:
        if trial.trial_id not in self._pack_of_trial:
            pack_id = TrialSpec.from_json(trial.config[SPEC]).assignment.pack_id
            self._pack_of_trial[trial.trial_id] = self._packs[pack_id]
        return self._pack_of_trial[trial.trial_id]

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial got its slot."""
        self._recorder.started(self._pack(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial returned from a step."""
        self._recorder.reported(self._pack(trial), result[REPORT])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial's last step was done."""
        self._recorder.finished(self._pack(trial))

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial failed and Tune retries it."""
        self._recorder.retried(self._pack(trial), self._failure(trial))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial failed and Tune does not retry it."""
        self._recorder.failed(self._pack(trial), self._failure(trial))

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune completed an iteration of its event loop."""
        self._recorder.tick()


def failure_of(trial: Trial) -> Failure:
    """Return the trial's last failure, from the two files that Tune writes: traceback and pickled exception."""
    return as_failure(_traceback(trial), _exception(trial))


def _exception(trial: Trial) -> BaseException | None:
    """Return the exception of the trial's last failure; None if Ray has none.

    Not ``trial.get_pickled_error()``: it reads the storage, where the file arrives after the callbacks. The file is in
    Tune's scratch folder, which belongs to this driver alone. It is deleted, so that no later failure finds it.
    """
    path = Path(trial.pickled_error_file) if trial.pickled_error_file else None
    if path is None or not path.exists():
        return None
    content = path.read_bytes()
    path.unlink()
    try:
        found = ray.cloudpickle.loads(content)
    except Exception:  # a class that cannot be unpickled here: the traceback remains
        return None
    return found if isinstance(found, BaseException) else None


def as_failure(traceback: str, error: BaseException | None) -> Failure:
    """Return the failure that Ray describes; an exception out of a trial is unpacked from Ray's own."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    ended_by_ray = cause is None or isinstance(cause, RayError)  # else the trial raised it itself
    monitor = "Ray's memory monitor" if ended_by_ray and _MEMORY_MONITOR.search(traceback) else ""
    return Failure(traceback, cause, lost_node=bool(_LOST_NODE.search(traceback)), killed_for_memory=monitor)


def _traceback(trial: Trial) -> str:
    path = trial.error_file
    if path is None or not Path(path).exists():
        return "the trial's process exited without an error message"
    last = Path(path).read_text(encoding="utf-8", errors="replace").rpartition("Failure # ")[2]
    return _COLOURS.sub("", last.partition("\n")[2])
