"""The Ray Tune adapter: a class trainable that trains one pack, one epoch per step. Only this file imports Ray."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune

from trainables.data.dataset import DataSet
from trainables.runtime.malloc import keep_freed_memory
from trainables.runtime.sigterm import Sigterm
from trainables.runtime.stop_signal import Listener, StopFile, StopRequest
from trainables.runtime.umask import restore_umask
from trainables.training.messages import Report, TrialSpec
from trainables.training.trial import run_trial

SPEC = "spec"
"""The key of a trial's config. Its value is one JSON text, so that Tune does not search it for search spaces."""
REPORT = "report"
"""The key of a trial's result, a :class:`Report`."""


def listen_to(stop_signal: str) -> StopFile | Listener:
    """Return the trial's view of the stop requests: of a file on this machine, or of an actor."""
    if Path(stop_signal).is_absolute():
        return StopFile(Path(stop_signal))
    actor = ray.get_actor(stop_signal)
    return Listener(lambda known: actor.wait.remote(known).future())


class PackTrainable(tune.Trainable):
    """Trains one pack. Its process is reused for the next one; Tune's checkpoints are not used."""

    _reports: Iterator[Report]

    def setup(self, config: dict[str, Any], data: DataSet | None = None) -> None:
        """Prepare the process for its first pack, which may be a retry or the work of an earlier driver."""
        assert data is not None
        self._data = data
        self._sigterm = Sigterm()
        self._listener = listen_to(TrialSpec.from_json(config[SPEC]).stop_signal)
        keep_freed_memory()
        restore_umask()
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Prepare the same process for its next pack."""
        self._reports = iter(())
        gc.collect()  # a captured step and its pack refer to each other; frees their memory before the next pack's
        self._begin(new_config)
        return True

    def _begin(self, config: Mapping[str, str]) -> None:
        self._reports = run_trial(
            TrialSpec.from_json(config[SPEC]),
            self._data,
            asked_to_stop=lambda: self._sigterm.came or self._listener.asked is StopRequest.CANCEL,
            gpu_ids=lambda: ",".join(map(str, ray.get_gpu_ids())),
        )

    def step(self) -> dict[str, Any]:
        """Train one epoch; ``done`` ends the trial, also after a stop request."""
        if self._listener.asked:  # between two epochs: the checkpoint has everything
            report = Report(stopped=True)
        else:
            with self._sigterm.put_off():
                report = next(self._reports)
        return {REPORT: report, "done": report.done or report.stopped}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing: the pack writes its own checkpoints."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing: the pack reads its own checkpoints."""
