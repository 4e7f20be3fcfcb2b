"""How Ray starts on this machine: with few processes, which the trials use."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sweep.config.spec import Resources
from sweep.process.cpus import available_cpus

MOST_STARTED = 8
"""Most workers that import PyTorch before it is known how many trials there are; each has about 300 MB."""
IDLE_MS = 60_000
"""How long a worker waits for a trial. By default Ray ends after a second what waits beyond the free CPUs, and Tune
reserves the CPUs of a trial before it starts its process."""
PRELOADED = {
    "RAY_preload_python_modules": "trainables.preload",
    "RAY_idle_worker_killing_time_threshold_ms": str(IDLE_MS),
}
"""Variables with which Ray's workers import in advance, and are there when the first trial starts."""
PRESTART = "--num_prestart_python_workers="


def workers_to_start(resources: Resources, runs: int | None) -> int:
    """Return how many workers a local Ray starts in advance: one for each trial that can run at a time, up to a limit.

    ``runs`` is the number of runs, of which a trial trains one or more; None: not known yet, as in a benchmark.
    """
    limits = [int(available_cpus() / resources.cpus), resources.max_concurrent or None, runs, MOST_STARTED]
    return max(1, min(limit for limit in limits if limit is not None))


@contextmanager
def few_processes(workers: int = 0) -> Iterator[None]:
    """Let Ray start without the processes that nothing here uses, in the block.

    With ``workers``, Ray starts that many workers in advance; otherwise it starts one for each CPU.

    Ray's ``include_dashboard=False`` still starts the server of the dashboard, and ``log_to_driver=False`` still starts
    the process that reads the logs. Both are left out, and the monitor of the autoscaler. The agent that Ray needs on
    each node starts without the modules of the dashboard, as it does where they are not installed.
    """
    from ray._private import node, services, utils

    start = services.start_ray_process

    def no_server(self: Any, **options: Any) -> None:
        self._webui_url = None

    def start_workers(command: Sequence[str], *arguments: Any, **options: Any) -> Any:
        words = [f"{PRESTART}{workers}" if workers and word.startswith(PRESTART) else word for word in command]
        return start(words, *arguments, **options)

    changes: list[tuple[Any, str, Callable[..., Any]]] = [
        (services, "start_ray_process", start_workers),
        (node.Node, "start_api_server", no_server),
        (node.Node, "start_log_monitor", lambda self: None),
        (node.Node, "start_monitor", lambda self: None),
        (utils, "get_dashboard_dependency_error", lambda: ImportError("it is not used")),
    ]
    with replaced(changes):
        yield


@contextmanager
def trials_in_started_workers() -> Iterator[None]:
    """Let Tune place its trials in the block in the workers that Ray has started in advance.

    Tune gives the class of its trials a runtime environment with some variables of this process. Ray then starts a new
    worker for each trial, because those that wait have no runtime environment. The workers of a Ray that this process
    has started inherit its variables, so the class needs no runtime environment there.
    """
    from ray import remote
    from ray.tune.execution import class_cache

    actor_class = functools.cache(remote)  # Ray stores a class once for each call
    cache = getattr(class_cache, "_ActorClassCache", None)
    with replaced([(cache, "get", lambda self, trainable: actor_class(trainable))]):
        yield


@contextmanager
def replaced(changes: Sequence[tuple[Any, str, Callable[..., Any]]]) -> Iterator[None]:
    """Replace functions of Ray in the block: each is an owner, a name and what is called in its place.

    A version of Ray that has no function of one of these names keeps its behaviour.
    """
    known = [change for change in changes if hasattr(*change[:2])]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in known]
    try:
        for owner, name, function in known:
            setattr(owner, name, function)
        yield
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)
