"""The packs, trained as Ray Tune trials: Ray places them, the ledger and the checkpoints are ours."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from results.ledger import Ledger
from search_spaces.errors import EnvironmentMismatchError, SpecError
from sweep.folder import SweepFolder
from sweep.plan import Pack
from sweep.progress import Progress
from sweep.spec import Spec
from trainables.dataset import DataSet
from trainables.loop import Assignment

QUIET = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean what they mean to the user
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger is the record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours to answer
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Tune's own state is never read again
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextmanager
def ray_session(address: str) -> Iterator[dict[str, float]]:
    """Connect to Ray and yield what the cluster has; end only what was started here.

    ``local`` starts Ray on this machine, with its ports on loopback and without a dashboard.
    """
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what a user needs of it, the recorder tells
    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address == "local":
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        try:
            ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            told = " ".join(str(error).split())[:200]
            raise EnvironmentMismatchError(f"address {address!r}: no Ray cluster answers there ({told})") from error
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

    Raises:
        KeyboardInterrupt: the user's Ctrl-C; the trials are stopped.
    """
    from ray import tune

    from sweep.recorder import Recorder
    from trainables.adapter import PackTrainable, trial_config

    resources = spec.resources
    configs = [
        trial_config(
            Assignment(pack.pack_id, pack.runs, spec.epochs, spec.test_epoch_set()),
            checkpoints=folder.pack_checkpoints(pack.pack_id),
            threads=max(1, int(resources.cpus_per_trial)),
            gpu=resources.gpus_per_trial > 0,
            weights=folder.weights,
            save_weights_every=spec.save_weights_every,
        )
        for pack in packs
    ]
    trainable = tune.with_resources(
        tune.with_parameters(PackTrainable, data=data),
        {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial},
    )
    with tempfile.TemporaryDirectory(prefix="lenet-sweep-") as scratch:
        tune.Tuner(
            trainable,
            param_space={"pack": tune.grid_search([config["pack"] for config in configs])},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=resources.max_concurrent or None,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(Path(scratch)),
                callbacks=[Recorder(ledger, folder, {pack.pack_id: pack for pack in packs}, progress)],
                failure_config=tune.FailureConfig(
                    max_failures=0 if fail_fast else resources.retries, fail_fast=fail_fast
                ),
                verbose=0,
            ),
        ).fit()
