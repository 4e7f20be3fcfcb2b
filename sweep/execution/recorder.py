"""Events of trials, written to the ledger, the logs, the screen and the published status. No executor is known here."""

from __future__ import annotations

import time
from collections.abc import Callable

from results.ledger.ledger import Attempt, EpochRow
from sweep.execution.failure import Failure
from sweep.execution.session import SweepSession
from sweep.planning.plan import Pack
from sweep.process.signals import Stopping
from sweep.progress.status_publisher import StatusPublisher
from sweep.tracking.tracked_run import Epoch
from trainables.runtime.fault_injection import fault_point
from trainables.training.messages import Report

LAST_LINES = 5
"""Lines of a traceback that the screen shows."""

NextTry = Callable[[Pack, Failure, bool, int], str | None]
"""Decides what happens to a pack whose retries are used up, and returns a line about it; None: it failed for good.

The last two arguments: whether the pack trained an epoch since its previous failure, and how many trials ran."""


class TrialRecorder:
    """Records every event of a trial: each report is one transaction of the ledger, each trial has a log."""

    def __init__(self, session: SweepSession, stop: Stopping, publisher: StatusPublisher, next_try: NextTry) -> None:
        self.stop = stop
        self._session = session
        self._publisher = publisher
        self._next_try = next_try
        self._training: set[str] = set()  # ids of packs in training
        self._stopped: set[str] = set()  # ids of packs that ended because of a stop request
        self._progressed: set[str] = set()  # ids of packs that trained an epoch since their start or last failure

    def started(self, pack: Pack) -> None:
        """An attempt at a pack starts."""
        if self.stop.asked:  # Tune also fills slots after a stop request; this trial ends before its first step
            return
        self._training.add(pack.pack_id)
        self._session.ledger.start(pack.pack_id, pack.run_ids)
        self._log(pack, f"starts with {'; '.join(f'{self._name(run_id)} (run {run_id})' for run_id in pack.run_ids)}")
        self._session.progress.started(pack)

    def reported(self, pack: Pack, report: Report) -> None:
        """A trial finished an epoch, or read its checkpoint, or was stopped."""
        if report.stopped:
            self._stopped.add(pack.pack_id)
            if not self.stop.asked:  # its process got a SIGTERM; the others will get one, too
                self.stop.ask()
            if not report.attempts:  # stopped before its first step
                return
        elif report.fresh and pack.resumes:  # a pack that restarts has trained this epoch before
            self._progressed.add(pack.pack_id)
        rows = [EpochRow(**vars(row)) for row in report.rows]
        attempts = [Attempt(**vars(attempt)) for attempt in report.attempts]
        self._session.ledger.record(attempts, rows, report.diverged)
        fault_point("row recorded")
        if self._session.tracking is not None:
            self._session.tracking.record(Epoch.of(row, time.time()) for row in rows)
        for row in rows:
            self._log(
                pack,
                f"{self._name(row.run_id)}: epoch {row.epoch}: train loss {row.train_loss:.4f}, validation loss "
                f"{row.val_loss:.4f}, validation accuracy {row.val_acc:.2f} %, {row.epoch_seconds:.2f} s",
            )
        for run_id, epoch in report.diverged.items():
            self._log(pack, f"{self._name(run_id)}: diverged in epoch {epoch}")
        self._session.progress.reported(pack, rows, report.diverged, fresh=report.fresh, done=report.done)

    def finished(self, pack: Pack) -> None:
        """A trial trained its last epoch, or wrote its checkpoint after a stop request."""
        trained = pack.pack_id in self._training
        self._training.discard(pack.pack_id)
        if pack.pack_id in self._stopped:
            if trained:
                self._log(pack, "stopped; its checkpoint is written")
            return
        self._session.ledger.complete(pack.pack_id)
        self._log(pack, "done")

    def retried(self, pack: Pack, failure: Failure) -> None:
        """An attempt failed, and the executor makes another one."""
        self._training.discard(pack.pack_id)
        self._progressed.discard(pack.pack_id)
        self._session.ledger.attempt_failed(pack.pack_id, failure.traceback)
        self._log(pack, f"failed, is retried\n{failure.traceback}")
        self._session.progress.retried(pack, failure.last_line)

    def failed(self, pack: Pack, failure: Failure) -> None:
        """The last attempt of this round failed."""
        session, running = self._session, len(self._training | {pack.pack_id})
        self._training.discard(pack.pack_id)
        if self.stop.asked:  # its node or process ended before it could answer
            self._log(pack, f"ended during a stop request\n{failure.traceback}")
            return
        session.ledger.attempt_failed(pack.pack_id, failure.traceback)
        self._log(pack, f"failed\n{failure.traceback}")
        then = self._next_try(pack, failure, pack.pack_id in self._progressed, running)
        if then is not None:
            self._log(pack, then)
            session.progress.say(f"{session.progress.pack_name(pack)} failed ({failure.last_line}); {then}")
            return
        session.ledger.fail(pack.run_ids, f"{failure.traceback.rstrip()}\n{failure.last_line}")
        self._log(pack, "failed for good")
        lines = [line for line in failure.traceback.strip().splitlines() if line.strip()][-LAST_LINES:]
        if failure.killed_for_memory:  # the rest are Ray's lists of processes
            lines = [failure.last_line]
        session.progress.failed(pack, lines, str(session.folder.pack_log(pack.pack_id)))

    def tick(self) -> None:
        """Update the screen and the published status; act on a stop request.

        Raises:
            Stopped: a stop request, and no trial trains any more.
        """
        self._session.progress.tick()
        if self._session.snapshots is not None:
            self._session.snapshots.check()
        self.stop.check(len(self._training))
        if not self.stop.asked:  # after a stop request Ray may be ending, and does not answer
            self._publisher.publish(len(self._training))

    def _name(self, run_id: str) -> str:
        return self._session.progress.name(run_id)

    def _log(self, pack: Pack, text: str) -> None:
        path = self._session.folder.pack_log(pack.pack_id)
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
