"""What becomes of a pack that failed: a node that was lost is no fault of its runs, by Ray's own words for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from results.ledger.ledger import Ledger
from sweep.config.toml import parse_spec
from sweep.execution.ray import trials
from sweep.execution.ray.ledger_callback import Failure
from sweep.execution.ray.trials import MOST_LOST_NODES, Round, Trials
from sweep.folder.paths import SweepFolder
from sweep.planning.plan import Pack
from sweep.process.signals import Stopping
from tests.builders import two_by_two_runs

PACK = Pack(tuple(run for run in two_by_two_runs() if run.seed == two_by_two_runs()[0].seed))
NODE_DIED = "The actor died because its node has died. Node Id: "
TASK_OF_NODE = "Task failed because the node it was running on is dead or unavailable. Node IP: "
WORKER_DIED = "The actor is dead because its worker process has died. Worker exit type: "


def died(message: str) -> str:
    """Return what Tune writes of an actor that died, Ray having given ``message`` as the reason."""
    from ray.core.generated.common_pb2 import ActorDiedErrorContext
    from ray.exceptions import ActorDiedError

    context = ActorDiedErrorContext(
        class_name="PackTrainable", actor_id=b"\1" * 16, pid=7, node_ip_address="10.0.0.3", error_message=message
    )
    return f"Traceback (most recent call last):\nray.exceptions.ActorDiedError: {ActorDiedError(context)}\n"


def node_died() -> str:
    return died(f"{NODE_DIED}8d1f\n\tthe actor's node was terminated unexpectedly: health check failed due to ...")


@pytest.fixture
def settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trials]:
    """Trials that settle and never train: no Ray is needed for the actor that would tell them of the end."""
    monkeypatch.setattr(trials, "_stop_signal", lambda stop: "")
    block = '\n[[configurations]]\noptimizer = {name = "SGD", lr = 0.1}\n'
    spec = parse_spec(f"[resources]\nretries = 2\n{block}", where="s.toml", name="s")
    folder = SweepFolder(tmp_path, "s")
    folder.create()
    nothing: Any = None
    with Ledger.create_or_open(folder.ledger) as ledger:
        ledger.plan(list(PACK.runs), 3, data_name="synthetic", synthetic=True)
        ledger.plan_packs([(PACK.pack_id, PACK.run_ids)], "2")
        yield Trials(spec, nothing, folder, ledger, nothing, Stopping(), nothing, fail_fast=False)


def test_the_words_are_those_of_this_ray() -> None:
    import ray

    place = Path(ray.__file__).parent
    server = (place / "core" / "src" / "ray" / "gcs" / "gcs_server").read_bytes()
    assert NODE_DIED.encode() in server
    assert WORKER_DIED.encode() in server
    library = (place / "_raylet.so").read_bytes()
    assert TASK_OF_NODE.encode() in library
    assert b"Actor died by preemption." in library


def test_a_lost_node_is_told_from_a_process_that_died() -> None:
    from ray.exceptions import LocalRayletDiedError, NodeDiedError

    for lost in (
        node_died(), died(f"{NODE_DIED}8d1f\n\tthe actor's node was preempted: "), died("Actor died by preemption."),
        f"ray.exceptions.NodeDiedError: {NodeDiedError(f'{TASK_OF_NODE}10.0.0.3, node ID: 8d1f.')}",
        f"ray.exceptions.LocalRayletDiedError: {LocalRayletDiedError()}",
    ):  # fmt: skip
        failure = Failure(PACK, lost, progressed=False)
        assert failure.lost_its_node
        assert not failure.may_be_one_run
    for process in (
        died(f"{WORKER_DIED}SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error."),
        "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.",
    ):
        failure = Failure(PACK, process, progressed=False)
        assert not failure.lost_its_node
        assert failure.may_be_one_run


def test_a_pack_that_loses_its_nodes_is_not_taken_apart_and_not_tried_for_ever(settled: Trials) -> None:
    now = Round((PACK,), 1, 0.25)
    for _ in range(MOST_LOST_NODES):
        said = settled._settle(Failure(PACK, node_died(), progressed=False), now)
        assert said == "its node was lost: it is tried again from its last checkpoint"
        assert settled.next_round() == now
    assert settled._settle(Failure(PACK, node_died(), progressed=False), now) == "it is tried again at the end"
    last = settled.next_round()
    assert last == Round((PACK,), 0, 0.25, last=True)
    assert settled._settle(Failure(PACK, node_died(), progressed=False), last) is None


def test_a_run_that_is_trained_alone_is_tried_again_where_its_node_was_lost(settled: Trials) -> None:
    assert settled._settle(Failure(PACK, died(f"{WORKER_DIED}SYSTEM_ERROR"), progressed=False), Round((PACK,), 1, 0.0))
    alone = settled.next_round()
    assert alone is not None
    assert [len(pack.runs) for pack in alone.packs] == [1, 1]
    assert alone.last
    settled._settle(Failure(alone.packs[0], node_died(), progressed=False), alone)
    assert settled.next_round() == Round(alone.packs[:1], 1, 0.0, last=True)
