"""A Ray cluster on this machine: each node has separate processes, an object store and logical CPUs."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

OBJECT_STORE_BYTES = 500 * 2**20
LOOPBACK = "127.0.0.1"
DRIVER_NODE, OTHER_NODE = "driver_node", "other_node"
"""Resources that exist on the head only, and on the other nodes only."""


@contextmanager
def loopback_cluster(cpus: Sequence[int], place: Path) -> Iterator[str]:
    """Start a node for each of ``cpus``, the head first, yield the head's address, and end all their processes.

    Call it in a separate process before Ray is imported: environment variables make Ray bind to loopback only, require
    a token, and store its files in ``place``. (``ray start`` refuses a second node with such a binding.)

    Args:
        cpus: each node's logical CPUs; they are slots, not cores.
        place: a folder with a short path, since that of a socket has at most 107 bytes.
    """
    place.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_TMPDIR": str(place), "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0",
    }  # fmt: skip
    from ray.cluster_utils import Cluster

    shared = {"object_store_memory": OBJECT_STORE_BYTES, "node_ip_address": LOOPBACK}
    head, *others = cpus
    cluster = Cluster(
        initialize_head=True,
        head_node_args={**shared, "num_cpus": head, "resources": {DRIVER_NODE: 1}, "include_dashboard": False},
    )
    try:
        for count in others:
            cluster.add_node(**shared, num_cpus=count, resources={OTHER_NODE: 1})
        yield cluster.address
    finally:
        cluster.shutdown()
