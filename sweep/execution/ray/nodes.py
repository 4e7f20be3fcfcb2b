"""The nodes of a cluster, checked before anything starts: resources and versions."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from search_spaces.errors import EnvironmentMismatchError, SpecError
from sweep.config.spec import Spec
from sweep.execution.ray.cluster import ANSWER_VARIABLE, answer_seconds
from sweep.planning.slots import slots_of
from sweep.process.signals import Stopped
from trainables.runtime.stop_signal import StopRequest

LEAST_ANSWER_SECONDS = 1.0
LIBRARIES = ("torch", "numpy")
MOST_NAMED = 4


def look(storage: str, marker: str) -> dict[str, str]:
    """Return, on a node, the versions that its runs depend on, and the error of its access to the storage, if any."""
    found = {"Python": platform.python_version()}
    for library in ("ray", *LIBRARIES):
        try:
            found[library] = importlib.metadata.version(library).partition("+")[0]  # +cpu and +cu126 are one release
        except importlib.metadata.PackageNotFoundError:
            found[library] = "none"
    if storage:
        from trainables.storage.addresses import open_storage

        try:
            if open_storage(storage, patience_seconds=5.0).read(marker) is None:
                found["storage"] = f"does not see {storage}: a file that the driver wrote there is missing"
        except Exception as error:  # with any error the node cannot be used
            found["storage"] = f"cannot use the storage ({error})"
    return found


def check_nodes(storage: str = "", marker: str = "", spent_seconds: float = 0.0) -> None:
    """Compare the versions of every node with those of this driver, by a task that needs no CPU.

    ``marker`` is a file that the driver wrote into ``storage``; ``spent_seconds`` is what connecting took of
    :func:`sweep.execution.ray.cluster.answer_seconds`. The first task on a node waits until what is sent there is
    unpacked.

    Raises:
        EnvironmentMismatchError: nodes that differ, do not answer or do not reach the storage, each by its name.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    until = time.monotonic() + max(LEAST_ANSWER_SECONDS, answer_seconds() - spent_seconds)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the nodes do not have this package
    try:
        task = ray.remote(num_cpus=0, max_retries=0)(look)
        asked = {
            task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                storage, marker
            ): node
            for node in alive_nodes()
        }
        ray.wait(list(asked), num_returns=len(asked), timeout=max(0.0, until - time.monotonic()))
    finally:
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    here, alive = look("", ""), {node["NodeID"] for node in alive_nodes()}
    problems = [
        f"node {node['NodeManagerAddress']} {problem}"
        for answer, node in asked.items()
        if node["NodeID"] in alive  # a node that left in the meantime trains nothing
        for problem in _problems(answer, here, ray)
    ]
    if problems:
        more = [f"and {len(problems) - MOST_NAMED} more"] if len(problems) > MOST_NAMED else []
        raise EnvironmentMismatchError(
            f"the nodes do not fit: {'; '.join([*problems[:MOST_NAMED], *more])}; "
            "give every node what this machine has (constraints.txt), or take it out of the cluster"
        )


def last_line(error: Exception) -> str:
    """Return the last line of a traceback of another process."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


def _problems(answer: Any, here: Mapping[str, str], ray: Any) -> list[str]:
    try:
        there = ray.get(answer, timeout=0)
    except ray.exceptions.GetTimeoutError:
        return [f"does not answer within {answer_seconds():g} s ({ANSWER_VARIABLE} gives a slow cluster more)"]
    except ray.exceptions.RayError as error:
        return [f"cannot run a task ({last_line(error)})"]
    differing = [f"has {key} {there[key]}, this driver {here[key]}" for key in here if there[key] != here[key]]
    return differing + ([there["storage"]] if "storage" in there else [])


def check_resources(
    spec: Spec,
    say: Callable[[str], None] = lambda text: None,
    requested: Callable[[], StopRequest] = lambda: StopRequest.NONE,
) -> None:
    """Refuse what no node of the cluster could ever place, after ``cluster.autoscale_timeout`` seconds at the latest.

    ``requested`` returns the present stop request.

    Raises:
        SpecError: more CPUs or GPUs a trial than any place has.
        Stopped: the end was asked for.
    """
    shortage, until = _shortage(spec), time.monotonic() + spec.cluster.autoscale_timeout
    if shortage is None:
        return
    if spec.cluster.autoscale_timeout:
        from ray.autoscaler.sdk import request_resources

        say(f"{shortage[1]}; waiting up to {spec.cluster.autoscale_timeout:g} s for the cluster to grow")
        asked = {"CPU": spec.resources.cpus, "GPU": spec.resources.gpus}
        try:
            request_resources(bundles=[{unit: amount for unit, amount in asked.items() if amount}])
            while (shortage := _shortage(spec)) is not None and time.monotonic() < until:
                if requested():
                    raise Stopped
                time.sleep(min(1.0, spec.cluster.autoscale_timeout))
        finally:
            request_resources(bundles=[])  # from here on the trials are the request
    if shortage is not None:
        grows = alive_nodes() and spec.cluster.address != "local" and not spec.cluster.autoscale_timeout
        hint = "0 trains on the CPU" if spec.resources.gpus_per_trial == "auto" else ""
        raise SpecError(*shortage, "for an autoscaling cluster add --autoscale-timeout SECONDS" if grows else hint)


def alive_nodes() -> list[dict[str, Any]]:
    """Return the entries of ``ray.nodes()`` that are alive."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _shortage(spec: Spec) -> tuple[str, str] | None:
    """Return the key and the problem if no node has room for one trial."""
    nodes = [node["Resources"] for node in alive_nodes()]
    resources = spec.resources
    for key, unit, asked in (("cpus_per_trial", "CPU", resources.cpus), ("gpus_per_trial", "GPU", resources.gpus)):
        there = max((node.get(unit, 0) for node in nodes), default=0)
        if asked > there:
            where = "the cluster has" if len(nodes) == 1 or not there else "its largest node has"
            if getattr(resources, key) == "auto":
                return f"resources.{key}", f"asked 'auto', {where} {there:g} {unit}"
            return f"resources.{key}", f"asked {asked:g} {unit} a trial, {where} {there:g}"
    if not any(slots_of(node, resources.cpus, resources.gpus) for node in nodes):
        asked_of_both = f"asked {resources.cpus:g} CPU and {resources.gpus:g} GPU a trial, no node has both"
        return "resources.gpus_per_trial", asked_of_both
    return None
