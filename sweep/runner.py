"""The packs, trained as Ray Tune trials: Ray places them, the ledger and the checkpoints are ours."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.ledger import Ledger
from search_spaces.errors import EnvironmentMismatchError, SpecError
from sweep.folder import SweepFolder
from sweep.plan import Pack
from sweep.progress import Progress
from sweep.spec import Spec
from sweep.stopping import Stopped, Stopping, end_on_sigterm, stopping
from trainables.dataset import DataSet
from trainables.loop import Assignment

if TYPE_CHECKING:
    from sweep.recorder import Failure, Recorder

QUIET = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean what they mean to the user
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger is the record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours to answer
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Tune's own state is never read again
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

LOOPBACK = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
"""Makes Ray take 127.0.0.1 for this node's address, on any system: all its ports are then bound to loopback. Read when
Ray is imported; must not be set where other nodes are to reach this one. (``_node_ip_address`` does not: Ray replaces a
loopback address that it is given by one that can be reached from outside.)"""


@contextmanager
def ray_session(address: str) -> Iterator[dict[str, float]]:
    """Connect to Ray and yield what the cluster has; end only what was started here.

    ``local`` starts Ray on this machine, with its ports on loopback and without a dashboard.
    """
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    if address == "local":
        os.environ.setdefault(*LOOPBACK)
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what a user needs of it, the recorder tells
    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address == "local":
        options |= {"include_dashboard": False}
    try:
        try:
            ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            told = " ".join(str(error).split())[:200]
            raise EnvironmentMismatchError(f"address {address!r}: no Ray cluster answers there ({told})") from error
        end_on_sigterm()  # Ray puts a handler of its own in its place
        yield ray.cluster_resources()
    finally:
        ray.shutdown()


def check_resources(spec: Spec) -> None:
    """Refuse what no node of the cluster could ever place.

    Raises:
        SpecError: more CPUs or GPUs a trial than any place has.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for key, unit in (("cpus_per_trial", "CPU"), ("gpus_per_trial", "GPU")):
        asked, there = getattr(spec.resources, key), max(node.get(unit, 0) for node in nodes)
        if asked > there:
            where = "the cluster has" if len(nodes) == 1 else "its largest node has"
            raise SpecError(f"resources.{key}", f"asked {asked:g} {unit} a trial, {where} {there:g}")


def train_packs(
    spec: Spec, packs: Sequence[Pack], data: DataSet, folder: SweepFolder, ledger: Ledger, progress: Progress,
    *, fail_fast: bool = False,
) -> None:  # fmt: skip
    """Train ``packs`` and return when all have ended; what they bring is in the ledger.

    A pack that fails is tried again once, from its checkpoint. One that fails twice in a row is taken apart and its
    runs are trained one by one, so that a run which takes its process with it takes no other one; one that a GPU had
    no memory for gets a larger share of it. A run by itself is tried again as often as ``resources.retries`` says.

    Raises:
        KeyboardInterrupt: the user's Ctrl-C, or a SIGTERM; the trials are stopped.
    """
    retries = 0 if fail_fast else spec.resources.retries
    trials = Trials(spec, data, folder, ledger, progress, fail_fast)
    with stopping(folder.stop_request, progress.say) as stop:
        failures = trials.train(packs, min(1, retries), stop)
        if not retries:
            trials.give_up(failures)
            return
        gpus = spec.resources.gpus_per_trial
        while (starved := [one for one in failures if one.out_of_gpu_memory]) and gpus < 1:
            gpus = min(1.0, 2 * gpus)
            trials.tell(starved, f"out of GPU memory: it is tried again with {gpus:g} of a GPU")
            others = [one for one in failures if not one.out_of_gpu_memory]
            failures = others + trials.train([one.pack for one in starved], 0, stop, gpus)
        several = [one for one in failures if one.may_be_one_run]
        others = [one for one in failures if not one.may_be_one_run]
        trials.tell(several, "its runs are trained one by one")
        alone = [single for one in several for single in trials.take_apart(one.pack)]
        failed = trials.train(alone, retries, stop, gpus)
        if retries > 1:
            others = trials.train([one.pack for one in others], retries - 2, stop, gpus)
        trials.give_up([*failed, *others])


class Trials:
    """Packs as trials of Ray Tune, a round of them at a time."""

    def __init__(
        self, spec: Spec, data: DataSet, folder: SweepFolder, ledger: Ledger, progress: Progress, fail_fast: bool
    ) -> None:
        self._spec = spec
        self._data = data
        self._folder = folder
        self._ledger = ledger
        self._progress = progress
        self._fail_fast = fail_fast
        self._recorders: list[Recorder] = []

    def train(
        self, packs: Sequence[Pack], retries: int, stop: Stopping, gpus_per_trial: float | None = None
    ) -> list[Failure]:
        """Train ``packs``, each tried again ``retries`` times; return those that failed every time."""
        from ray import tune

        from sweep.recorder import Recorder
        from trainables.adapter import PackTrainable

        if not packs:
            return []
        resources = self._spec.resources
        gpus = resources.gpus_per_trial if gpus_per_trial is None else gpus_per_trial
        recorder = Recorder(self._ledger, self._folder, {pack.pack_id: pack for pack in packs}, self._progress, stop)
        self._recorders.append(recorder)
        trainable = tune.with_resources(
            tune.with_parameters(PackTrainable, data=self._data), {"cpu": resources.cpus_per_trial, "gpu": gpus}
        )
        with tempfile.TemporaryDirectory(prefix="lenet-sweep-") as scratch:
            tune.Tuner(
                trainable,
                param_space={"pack": tune.grid_search([self._config(pack)["pack"] for pack in packs])},
                tune_config=tune.TuneConfig(
                    max_concurrent_trials=resources.max_concurrent or None,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=str(Path(scratch)),
                    callbacks=[recorder],
                    failure_config=tune.FailureConfig(max_failures=retries, fail_fast=self._fail_fast),
                    verbose=0,
                ),
            ).fit()
        if stop.asked:
            raise Stopped
        return recorder.failures

    def _config(self, pack: Pack) -> dict[str, str]:
        from trainables.adapter import trial_config

        spec, resources = self._spec, self._spec.resources
        return trial_config(
            Assignment(pack.pack_id, pack.runs, spec.epochs, spec.test_epoch_set()),
            checkpoints=self._folder.pack_checkpoints(pack.pack_id),
            threads=max(1, int(resources.cpus_per_trial)),
            gpu=resources.gpus_per_trial > 0,
            weights=self._folder.weights,
            stop_request=self._folder.stop_request,
            save_weights_every=spec.save_weights_every,
            checkpoint_seconds=resources.checkpoint_seconds,
        )

    def take_apart(self, pack: Pack) -> list[Pack]:
        """Return the runs of ``pack`` that have no result yet, each as a pack of one, also for every later driver."""
        finished = self._ledger.finished(pack.run_ids, self._spec.epochs)
        singles = [Pack((run,)) for run in pack.runs if run.run_id not in finished]
        self._ledger.split_pack(pack.pack_id, [(single.pack_id, single.run_ids) for single in singles])
        return singles

    def tell(self, failures: Sequence[Failure], how: str) -> None:
        """Tell that these packs get another chance."""
        for failure in failures:
            self._recorders[-1].try_otherwise(failure, how)

    def give_up(self, failures: Sequence[Failure]) -> None:
        """Record that the runs of these packs failed."""
        for failure in failures:
            self._recorders[-1].give_up(failure)
