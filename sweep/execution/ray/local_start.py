"""How Ray starts on this machine: with few processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


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
