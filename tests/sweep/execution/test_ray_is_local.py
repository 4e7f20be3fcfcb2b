"""A sweep on this machine opens no port to the network, and other users of the machine get neither token nor files."""

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
SCRIPTS = ("gcs_server", "raylet/raylet", "dashboard/dashboard.py", "log_monitor.py", "_private/monitor.py")

PROGRAM = """
import json, os, psutil, subprocess
from pathlib import Path
from sweep.execution.ray.session import ray_session
from sweep.execution.ray.trials import start_stop_signal
from sweep.process.signals import Stopping

NOBODY = 65534

def as_another_user(*words):
    return subprocess.run(words, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True).returncode

os.umask(0o022)
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
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    begun = [process.pid for process in here.children(recursive=True)]
    stop_file = Path(start_stop_signal(Stopping()))
    lines = [" ".join(psutil.Process(pid).cmdline()) for pid in begun]
    others = {}
    if os.getuid() == 0:
        others = {"reads": as_another_user("cat", token), "lists": as_another_user("ls", session)}
        others["lists /"] = as_another_user("ls", "/")
    facts = {
        "token": get_authentication_mode() == AuthenticationMode.TOKEN,
        "modes": [oct(path.stat().st_mode & 0o777) for path in (token, token.parent)],
        "together": session.is_relative_to(token.parent),
        "umasks": sorted({line.split()[1] for pid in begun for line in open(f"/proc/{pid}/status") if "Umask" in line}),
        "others": others,
        "secret": token.read_text(),
        "stop file": [stop_file.is_relative_to(token.parent), stop_file.stat().st_size],
        "lines": lines,
    }
print(json.dumps({"listening": found, **facts, "left": token.parent.exists(),
    "settings": [key for key in os.environ if key.startswith("RAY_AUTH")],
    "alive": [pid for pid in begun if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]}))
"""


@pytest.fixture(scope="module")
def local_ray() -> dict[str, Any]:
    """What Ray's processes listen on while a local session is up, without any setting of this process's own Ray."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment["RAY_AUTH_TOKEN"] = "f" * 64  # that of a cluster; it is not given to a local session
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


def test_a_local_session_requires_a_token_of_this_session(local_ray: dict[str, Any]) -> None:
    assert local_ray["token"] is True
    assert len(local_ray["secret"]) == 64
    assert set(local_ray["secret"]) != {"f"}
    assert local_ray["settings"] == ["RAY_AUTH_TOKEN"]  # the user's own setting is as before


def test_token_and_session_are_for_this_user_only(local_ray: dict[str, Any]) -> None:
    assert local_ray["modes"] == ["0o600", "0o700"]
    assert local_ray["together"] is True
    assert local_ray["umasks"] == ["0077"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run a command as another user")
def test_another_user_can_neither_read_the_token_nor_list_the_session(local_ray: dict[str, Any]) -> None:
    assert local_ray["others"]["lists /"] == 0
    assert local_ray["others"]["reads"] != 0
    assert local_ray["others"]["lists"] != 0


def test_only_the_processes_that_a_sweep_uses_are_started(local_ray: dict[str, Any]) -> None:
    """``ray.init`` alone also starts the server of the dashboard, the log monitor and the autoscaler's monitor."""
    scripts = {script for line in local_ray["lines"] for script in SCRIPTS if script in line}
    assert scripts == {"gcs_server", "raylet/raylet"}


def test_the_stop_request_of_a_local_session_is_a_file_that_only_this_user_reaches(local_ray: dict[str, Any]) -> None:
    assert local_ray["stop file"] == [True, 1]


def test_a_session_that_ended_leaves_nothing(local_ray: dict[str, Any]) -> None:
    assert local_ray["left"] is False
    assert local_ray["alive"] == []
