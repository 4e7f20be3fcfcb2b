"""What Tune's trials report, turned into ledger rows, logs and numbers for the screen."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from results.ledger.ledger import Attempt, EpochRow, Ledger
from sweep.folder.paths import SweepFolder
from sweep.folder.snapshot import Snapshots
from sweep.planning.plan import Pack
from sweep.process.signals import Stopping
from sweep.progress.live_view import Progress
from sweep.progress.status_publisher import StatusPublisher
from trainables.runtime.fault_injection import fault_point

LAST_LINES = 5
_OUT_OF_GPU_MEMORY = re.compile(r"OutOfMemoryError: CUDA|CUDA out of memory|CUDA error: out of memory")
_NO_FAULT_OF_A_RUN = re.compile(r"\b(CheckpointError|SupersededError)\b")
_LOST_NODE = re.compile(
    r"The actor died because its node has died\. Node Id: "
    r"|Task failed because the node it was running on is dead or unavailable\. Node IP: "
    r"|Actor died by preemption\."
    r"|\bNodeDiedError\b|The task's local raylet died\."
)
"""How Ray 2.60 says that a trial went with its node."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Failure:
    """A pack whose attempts are used up, with the traceback of the last."""

    pack: Pack
    error: str
    progressed: bool  # whether it trained an epoch between this failure and the one before

    @property
    def last_line(self) -> str:
        """What went wrong, in a line."""
        return _last_line(self.error)

    @property
    def out_of_gpu_memory(self) -> bool:
        """Whether a GPU's memory did not suffice: with fewer trials on it, it may."""
        return bool(_OUT_OF_GPU_MEMORY.search(self.error))

    @property
    def lost_its_node(self) -> bool:
        """Whether the machine went, by a fault or because it was taken away: no run can be to blame."""
        return bool(_LOST_NODE.search(self.error))

    @property
    def may_be_one_run(self) -> bool:
        """Whether one run of the pack may be to blame, so that the others have a chance without it."""
        return len(self.pack.runs) > 1 and not self.lost_its_node and not _NO_FAULT_OF_A_RUN.search(self.error)


class Recorder(Callback):
    """Writes every report into the ledger, one transaction each, and every trial's story into its log."""

    def __init__(
        self, ledger: Ledger, folder: SweepFolder, packs: Mapping[str, Pack], progress: Progress, stop: Stopping,
        publisher: StatusPublisher, settle: Callable[[Failure], str | None], snapshots: Snapshots | None = None,
    ) -> None:  # fmt: skip
        """``settle`` says what becomes of a pack whose attempts are used up, None where it failed for good."""
        self._ledger = ledger
        self._folder = folder
        self._packs = packs
        self._progress = progress
        self._stop = stop
        self._publisher = publisher
        self._pack_of_trial: dict[str, Pack] = {}
        self._training: set[str] = set()  # ids of the packs whose trials run
        self._stopped: set[str] = set()  # ids of those that ended because they were asked to
        self._settle = settle
        self._snapshots = snapshots
        self._progressed: set[str] = set()  # ids of the packs that trained an epoch since they began or failed

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that never happens here."""
        return {}

    def _pack(self, trial: Trial) -> Pack:
        if trial.trial_id not in self._pack_of_trial:
            self._pack_of_trial[trial.trial_id] = self._packs[json.loads(trial.config["pack"])["pack_id"]]
        return self._pack_of_trial[trial.trial_id]

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial got its slot."""
        pack = self._pack(trial)
        if self._stop.asked:  # Tune fills the slots of those that end; this one will hear it before its first step
            return
        self._training.add(pack.pack_id)
        self._ledger.start(pack.pack_id, pack.run_ids)
        self._log(pack, f"starts with runs {' '.join(pack.run_ids)}")
        self._progress.started(pack)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial finished an epoch, or told what its checkpoint holds."""
        pack = self._pack(trial)
        if result["stopped"]:
            self._stopped.add(pack.pack_id)
            if not self._stop.asked:  # somebody ends the trials' processes, one after the other
                self._stop.ask()
            if not result["attempts"]:  # it was asked before it took a step
                return
        elif result["fresh"]:
            self._progressed.add(pack.pack_id)
        rows = [EpochRow(**row) for row in result["rows"]]
        attempts = [Attempt(**{**attempt, "members": tuple(attempt["members"])}) for attempt in result["attempts"]]
        self._ledger.record(attempts, rows, result["diverged"])
        fault_point("row recorded")
        for row in rows:
            self._log(
                pack,
                f"run {row.run_id} epoch {row.epoch}: train loss {row.train_loss:.4f}, validation loss "
                f"{row.val_loss:.4f}, validation accuracy {row.val_acc:.2f} %, {row.epoch_seconds:.2f} s",
            )
        for run_id, epoch in result["diverged"].items():
            self._log(pack, f"run {run_id} diverged in epoch {epoch}")
        done = result["done"] and not result["stopped"]  # for Tune a trial that was stopped is done, too
        self._progress.reported(pack, rows, result["diverged"], fresh=result["fresh"], done=done)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial reached its last epoch, or was asked to end and has written its checkpoint."""
        pack = self._pack(trial)
        trained = pack.pack_id in self._training
        self._training.discard(pack.pack_id)
        if pack.pack_id in self._stopped:
            if trained:
                self._log(pack, "asked to stop; its checkpoint is written")
            return
        self._ledger.complete(pack.pack_id)
        self._log(pack, "done")

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial failed and will be tried again, from its last checkpoint."""
        pack, error = self._pack(trial), _error_text(trial)
        self._training.discard(pack.pack_id)
        self._progressed.discard(pack.pack_id)
        self._ledger.attempt_failed(pack.pack_id, error)
        self._log(pack, f"failed, is tried again\n{error}")
        self._progress.retried(pack, _last_line(error))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial's attempts are used up; what becomes of its runs is for the runner to say."""
        pack, error = self._pack(trial), _error_text(trial)
        self._training.discard(pack.pack_id)
        if self._stop.asked:  # the end of its node, or of its process, came before its answer
            self._log(pack, f"ended while it was asked to stop\n{error}")
            return
        self._ledger.attempt_failed(pack.pack_id, error)
        self._log(pack, f"failed\n{error}")
        failure = Failure(pack, error, pack.pack_id in self._progressed)
        how = self._settle(failure)
        if how is not None:
            self._log(pack, how)
            self._progress.say(f"pack {pack.pack_id} failed ({failure.last_line}); {how}")
            return
        self._ledger.fail(pack.run_ids, error)
        self._log(pack, "failed for good")
        lines = [line for line in error.strip().splitlines() if line.strip()][-LAST_LINES:]
        self._progress.failed(pack, lines, str(self._folder.pack_log(pack.pack_id)))

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune went once around its loop."""
        self._progress.tick()
        if self._snapshots is not None:
            self._snapshots.check()
        self._stop.check(len(self._training))
        if not self._stop.asked:  # whoever asks may end Ray, too, and then it does not answer
            self._publisher.publish(len(self._training))

    def _log(self, pack: Pack, text: str) -> None:
        path = self._folder.pack_log(pack.pack_id)
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


def _error_text(trial: Trial) -> str:
    """Return the traceback of the trial's last failure, from the file in which Tune collects them."""
    path = trial.error_file
    if path is None or not Path(path).exists():
        return "the trial's process ended without a word"
    last = Path(path).read_text(encoding="utf-8", errors="replace").rpartition("Failure # ")[2]
    return _COLOURS.sub("", last.partition("\n")[2])


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
