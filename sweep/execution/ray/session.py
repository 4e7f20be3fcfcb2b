"""The connection to Ray: a local one that is started here, or one to a cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from search_spaces.errors import EnvironmentMismatchError
from sweep.execution.ray.cluster import check_reachable, check_token
from sweep.process.signals import end_on_sigterm, keep_sigterm

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
def ray_session(address: str, modules: Sequence[str] = ()) -> Iterator[dict[str, float]]:
    """Connect to Ray and yield the resources of the cluster; stop only what was started here.

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

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # the recorder reports what a user needs to know
    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    restore = keep_sigterm()
    try:
        try:
            ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise EnvironmentMismatchError(f"address {address!r}: no Ray cluster answers there ({reason})") from error
        restore()  # Ray has replaced it by its own handler
        end_on_sigterm()
        yield ray.cluster_resources()
    finally:
        ray.shutdown()
        restore()
