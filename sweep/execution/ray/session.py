"""The connection to Ray: a local one that is started here, or one to a cluster."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from search_spaces.errors import EnvironmentMismatchError
from search_spaces.imports import large_imports
from sweep.execution.ray.cluster import check_reachable, check_token
from sweep.execution.ray.local_start import PRELOADED, few_processes
from sweep.execution.ray.watch import watched
from sweep.process.cpus import available_cpus
from sweep.process.private_folder import end_ray_processes, private_folder
from sweep.process.signals import end_on_sigterm, ignored_hangup, keep_sigterm
from sweep.process.supervisor import end_at_once
from trainables.runtime.umask import UMASK_VARIABLE

QUIET = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean what they mean to the user
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger is the record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours to answer
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Tune's own state is never read again
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

TUNES_VARIABLES = {"PL_DISABLE_FORK": "1"}
"""What Tune sets for the process of a trial. The workers of a local Ray inherit it."""

LOOPBACK = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
"""Makes Ray take 127.0.0.1 for this node's address, on any system: all its ports are then bound to loopback. Read when
Ray is imported; must not be set where other nodes are to reach this one. (``_node_ip_address`` does not: Ray replaces a
loopback address that it is given by one that can be reached from outside.)"""


TOKEN_FILE = "token"
RAY_FOLDER = "r"
"""Ray makes its temporary folder accessible to all users, so it lies in a folder that only this user can enter."""


@contextmanager
def ray_session(address: str, modules: Sequence[str] = (), workers: int = 0) -> Iterator[dict[str, float]]:
    """Connect to Ray and yield the resources of the cluster; stop only what was started here.

    ``local`` starts Ray on this machine, with its ports on loopback, without a dashboard, and with a token and a
    temporary folder that no other user can read. Any other address is that of a cluster, which is sent ``modules``: the
    folders and files of Python packages. On this machine ``workers`` processes import what a trial needs while the
    caller continues; with 0, a trial's process imports it.

    Raises:
        EnvironmentMismatchError: no such cluster, another token or version, or no token at all.
    """
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    if address == "local":
        os.environ.setdefault(*LOOPBACK)
    else:
        check_token(address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address == "local":
        options |= {"include_dashboard": False, "num_cpus": available_cpus()}
    else:
        check_reachable(address)
        options |= {"runtime_env": {"py_modules": list(modules), "env_vars": QUIET}}
    with large_imports():
        import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # the recorder reports what a user needs to know
    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    restore = keep_sigterm()
    with ExitStack() as stack:
        if address == "local":
            options["_temp_dir"] = str(stack.enter_context(_private_session()))
        stack.callback(restore)
        stack.callback(ray.shutdown)
        try:
            with _local_processes(workers) if address == "local" else ExitStack():
                ray.init(address=address, **options)
        except Exception as error:  # a start that takes too long raises a plain Exception
            reason = " ".join(str(error).split())[:200]
            raise EnvironmentMismatchError(_no_session(address, reason)) from error
        restore()  # Ray has replaced it by its own handler
        end_on_sigterm()
        if address == "local":
            stack.enter_context(watched(_vital_processes(), _vital_paths(), end_at_once))
            stack.enter_context(_known_folder(Path(options["_temp_dir"])))
        yield ray.cluster_resources()


_folder: Path | None = None


def own_folder() -> Path | None:
    """Return Ray's folder on this machine if :func:`ray_session` has started Ray here; None for any other Ray."""
    return _folder


@contextmanager
def _known_folder(folder: Path) -> Iterator[None]:
    global _folder
    _folder = folder
    try:
        yield
    finally:
        _folder = None


def _no_session(address: str, reason: str) -> str:
    if address == "local":
        return (
            f"Ray did not start on this machine ({reason}); run the command again, or train without Ray: --in-process"
        )
    return f"address {address!r}: no Ray cluster answers there ({reason})"


@contextmanager
def _private_session() -> Iterator[Path]:
    """Yield a folder for Ray with a new token, which Ray uses in the block; both are removed at its end."""
    with private_folder() as folder:
        token = folder / TOKEN_FILE
        descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        place = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_AUTH_TOKEN": None}
        with _environment(place):
            _read_token_again()
            try:
                yield folder / RAY_FOLDER
            finally:
                end_ray_processes(folder)  # a start that was interrupted leaves some
        _read_token_again()


def _read_token_again() -> None:
    """Make Ray's library in this process read the settings of the token again."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # compiled, without stubs

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _vital_processes() -> dict[int, str]:
    """Return the processes of Ray that the driver needs, by pid."""
    import ray

    found = ray._private.worker._global_node.all_processes
    return {one.process.pid: name for name in ("raylet", "gcs_server") for one in found.get(name, [])}


def _vital_paths() -> list[Path]:
    """Return the folder of the session, and the files in it that a new worker process needs."""
    import ray

    node = ray._private.worker._global_node
    files = [node.raylet_socket_name, node.plasma_store_socket_name, os.environ["RAY_AUTH_TOKEN_PATH"]]
    return [Path(node.get_session_dir_path()), *map(Path, files)]


@contextmanager
def _local_processes(workers: int) -> Iterator[None]:
    """Let the block start few processes, which create files for this user only and ignore a closed terminal.

    A trial restores the user's umask.
    """
    before = os.umask(0o077)
    try:
        variables = {UMASK_VARIABLE: f"{before:o}", **TUNES_VARIABLES, **(PRELOADED if workers else {})}
        with few_processes(workers), _environment(variables), ignored_hangup():
            yield
    finally:
        os.umask(before)


@contextmanager
def _environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Change environment variables in the block; None removes one."""
    before = {key: os.environ.get(key) for key in changes}
    _set_environment(changes)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(values: Mapping[str, str | None]) -> None:
    for key, value in values.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value
