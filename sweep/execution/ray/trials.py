"""A round of packs as trials of Ray Tune, and the stop requests that are forwarded to them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from search_spaces.imports import large_imports
from sweep.execution.executor import Round
from sweep.execution.ray.local_start import replaced, trials_in_started_workers
from sweep.execution.ray.session import own_folder
from sweep.execution.ray.watch import watched
from sweep.execution.recorder import TrialRecorder
from sweep.execution.session import SweepSession
from sweep.execution.training import trial_spec
from sweep.process.private_folder import private_folder
from sweep.process.signals import Stopped, Stopping
from sweep.process.supervisor import end_at_once
from trainables.runtime.stop_signal import StopFile, StopRequest, StopSignal

MOST_TRIALS = 100_000
"""Most trials that can wait on the actor that forwards stop requests."""


def run_trials(session: SweepSession, now: Round, recorder: TrialRecorder, stop_signal: str) -> None:
    """Train a round by Tune; ``stop_signal`` is what :func:`start_stop_signal` returned.

    Raises:
        Stopped: there was a stop request.
    """
    with large_imports():
        from ray import tune

        from sweep.execution.ray.ledger_callback import LedgerCallback
        from trainables.ray_trainable import SPEC, PackTrainable

    resources, gpus = session.spec.resources, now.gpus_per_trial
    trials = [trial_spec(session, pack, gpus=gpus, stop_signal=stop_signal).to_json() for pack in now.packs]
    trainable = tune.with_resources(
        tune.with_parameters(PackTrainable, data=session.data), {"cpu": resources.cpus, "gpu": gpus}
    )
    try:
        with (
            private_folder() as scratch,
            watched({}, [scratch], end_at_once),
            trackers_not_imported(),
            trials_in_started_workers() if own_folder() is not None else ExitStack(),
        ):
            tune.Tuner(
                trainable,
                param_space={SPEC: tune.grid_search(trials)},
                tune_config=tune.TuneConfig(
                    max_concurrent_trials=min(
                        filter(None, (resources.max_concurrent, now.most_at_a_time)), default=None
                    ),
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=str(scratch),
                    callbacks=[LedgerCallback(recorder, now.packs)],
                    failure_config=tune.FailureConfig(max_failures=now.retries, fail_fast=session.fail_fast),
                    verbose=0,
                ),
            ).fit()
    except Exception as error:
        if recorder.stop.asked:  # whoever sent the signal may have ended Ray's processes, too
            raise Stopped from error
        raise
    if recorder.stop.asked:
        raise Stopped


@contextmanager
def trackers_not_imported() -> Iterator[None]:
    """Let Tune train in the block without its count of callbacks, which is for Ray's usage report.

    The count imports wandb, MLflow and Comet where they are installed. The import of wandb creates a temporary folder,
    which remains after a kill.
    """
    from ray.air._internal import usage

    with replaced([(usage, "tag_callbacks", lambda callbacks: False)]):
        yield


def start_stop_signal(stop: Stopping) -> str:
    """Prepare what forwards ``stop`` to the trials, and return its name: a file of a Ray on this machine, or an actor.

    A name and not a handle: a handle would be one more object for Ray to wait for when its processes end.
    """
    name, folder = f"stop-signal-{uuid.uuid4().hex}", own_folder()
    if folder is not None:
        path = folder / name
        stop.forward = StopFile(path, new=True).send
        return str(path)
    _start_actor(stop, name)
    return name


def _start_actor(stop: Stopping, name: str) -> None:
    """Start the actor ``name`` that forwards ``stop`` to the trials, on the driver's node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    actor = (
        ray.remote(StopSignal)
        .options(
            name=name,
            num_cpus=0,
            max_concurrency=MOST_TRIALS,
            scheduling_strategy=here,
            max_restarts=-1,
            max_task_retries=-1,  # no trial starts without it
        )
        .remote()
    )

    def forward(request: StopRequest) -> None:
        with suppress(ray.exceptions.RayError):  # Ray has ended, and the trials with it
            actor.send.remote(request)

    stop.forward = forward
