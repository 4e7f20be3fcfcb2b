"""A Ray cluster of several nodes on loopback: each a process with an address, logical CPUs and GPUs of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 400  # a bound for what hangs; no test passes by it
HIDE = 'mount -t tmpfs tmpfs "$0" && exec "$@"'
FREE_PORTS = ["--dashboard-agent-listen-port=0", "--min-worker-port=0", "--max-worker-port=0"]
"""Ray's own choice would be the same for every cluster of this machine."""
COUNT = """
import sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR", configure_logging=False)
while sum(node["Alive"] for node in ray.nodes()) != int(sys.argv[2]):
    time.sleep(0.1)
"""


class Node:
    """One ``ray start --block``; what it started ends with it."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        with log.open("a") as said:
            self.process = subprocess.Popen(
                command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=log.parent
            )

    def kill(self) -> None:
        """SIGKILL to the node and all that runs on it, as when its power fails."""
        processes = []
        with suppress(psutil.NoSuchProcess):
            here = psutil.Process(self.process.pid)
            processes = [here, *here.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=30)
        self.process.wait(30)


class LoopbackCluster:
    """A head that trains nothing, at 127.0.0.2, and the nodes that are added beside it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.hidden = place / "driver"
        self.hidden.mkdir()
        tried = subprocess.run(["unshare", "-m", "sh", "-c", HIDE, str(self.hidden), "true"], check=False)
        self.hides = tried.returncode == 0
        self.python = self._python_without_us()
        self.temp = Path(tempfile.mkdtemp(prefix="lsr", dir="/tmp"))  # Ray's sockets want a short path
        with socket.create_server(("127.0.0.2", 0)) as server:
            self.address = f"127.0.0.2:{server.getsockname()[1]}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        self.environment = kept | {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0",
            "LENET_SWEEP_ANSWER_SECONDS": "120",  # all nodes share this machine with other work
            "RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "4",
        }  # fmt: skip
        self.nodes: list[Node] = []
        self.head = self._start_head()

    def _python_without_us(self) -> str:
        """Return a Python that has every library that this one has, and nothing of this project."""
        venv.create(self.place / "python", symlinks=True)
        (site,) = (self.place / "python" / "lib").glob("python*/site-packages")
        libraries = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        (site / "libraries.pth").write_text("\n".join(libraries))
        return str(self.place / "python" / "bin" / "python")

    def _start(self, name: str, *arguments: str, hide: bool = True, **environment: str) -> Node:
        command = [self.python, "-m", "ray.scripts.scripts", "start", *arguments, "--disable-usage-stats", "--block"]
        command += FREE_PORTS
        if hide and self.hides:
            command = ["unshare", "-m", "sh", "-c", HIDE, str(self.hidden), *command]
        return Node(command, self.environment | environment, self.place / f"{name}.log")

    def _start_head(self) -> Node:
        host, _, port = self.address.partition(":")
        head = self._start(
            "head", "--head", f"--node-ip-address={host}", f"--port={port}", "--num-cpus=0", "--num-gpus=0",
            "--include-dashboard=false", f"--temp-dir={self.temp}", hide=False,
        )  # fmt: skip
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert head.process.poll() is None, (self.place / "head.log").read_text()
            assert time.monotonic() < until
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return head
            except OSError:
                time.sleep(0.1)

    def add(self, number: int, **environment: str) -> Node:
        """Start the node 127.0.0.``number`` with one logical GPU."""
        node = self._start(
            f"node{number}", f"--address={self.address}", f"--node-ip-address=127.0.0.{number}", "--num-cpus=4",
            "--num-gpus=1", **environment,
        )  # fmt: skip
        self.nodes.append(node)
        return node

    def wait_for_nodes(self) -> None:
        """Wait until every node that lives has joined, and every other one is given up."""
        alive = 1 + sum(node.process.poll() is None for node in self.nodes)
        subprocess.run(
            [sys.executable, "-c", COUNT, self.address, str(alive)], env=self.environment, check=True,
            stderr=subprocess.DEVNULL, timeout=PATIENCE_SECONDS,
        )  # fmt: skip

    def restart(self, *numbers: int) -> None:
        """Kill the head and with it the cluster; start a new one at the same address with these nodes."""
        self.head.kill()
        for node in self.nodes:
            node.kill()
        self.nodes.clear()
        self.head = self._start_head()
        for number in numbers:
            self.add(number)
        self.wait_for_nodes()

    def close(self) -> None:
        """End all of it."""
        for node in [*self.nodes, self.head]:
            node.kill()
        shutil.rmtree(self.temp, ignore_errors=True)


@contextmanager
def loopback_cluster(place: Path) -> Iterator[LoopbackCluster]:
    """Run a cluster while the block runs; a token of its own keeps everybody else out."""
    cluster = LoopbackCluster(place)
    try:
        yield cluster
    finally:
        cluster.close()
