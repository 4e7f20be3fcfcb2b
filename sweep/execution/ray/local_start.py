"""How Ray starts on this machine: with few processes, and with workers that import while the driver does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sweep.config.spec import Spec
from sweep.planning.plan import DEFAULT_PACK
from sweep.planning.slots import slots_of
from sweep.process.cpus import available_cpus

NO_PRESTART = {"RAY_prestart_worker_first_driver": "0"}
"""Without it Ray starts a worker for every CPU at once. A worker then starts with the first actor that needs it."""
IMPORTING = {"RAY_preload_python_modules": "trainables.ray_trainable"}
"""With it every worker imports what a trial needs before it gets its first actor."""


def start_of_workers(spec: Spec) -> dict[str, str]:
    """Return the environment in which Ray starts its workers for ``spec``.

    Where the trials will certainly fill this machine, the workers start at once and import PyTorch while the driver
    does. A worker that will use a GPU imports it later, when Ray has told it which.
    """
    slots = slots_of({"CPU": float(available_cpus())}, spec.resources.cpus, 0)
    fills = slots == available_cpus() and spec.most_packs >= DEFAULT_PACK * slots and not spec.resources.max_concurrent
    return IMPORTING if fills and spec.resources.gpus_per_trial == 0 else NO_PRESTART


@contextmanager
def few_processes() -> Iterator[None]:
    """Let Ray start without the processes that nothing here uses, in the block.

    Ray's ``include_dashboard=False`` still starts the server of the dashboard, and ``log_to_driver=False`` still starts
    the process that reads the logs. Both are left out, and the monitor of the autoscaler. The agent that Ray needs on
    each node starts without the modules of the dashboard, as it does where they are not installed. A version of Ray
    that has no function of one of these names starts its process.
    """
    from ray._private import node, utils

    def no_server(self: Any, **options: Any) -> None:
        self._webui_url = None

    changes: list[tuple[Any, str, Callable[..., Any]]] = [
        (node.Node, "start_api_server", no_server),
        (node.Node, "start_log_monitor", lambda self: None),
        (node.Node, "start_monitor", lambda self: None),
        (utils, "get_dashboard_dependency_error", lambda: ImportError("it is not used")),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes if hasattr(owner, name)]
    try:
        for owner, name, function in changes:
            if hasattr(owner, name):
                setattr(owner, name, function)
        yield
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)
