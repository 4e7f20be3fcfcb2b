"""One sweep on several nodes of a real Ray cluster: nodes die and join, the head is restarted, storage fails.

The nodes see none of the driver's folders (a separate mount hides them, where this is allowed).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from results.ledger.ledger import Ledger
from tests.sweep.loopback_cluster import PATIENCE_SECONDS, LoopbackCluster, end_of, loopback_cluster, wait_for_epochs
from tests.sweep.sweeps import finish, rows_of
from tests.trainables.s3_server import BUCKET, S3Server

pytestmark = [pytest.mark.ray, pytest.mark.cluster]


SPEC = """
data = "synthetic:n_train=1000,n_test=100,seed=0"
epochs = 8
seeds = 8
test_epochs = "all"
[protocol]
batch_size = 64
[resources]
pack = 1
gpus_per_trial = 0.25
checkpoint_seconds = 1
[[configurations]]
optimizer = {name = "SGD", lr = 0.05, momentum = 0.9}
"""
LONG = "24"


@pytest.fixture(scope="module")
def cluster(server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackCluster]:
    """A head and two nodes with a logical GPU each: eight slots of 0.25. They have the keys to ``server``."""
    with loopback_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.add(3)
        cluster.add(4)
        yield cluster


@pytest.fixture
def place(cluster: LoopbackCluster, request: pytest.FixtureRequest) -> Path:
    """A folder that the nodes do not see, with the spec in it."""
    place = cluster.hidden / request.node.name.partition("[")[0][:40]
    place.mkdir()
    (place / "s.toml").write_text(SPEC)
    return place


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The rows of the same sweep on one node, for longer: no schedule depends on the number of epochs.

    (The GPUs of the cluster are logical ones: all trials use the CPU.)
    """
    folder = tmp_path_factory.mktemp("alone")
    (folder / "s.toml").write_text(SPEC)
    done = finish(folder, "run", "s.toml", "--epochs", LONG, "--gpus-per-trial", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    return rows_of(folder / "s")


def most_at_a_time(folder: Path) -> int:
    """Return how many packs trained at the same time, by the ledger's times of those that were done.

    Those that failed do not count: ``ended`` is when the driver learns that a node is dead. Trials may already train
    on the next node then.
    """
    with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
        (answer,) = ledger.read("SELECT started, ended FROM attempts WHERE outcome = 'done'")
    moments = sorted([(started, 1) for started, _ in answer.rows] + [(ended, -1) for _, ended in answer.rows])
    now, most = 0, 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


FULL = """
import sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR", configure_logging=False)
while ray.available_resources().get("GPU", 0) > 0:
    time.sleep(0.1)
print(ray.cluster_resources()["GPU"])
"""


def wait_until_full(cluster: LoopbackCluster) -> float:
    """Wait until no share of a GPU is free; return how many GPUs there are."""
    found = subprocess.run(
        [sys.executable, "-c", FULL, cluster.address], env=cluster.environment, capture_output=True, text=True,
        timeout=PATIENCE_SECONDS, check=True,
    )  # fmt: skip
    return float(found.stdout)


def test_a_node_dies_another_joins_the_storage_is_gone_and_the_rows_are_those_of_one_node(
    cluster: LoopbackCluster, server: S3Server, place: Path, alone: pd.DataFrame
) -> None:
    """At 0.25 GPU a trial exactly eight train at a time, on nodes that have no files of the sweep before."""
    bare = [cluster.python, "-c", "import trainables"]
    assert subprocess.run(bare, cwd=cluster.place, capture_output=True, check=False).returncode == 1
    folder = place / "runs" / "s"
    driver = cluster.begin(
        place, "run", "s.toml", "--address", cluster.address, "--storage", server.uri(BUCKET, "dies"), "--seeds", "10"
    )
    try:
        assert wait_until_full(cluster) == 2  # eight shares of 0.25
        wait_for_epochs(12, folder, driver)
        cluster.nodes[0].kill()
        server.fail_next(10)
        server.go_away()
        back = threading.Timer(20.0, server.come_back)
        back.start()
        cluster.add(5)
    except BaseException:
        driver.kill()
        raise
    code, said = end_of(driver)
    back.join()
    assert code == 0, said
    assert "10 done" in said
    assert most_at_a_time(folder) <= 8
    check_equal(rows_of(folder), alone, 8, 8)
    objects = server.client().list_objects_v2(Bucket=BUCKET, Prefix="dies/s/", MaxKeys=1000)["Contents"]
    names = {item["Key"].removeprefix("dies/s/") for item in objects}
    assert {"snapshot.json", "sweep.toml", "provenance.json", "status.json"} <= names
    assert sum(name.endswith(".ckpt") for name in names) >= 10
    assert "driver.json" not in names


def check_equal(rows: pd.DataFrame, alone: pd.DataFrame, seeds: int, epochs: int) -> None:
    """Every run of these seeds has every epoch, to the bits of one node."""
    asked = f"seed < {seeds} and epoch <= {epochs}"
    found, expected = (frame.query(asked).reset_index(drop=True) for frame in (rows, alone))
    assert len(found) == seeds * epochs
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


EACH = ("--seeds", "2", "--epochs", LONG, "--gpus-per-trial", "1")
"""One trial on each of two nodes, long enough that both still train when a fault happens."""


def test_the_head_dies_and_another_machine_continues_from_the_storage(
    cluster: LoopbackCluster, server: S3Server, place: Path, alone: pd.DataFrame
) -> None:
    """The folder of the first one is gone, too; rows that its last snapshot did not have come from the checkpoints."""
    folder = place / "runs" / "s"
    driver = cluster.begin(
        place, "run", "s.toml", *EACH, "--address", cluster.address, "--storage", server.uri(BUCKET, "head")
    )
    try:
        while not (folder / "published.json").exists():
            assert driver.poll() is None, driver.communicate()[0]
            time.sleep(0.05)
        wait_for_epochs(1, folder, driver, of_each=True)
        cluster.restart(5, 6)
    except BaseException:
        driver.kill()
        raise
    code, said = end_of(driver)
    assert code not in (0, 2), said
    shutil.rmtree(place / "runs")
    code, said = cluster.sweep(place, "resume", server.uri(BUCKET, "head/s"), "--address", cluster.address)
    assert code == 0, said
    assert "2 done" in said
    check_equal(rows_of(folder), alone, 2, int(LONG))


def test_without_storage_a_pack_whose_node_died_starts_over_to_the_same_bits(
    cluster: LoopbackCluster, place: Path, alone: pd.DataFrame
) -> None:
    if not cluster.hides:
        pytest.skip("needs the right to mount a file system, to hide the driver's folder from the nodes")
    folder = place / "runs" / "s"
    driver = cluster.begin(place, "run", "s.toml", *EACH, "--address", cluster.address)
    try:
        wait_for_epochs(1, folder, driver, of_each=True)
        cluster.nodes[-1].kill()
    except BaseException:
        driver.kill()
        raise
    code, said = end_of(driver)
    assert code == 0, said
    assert not list(folder.glob("checkpoints/*/*.ckpt"))  # they lay on the nodes
    with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
        (answer,) = ledger.read("SELECT attempts FROM runs ORDER BY attempts")
    assert answer.rows == [(1,), (2,)]  # one of them lost its node
    check_equal(rows_of(folder), alone, 2, int(LONG))


def test_an_impossible_sweep_is_one_line_and_leaves_nothing(
    cluster: LoopbackCluster, server: S3Server, place: Path
) -> None:
    """A wrong token, a node with another torch, and more GPU than there is."""
    stranger = cluster.place / "stranger"
    (stranger / "torch-2.0.0.dist-info").mkdir(parents=True)
    (stranger / "torch-2.0.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.0.0\n")
    cluster.add(7, PYTHONPATH=str(stranger))
    mistakes = [
        ([], {"RAY_AUTH_TOKEN": "f" * 64}, "the cluster has another token; put its own into RAY_AUTH_TOKEN"),
        (["--gpus-per-trial", "2"], {}, "asked 2 GPU a trial, its largest node has 1; "),
        (["--storage", server.uri("nowhere")], {}, "there is no such bucket"),
    ]
    drivers = [
        cluster.begin(place, "run", "s.toml", "--name", f"s{i}", "--address", cluster.address, *words, **changes)
        for i, (words, changes, _) in enumerate(mistakes)
    ]
    for driver, (_, _, told) in zip(drivers, mistakes, strict=True):
        code, said = end_of(driver)
        assert (code, told in said.splitlines()[-1]) == (2, True), said
        assert "Traceback" not in said
    assert not (place / "runs").exists() or not list((place / "runs").iterdir())
    cluster.wait_for_nodes()
    code, said = cluster.sweep(place, "run", "s.toml", "--address", cluster.address)
    assert code == 2, said
    assert f"node {cluster.network}.7 has torch 2.0.0, this driver 2." in said.splitlines()[-1]
