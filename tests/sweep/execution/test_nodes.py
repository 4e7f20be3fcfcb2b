"""The nodes of a cluster are checked before anything is written; a request to the autoscaler is withdrawn."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import sweep.execution.ray.nodes
from search_spaces.errors import EnvironmentMismatchError, SpecError
from sweep.config.spec import Spec
from sweep.config.toml import parse_spec
from sweep.driver.driver import drive
from sweep.execution.ray.nodes import alive_nodes, check_nodes, check_resources
from sweep.folder.control import ControlFolder, put_request
from sweep.folder.paths import SweepFolder
from sweep.process.signals import Stopped
from tests.sweep.loopback_cluster import loopback_cluster
from trainables.runtime.stop_signal import StopRequest

pytestmark = pytest.mark.ray

PATIENCE_SECONDS = 120  # a bound for what hangs
TOO_LARGE = """
data = "synthetic:n_train=1000,n_test=100,seed=0"
epochs = 1
[protocol]
batch_size = 64
[resources]
cpus_per_trial = 1000
[[configurations]]
optimizer = {name = "SGD", lr = 0.05}
"""


def waiting(**overrides: Any) -> Spec:
    return parse_spec(TOO_LARGE, where="s.toml", name="s", overrides=overrides)


def asked_of_the_cluster() -> list[Any]:
    """Return the resources that Ray's autoscaler is asked for, as it reads them."""
    from ray._private.ray_constants import AUTOSCALER_RESOURCE_REQUEST_CHANNEL
    from ray.experimental.internal_kv import _internal_kv_get

    return list(json.loads(_internal_kv_get(AUTOSCALER_RESOURCE_REQUEST_CHANNEL) or b"[]"))


@pytest.mark.parametrize("how", [Stopped, KeyboardInterrupt])
def test_the_request_to_the_autoscaler_is_withdrawn_however_the_wait_ends(
    ray: Any, how: type[KeyboardInterrupt]
) -> None:
    seen: list[list[Any]] = []

    def heard() -> StopRequest:
        seen.append(asked_of_the_cluster())
        if how is KeyboardInterrupt:
            raise KeyboardInterrupt
        return StopRequest.STOP

    with pytest.raises(how):
        check_resources(waiting(**{"cluster.autoscale_timeout": 3600}), requested=heard)
    assert "1000" in str(seen)
    assert asked_of_the_cluster() == []


def test_a_cluster_that_does_not_grow_is_reported_with_what_is_missing(ray: Any) -> None:
    with pytest.raises(SpecError, match=r"resources.cpus_per_trial.*asked 1000 CPU a trial, the cluster has 2"):
        check_resources(waiting(**{"cluster.autoscale_timeout": 0.1}))
    assert asked_of_the_cluster() == []


def test_a_new_sweep_that_is_stopped_while_it_waits_for_the_cluster_leaves_nothing(ray: Any, tmp_path: Path) -> None:
    """Neither a folder that cannot be resumed, nor the record of a driver in its storage."""
    folder = SweepFolder(tmp_path / "runs", "s")

    def ask() -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while "waiting up to" not in screen.getvalue() and time.monotonic() < until:
            time.sleep(0.05)
        driver = json.loads(folder.lock.read_text())["driver"]
        put_request(ControlFolder(folder.control), "stop", driver)

    screen = io.StringIO()
    asking = threading.Thread(target=ask)
    asking.start()
    spec = waiting(**{"cluster.autoscale_timeout": 3600, "storage": str(tmp_path / "shared")})
    with pytest.raises(Stopped):
        drive(spec, folder.runs_dir, Console(file=screen, width=200))
    asking.join()
    assert not folder.path.exists()
    assert [name for _, _, names in os.walk(tmp_path / "shared") for name in names] == []


@pytest.mark.cluster
def test_an_autoscaling_cluster_gets_time_to_grow(tmp_path: Path) -> None:
    """Ray's autoscaler runs, and there is no node for training until a sweep requests one."""
    with loopback_cluster(tmp_path, grows=True) as cluster:
        (tmp_path / "s.toml").write_text(TOO_LARGE.replace("cpus_per_trial = 1000", "cpus_per_trial = 2"))
        code, said = cluster.sweep(
            tmp_path, "run", "s.toml", "--seeds", "1", "--address", cluster.address, "--autoscale-timeout", "3600"
        )
        assert code == 0, said
        assert "the cluster has 0; waiting up to 3600 s for the cluster to grow" in said
        assert "1 done" in said


def test_a_node_that_leaves_during_the_check_is_no_error(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {"NodeID": "ab" * 28, "NodeManagerAddress": "127.0.0.9", "Alive": True}
    answers = [[*alive_nodes(), gone], alive_nodes()]
    monkeypatch.setattr(sweep.execution.ray.nodes, "alive_nodes", lambda: answers.pop(0))
    check_nodes()
    answers[:] = [[*ray.nodes(), gone]] * 2
    with pytest.raises(EnvironmentMismatchError, match=r"node 127\.0\.0\.9 cannot run a task"):
        check_nodes()
