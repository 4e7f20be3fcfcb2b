"""Training of packs by an executor, round by round: the part that is the same for every executor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from search_spaces.code_version import code_hash
from sweep.execution.executor import Executor, Round
from sweep.execution.recorder import TrialRecorder
from sweep.execution.retries import Retries
from sweep.execution.session import SweepSession
from sweep.folder.paths import resume_command
from sweep.folder.snapshot import checkpoint_place, weights_place
from sweep.planning.plan import Pack
from sweep.process.signals import Stopping, stopping
from sweep.process.supervisor import leave_hint
from sweep.progress.status_publisher import StatusPublisher
from trainables.training.messages import Assignment, TrialSpec

POLL_SECONDS = 0.2


def train_packs(session: SweepSession, packs: Sequence[Pack], executor: Executor) -> None:
    """Train ``packs``, retry those that fail, and return when all have ended; the results are in the ledger.

    Raises:
        KeyboardInterrupt: Ctrl-C, a SIGTERM, or a request through the session's control; the trials are stopped.
    """
    spec, folder = session.spec, session.folder
    retries = Retries(session.ledger, spec.epochs, session.retries)
    hint = f"to continue: {resume_command(folder.name, folder.runs_dir)}"
    leave_hint(hint)
    publisher = StatusPublisher(session.control, session.progress, spec.resources, executor.nodes)
    with stopping(lambda: session.control.asked, session.progress.say, f"interrupted; {hint}") as stop:
        try:
            now: Round | None = retries.first_round(packs, spec.resources.gpus)
            while now is not None:
                _wait(now.wait_seconds, stop)
                executor.run(session, now, TrialRecorder(session, stop, publisher, partial(retries.decide, now)))
                now = retries.next_round()
            stop.check(training=0)
        finally:
            publisher.close()


def _wait(seconds: float, stop: Stopping) -> None:
    """Wait, but not after a stop request."""
    until = time.monotonic() + seconds
    stop.check(training=0)
    while time.monotonic() < until:
        time.sleep(POLL_SECONDS)
        stop.check(training=0)


def _gpu_context(session: SweepSession) -> int:
    """Return the bytes of a CUDA context that the probe of the GPU share measured; 0 without a measurement."""
    try:
        return max(0, int((session.ledger.gpu_share() or {}).get("context", 0)))
    except (ValueError, TypeError, OverflowError):
        return 0  # only a share that is read from the ledger needs a valid record


def trial_spec(session: SweepSession, pack: Pack, *, gpus: float = 0.0, stop_signal: str = "") -> TrialSpec:
    """Return the trial that trains ``pack``; ``stop_signal`` is what forwards stop requests to it."""
    spec, resources = session.spec, session.spec.resources
    return TrialSpec(
        Assignment(pack.pack_id, pack.runs, spec.epochs, spec.test_epoch_set(), pack.resumes),
        checkpoints=checkpoint_place(session.folder, spec, pack.pack_id).uri,
        weights=weights_place(session.folder, spec).uri,
        threads=resources.threads,
        kernels=session.gpu_kernels.get(len(pack.runs), resources.kernels),
        gpus=gpus,
        gpu_context=_gpu_context(session) if gpus else 0,
        save_weights_every=spec.save_weights_every,
        checkpoint_seconds=resources.checkpoint_seconds,
        on_drivers_disk=not spec.storage and spec.cluster.address != "local",
        code=code_hash(),
        stop_signal=stop_signal,
    )
