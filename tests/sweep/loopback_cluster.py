"""A Ray cluster of several nodes on loopback: each is a process with its own address, logical CPUs and GPUs."""

from __future__ import annotations

import json
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
from typing import Any

import psutil

from results.ledger.ledger import Ledger
from search_spaces.errors import LedgerError
from tests.sweep.sweeps import command, environment

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
        self.log = log
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
    """A head that trains nothing, and the nodes that are added to it, in a separate network, 127.0.N.0/24."""

    def __init__(self, place: Path, *, grows: bool = False) -> None:
        """Start the head; where the cluster ``grows``, with an autoscaler that adds a node of two CPUs when asked."""
        self.place = place
        self.grows = grows
        self.hidden = place / "driver"
        self.hidden.mkdir()
        tried = subprocess.run(["unshare", "-m", "sh", "-c", HIDE, str(self.hidden), "true"], check=False)
        self.hides = tried.returncode == 0
        self.python = self._python_without_us()
        self.temp = Path(tempfile.mkdtemp(prefix="lsr", dir="/tmp"))  # Ray's sockets need a short path
        self.network = f"127.0.{1 + secrets.randbelow(254)}"
        with socket.create_server(("", 0)) as server:  # Ray uses it on every interface
            self.address = f"{self.network}.2:{server.getsockname()[1]}"
        self.environment = environment() | {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0",
            "LENET_SWEEP_ANSWER_SECONDS": "120",  # all nodes share this machine with other work
            "RAY_prestart_worker_first_driver": "0",  # a trial's process is another one: it is sent the packages
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
        command = [self.python, "-m", "ray.scripts.scripts", "start", *arguments, "--disable-usage-stats", "--block",
                   "--include-log-monitor=false"]  # fmt: skip
        command += [*FREE_PORTS, f"--temp-dir={self.temp}/{name}"]  # nodes that share one may choose the same socket
        if hide and self.hides:
            command = ["unshare", "-m", "sh", "-c", HIDE, str(self.hidden), *command]
        return Node(command, self.environment | environment, self.place / f"{name}.log")

    def _start_head(self) -> Node:
        host, _, port = self.address.partition(":")
        more, environment = [], {}
        if self.grows:
            config = self.place / "autoscaling.json"
            config.write_text(json.dumps(autoscaling(self.address)))
            more = [f"--autoscaling-config={config}"]
            environment = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        head = self._start(
            "head", "--head", f"--node-ip-address={host}", f"--port={port}", "--num-cpus=0", "--num-gpus=0",
            "--include-dashboard=false", *more, hide=False, **environment,
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
        """Start the node ``number`` of the network, with one logical GPU."""
        node = self._start(
            f"{number}", f"--address={self.address}", f"--node-ip-address={self.network}.{number}", "--num-cpus=4",
            "--num-gpus=1", **environment,
        )  # fmt: skip
        self.nodes.append(node)
        return node

    def wait_for_nodes(self) -> None:
        """Wait until every running node has joined, and the cluster has dropped the others."""
        alive = [node for node in (self.head, *self.nodes) if node.process.poll() is None]
        words = [sys.executable, "-c", COUNT, self.address, str(len(alive))]
        until = time.monotonic() + PATIENCE_SECONDS
        with subprocess.Popen(words, env=self.environment, stderr=subprocess.DEVNULL) as counting:
            try:
                while counting.poll() is None:
                    for node in alive:
                        assert node.process.poll() is None, node.log.read_text()
                    assert time.monotonic() < until
                    time.sleep(0.1)
            finally:
                counting.kill()
        assert counting.returncode == 0

    def begin(self, folder: Path, *words: str, **changes: str) -> subprocess.Popen[str]:
        """Start ``sweep WORDS`` in ``folder``, as a user who has the cluster's token."""
        return subprocess.Popen(
            command(*words, ray=True), cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=self.environment | changes,
        )  # fmt: skip

    def sweep(self, folder: Path, *words: str, **changes: str) -> tuple[int, str]:
        """Run the same to its end; return its exit code and its output."""
        return end_of(self.begin(folder, *words, **changes))

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


def autoscaling(address: str) -> dict[str, Any]:
    """Return the configuration of Ray's own test provider, whose nodes are processes on this machine."""
    nothing = [
        "cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands", "setup_commands",
        "head_setup_commands", "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands",
    ]  # fmt: skip
    return {key: [] for key in nothing} | {
        "cluster_name": "grows", "max_workers": 1, "upscaling_speed": 1.0, "idle_timeout_minutes": 5, "auth": {},
        "file_mounts": {}, "file_mounts_sync_continuously": False, "head_node_type": "ray.head.default",
        "provider": {
            "type": "fake_multinode", "gcs_address": address, "use_node_id_as_ip": True,
            "disable_node_updaters": True, "disable_launch_config_check": True,
        },
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 2}, "node_config": {}, "min_workers": 0, "max_workers": 1},
        },
    }  # fmt: skip


@contextmanager
def loopback_cluster(place: Path, *, grows: bool = False) -> Iterator[LoopbackCluster]:
    """Run a cluster while the block runs; it has its own token, so no other process can join."""
    cluster = LoopbackCluster(place, grows=grows)
    try:
        yield cluster
    finally:
        cluster.close()


def end_of(driver: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code of a command and its output."""
    try:
        said, _ = driver.communicate(timeout=PATIENCE_SECONDS)
    finally:
        driver.kill()
    return driver.returncode, said


def wait_for_epochs(count: int, folder: Path, driver: subprocess.Popen[str], *, of_each: bool = False) -> None:
    """Wait until the ledger has ``count`` run-epochs, or so many of each of its runs."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
                ((runs,),) = ledger.rows("SELECT COUNT(*) FROM runs", {})
                recorded = ledger.epochs_recorded().values()
                if not of_each and sum(recorded) >= count:
                    return
                if of_each and runs and len(recorded) == runs and min(recorded) >= count:
                    return
        except LedgerError:  # it is not made yet
            pass
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.05)
