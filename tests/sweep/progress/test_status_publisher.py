"""A driver publishes the state of its cluster and its runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel
from rich.console import Console

from sweep.config.spec import Resources
from sweep.folder.control import PUBLISH_SECONDS, Control
from sweep.folder.lease import Holder
from sweep.folder.status import STATES
from sweep.planning.plan import Pack
from sweep.planning.slots import slots_of
from sweep.progress.live_view import Progress, Recorded
from sweep.progress.status_publisher import StatusPublisher, describe_nodes
from tests.builders import row_of, two_by_two_runs


@pytest.mark.parametrize(
    ("cpus", "gpus", "cpus_per_trial", "gpus_per_trial", "slots"),
    [
        (4, 0, 1, 0, 4),
        (4, 0, 3, 0, 1),
        (2, 0, 0.1, 0, 20),
        (16, 2, 1, 0.25, 8),
        (3, 2, 1, 0.25, 3),
        (16, 2, 1, 0.3, 6),  # three on each GPU: a trial uses one of them
        (16, 1, 1, 0.1, 10),
        (16, 5, 1, 2, 2),
        (16, 0, 1, 0.5, 0),
        (0, 4, 1, 1, 0),
    ],
)
def test_a_node_has_room_for_as_many_trials_as_ray_places_there(
    cpus: float, gpus: float, cpus_per_trial: float, gpus_per_trial: float, slots: int
) -> None:
    assert slots_of({"CPU": cpus, "GPU": gpus}, cpus_per_trial, gpus_per_trial) == slots


def node(name: str, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {
        "NodeID": name * 10, "NodeManagerHostname": name, "NodeManagerAddress": "127.0.0.1", "Alive": alive,
        "Resources": resources,
    }  # fmt: skip


def test_dead_nodes_are_left_out() -> None:
    nodes = [node("a", CPU=2.0), node("b", alive=False, CPU=9.0)]
    assert [one.host for one in describe_nodes(nodes, Resources())] == ["a"]


def test_the_status_counts_the_runs_and_the_slots() -> None:
    runs = two_by_two_runs()
    now = [0.0]
    labels = {run.run_id: run.run_id for run in runs}
    progress = Progress(runs, Recorded(), 2, labels, Console(quiet=True), lambda: now[0])
    told: list[dict[str, Any]] = []

    class Told(Control):
        def publish(self, *records: BaseModel | None) -> None:  # type: ignore[override]
            values = {key: value for record in records if record for key, value in record.model_dump().items()}
            told.append(json.loads(json.dumps(values, allow_nan=False)))

    pack = Pack(tuple(runs[:2]))
    publisher = StatusPublisher(
        Told(Holder.this_process()), progress, Resources(max_concurrent=3),
        lambda: [node("a", CPU=2.0), node("b", CPU=2.0)], lambda: now[0],
    )  # fmt: skip
    publisher.publish(0)
    publisher.publish(1)  # a moment later: nothing
    progress.started(pack)
    now[0] = PUBLISH_SECONDS
    progress.reported(
        pack, [row_of(run, 1, val_acc=20.0 + k) for k, run in enumerate(runs[:2])], {}, fresh=True, done=False
    )
    publisher.publish(1)
    publisher.close()
    assert len(told) == 3
    assert (told[0]["pending"], told[0]["rate"], told[0]["slots"], told[0]["slots_used"]) == (4, None, 3, 0)
    assert {state: told[1][state] for state in STATES} == dict.fromkeys(STATES, 0) | {"running": 2, "pending": 2}
    assert (told[1]["epochs_share"], told[1]["rate"], told[1]["seconds_left"]) == (2 / 8, 2 / PUBLISH_SECONDS, 6.0)
    assert (told[1]["best_val_acc"], told[1]["best_run"], told[1]["slots_used"]) == (21.0, runs[1].run_id, 1)
    assert [one["slots"] for one in told[1]["nodes"]] == [2, 2]
    assert (told[2]["running"], told[2]["interrupted"], told[2]["rate"]) == (0, 2, None)
