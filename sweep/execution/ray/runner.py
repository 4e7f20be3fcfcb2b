"""The packs, trained as Ray Tune trials: Ray places them, the ledger and the checkpoints are ours."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from results.ledger.ledger import Ledger
from search_spaces.errors import EnvironmentMismatchError, LedgerError, SpecError
from sweep.config.spec import Spec
from sweep.execution.ray.cluster import check_reachable, check_token
from sweep.execution.ray.nodes import last_line
from sweep.execution.ray.trials import Round, Trials
from sweep.folder.control import Control
from sweep.folder.paths import SweepFolder, resume_command
from sweep.folder.snapshot import Snapshots
from sweep.planning.plan import Pack
from sweep.process.signals import end_on_sigterm, keep_sigterm, stopping
from sweep.progress.live_view import Progress
from sweep.progress.status_publisher import Bulletin
from trainables.data.dataset import DataSet

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


GPU_PATIENCE_SECONDS = 120.0
"""How long a whole GPU is waited for: others may be at work on the cluster."""


@contextmanager
def ray_session(address: str, modules: Sequence[str] = ()) -> Iterator[dict[str, float]]:
    """Connect to Ray and yield what the cluster has; end only what was started here.

    ``local`` starts Ray on this machine, with its ports on loopback and without a dashboard. Any other address is that
    of a cluster, which is sent ``modules``: the folders and files of Python packages.

    Raises:
        EnvironmentMismatchError: no such cluster, another token or version, or no token at all.
    """
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    if address == "local":
        os.environ.setdefault(*LOOPBACK)
    check_token(address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address == "local":
        options |= {"include_dashboard": False}
    else:
        check_reachable(address)
        options |= {"runtime_env": {"py_modules": list(modules), "env_vars": QUIET}}
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what a user needs of it, the recorder tells
    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    restore = keep_sigterm()
    try:
        try:
            ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            told = " ".join(str(error).split())[:200]
            raise EnvironmentMismatchError(f"address {address!r}: no Ray cluster answers there ({told})") from error
        restore()  # Ray has put a handler of its own in its place
        end_on_sigterm()
        yield ray.cluster_resources()
    finally:
        ray.shutdown()
        restore()


def gpus_a_trial(spec: Spec, packs: Sequence[Pack], data: DataSet, ledger: Ledger) -> float:
    """Return the GPUs of a trial; for ``auto`` the share that the ledger keeps, or that a probe finds now.

    The largest pack is trained for some steps on a whole GPU. A share is found anew only where a pack is larger than
    that of the probe, or where the GPUs have another memory than the probe's.

    Raises:
        SpecError: a pack that a whole GPU has no memory for, no GPU where Ray has one, or a probe that did not end.
        LedgerError: what the ledger keeps cannot be read.
    """
    from trainables.profiling.gpu_share import Footprint, probe_footprint, share_of, whole_memory
    from trainables.profiling.probe import stand_in

    if spec.resources.gpus_per_trial != "auto":
        return spec.resources.gpus_per_trial
    largest = max(packs, key=lambda pack: len(pack.runs))
    kept, runs = ledger.gpu_share(), len(largest.runs)
    try:
        if kept is not None and runs <= kept["runs"]:
            whole = _on_a_gpu(whole_memory)
            if whole in (0, kept.get("whole")):  # 0: Ray's GPUs are numbers here, and the trials train on the CPU
                return float(kept["share"])
            footprint, runs = replace(Footprint.from_dict(kept), whole=whole), int(kept["runs"])
        else:
            footprint = _on_a_gpu(probe_footprint, [stand_in(run) for run in largest.runs], data)
    except (ValueError, TypeError, KeyError) as error:
        raise LedgerError(
            f"{ledger.path}: the share of a GPU that it keeps cannot be read ({error}); give --gpus-per-trial"
        ) from error
    share = share_of(footprint, runs)
    ledger.keep_gpu_share({"runs": runs, "share": share, **asdict(footprint)})
    return share


def _on_a_gpu(work: Callable[..., Any], *arguments: Any) -> Any:
    """Return what ``work`` returns in a process of its own that has a whole GPU.

    Raises:
        SpecError: no GPU was free in time, or the process ended otherwise than it should.
    """
    import ray

    task = ray.remote(num_gpus=1, max_calls=1, max_retries=0)(work).remote(*arguments)
    try:
        return ray.get(task, timeout=GPU_PATIENCE_SECONDS)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(task, force=True)
        reason = f"no GPU was free within {GPU_PATIENCE_SECONDS:g} seconds"
    except ray.exceptions.RayError as error:
        reason = last_line(error)
    raise SpecError("resources.gpus_per_trial", f"'auto', but the probe did not end ({reason})", "a fraction of a GPU")


def train_packs(
    spec: Spec, packs: Sequence[Pack], data: DataSet, folder: SweepFolder, ledger: Ledger, progress: Progress,
    control: Control, *, fail_fast: bool = False, snapshots: Snapshots | None = None,
) -> None:  # fmt: skip
    """Train ``packs`` and return when all have ended; what they bring is in the ledger.

    A pack that fails is tried again once, from its checkpoint. One that fails twice in a row, without an epoch between,
    is taken apart and its runs are trained one by one, so that a run which takes its process with it takes no other
    one; one that a GPU had no memory for gets a larger share of it. A run by itself is tried again as often as
    ``resources.retries`` says.

    Raises:
        KeyboardInterrupt: the user's Ctrl-C, a SIGTERM, or a request through ``control``; the trials are stopped.
    """
    import ray

    last_words = f"interrupted; go on with: {resume_command(folder.name, folder.runs_dir)}"
    bulletin = Bulletin(control, progress, spec.resources, ray.nodes)
    with stopping(lambda: control.asked, progress.say, last_words) as stop:
        try:
            trials = Trials(spec, data, folder, ledger, progress, stop, bulletin, fail_fast, snapshots)
            trials.train(Round(tuple(packs), min(1, trials.retries), spec.resources.gpus))
            while (another := trials.next_round()) is not None:
                trials.train(another)
            stop.check(training=0)
        finally:
            bulletin.close()
