"""A sweep on this machine opens no port to the network, and asks whoever finds one for a token."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 180

PROGRAM = """
import json, psutil
from sweep.execution.ray.session import ray_session

with ray_session("local"):
    import ray
    from ray._raylet import AuthenticationMode, get_authentication_mode

    ray.get(ray.remote(lambda: 1).remote())  # a worker has begun
    here = psutil.Process()
    found = [
        (process.name(), connection.laddr.ip)
        for process in [here, *here.children(recursive=True)]
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    print(json.dumps({"listening": found, "token": get_authentication_mode() == AuthenticationMode.TOKEN}))
"""


@pytest.fixture(scope="module")
def local_ray() -> dict[str, Any]:
    """What Ray's processes listen on while a local session is up, without any setting of this process's own Ray."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=PATIENCE_SECONDS,
        check=True,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return answer


def test_every_port_of_a_local_session_is_on_loopback(local_ray: dict[str, Any]) -> None:
    open_to_all = []
    for process, ip in local_ray["listening"]:
        address = ipaddress.ip_address(ip)
        mapped = getattr(address, "ipv4_mapped", None) or address  # ::ffff:127.0.0.1 is 127.0.0.1
        if not mapped.is_loopback:
            open_to_all.append((process, ip))
    assert {"gcs_server", "raylet"} <= {process for process, _ in local_ray["listening"]}
    assert open_to_all == []


def test_a_local_session_asks_for_a_token(local_ray: dict[str, Any]) -> None:
    assert local_ray["token"] is True
