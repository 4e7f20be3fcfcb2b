"""The rules for packs that fail, and the classification of failures: by the exception's type, a lost node by text."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from results.ledger.ledger import Ledger
from sweep.execution.executor import Round
from sweep.execution.failure import CUDA_OUT_OF_MEMORY, Failure
from sweep.execution.ray.ledger_callback import as_failure
from sweep.execution.retries import MOST_LOST_NODES, MOST_WAIT_SECONDS, MOST_WAITS, Retries
from sweep.folder.paths import SweepFolder
from sweep.planning.plan import Pack
from tests.builders import two_by_two_runs
from trainables.training.checkpoints import CheckpointError, SupersededError

PACK = Pack(tuple(run for run in two_by_two_runs() if run.seed == two_by_two_runs()[0].seed))
NODE_DIED = "The actor died because its node has died. Node Id: "
TASK_OF_NODE = "Task failed because the node it was running on is dead or unavailable. Node IP: "
WORKER_DIED = "The actor is dead because its worker process has died. Worker exit type: "

LOST = Failure("its node died", lost_node=True)
CRASHED = Failure("its process died")


def died(message: str) -> Failure:
    """Return the failure of an actor that died; ``message`` is Ray's reason."""
    from ray.core.generated.common_pb2 import ActorDiedErrorContext
    from ray.exceptions import ActorDiedError

    error = ActorDiedError(
        ActorDiedErrorContext(
            class_name="PackTrainable", actor_id=b"\1" * 16, pid=7, node_ip_address="10.0.0.3", error_message=message
        )
    )
    return as_failure(f"Traceback (most recent call last):\nray.exceptions.ActorDiedError: {error}\n", error)


def node_died() -> Failure:
    return died(f"{NODE_DIED}8d1f\n\tthe actor's node was terminated unexpectedly: health check failed due to ...")


def raised(error: Exception) -> Failure:
    """Return the failure of a trial that raised ``error``, as Ray hands it over."""
    from ray.exceptions import RayTaskError

    return as_failure("its traceback", RayTaskError("step", "its traceback", error))


@pytest.fixture
def retries(tmp_path: Path) -> Iterator[Retries]:
    folder = SweepFolder(tmp_path, "s")
    folder.create()
    with Ledger.create_or_open(folder.ledger) as ledger:
        ledger.plan(list(PACK.runs), 3, data_name="synthetic", synthetic=True)
        ledger.plan_packs([(PACK.pack_id, PACK.run_ids)], "2")
        yield Retries(ledger, epochs=3, retries=2)


def test_the_words_are_those_of_this_ray() -> None:
    import ray

    place = Path(ray.__file__).parent
    server = (place / "core" / "src" / "ray" / "gcs" / "gcs_server").read_bytes()
    assert NODE_DIED.encode() in server
    assert WORKER_DIED.encode() in server
    library = (place / "_raylet.so").read_bytes()
    assert TASK_OF_NODE.encode() in library
    assert b"Actor died by preemption." in library


def test_a_lost_node_is_distinguished_from_a_process_that_died() -> None:
    from ray.exceptions import LocalRayletDiedError, NodeDiedError

    moved = NodeDiedError(f"{TASK_OF_NODE}10.0.0.3, node ID: 8d1f.")
    for lost in (
        node_died(), died(f"{NODE_DIED}8d1f\n\tthe actor's node was preempted: "), died("Actor died by preemption."),
        as_failure(f"ray.exceptions.NodeDiedError: {moved}", moved),
        as_failure(f"ray.exceptions.LocalRayletDiedError: {LocalRayletDiedError()}", None),
    ):  # fmt: skip
        assert lost.lost_node
        assert not lost.may_be_one_run
    process = died(f"{WORKER_DIED}SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error.")
    assert not process.lost_node
    assert not process.out_of_memory
    assert process.may_be_one_run


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGKILL, "SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error code 2."),
        (signal.SIGSEGV, "SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error code 2."),
        (signal.SIGTERM, "INTENDED_SYSTEM_EXIT Worker exit detail: Worker exits because of a SIGTERM."),
    ],
)
def test_a_worker_that_a_signal_ends_is_retried_from_its_checkpoint(
    retries: Retries, number: signal.Signals, reason: str
) -> None:
    """For every signal: a process that died is not a lost node. ``test_ray_retries.py`` sends SIGKILL."""
    failure = died(f"{WORKER_DIED}{reason}")
    assert not failure.lost_node
    assert failure.may_be_one_run
    assert retries.decide(Round((PACK,), 1, 0.25), PACK, failure, progressed=True)
    assert retries.next_round() == Round((PACK,), 1, 0.25)
    assert retries.decide(Round((PACK,), 1, 0.25), PACK, failure, progressed=False)
    split = retries.next_round()
    assert split is not None
    assert [len(pack.runs) for pack in split.packs] == [1, 1]


def accelerator_error(code: int) -> Exception:
    error = torch.AcceleratorError("CUDA error: the words do not matter")
    error.error_code = code  # type: ignore[attr-defined]
    return error


def test_a_failure_is_classified_by_the_type_of_its_exception() -> None:
    assert raised(torch.OutOfMemoryError("any text")).out_of_gpu_memory
    assert raised(accelerator_error(CUDA_OUT_OF_MEMORY)).out_of_gpu_memory
    assert not raised(accelerator_error(700)).out_of_gpu_memory
    assert not raised(RuntimeError("CUDA out of memory, says a text")).out_of_gpu_memory
    for of_the_place in (CheckpointError("disk full"), SupersededError("another process")):
        assert not raised(of_the_place).may_be_one_run
    assert raised(ValueError("CheckpointError, says a text")).may_be_one_run


MONITOR = (
    "1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.3, ID: 8d1f) was"
)
ALLOCATOR = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"


def test_a_lack_of_memory_is_recognized_whoever_reports_it() -> None:
    from ray.exceptions import OutOfMemoryError

    for failure in (
        as_failure(f"{MONITOR} 4.05GB used", None),  # an actor's
        as_failure(f"ray.exceptions.OutOfMemoryError: {MONITOR}", OutOfMemoryError(MONITOR)),
        raised(MemoryError()),
        raised(np._core._exceptions._ArrayMemoryError((1,), np.dtype("int8"))),
        raised(OSError(errno.ENOMEM, "Cannot allocate memory")),
        raised(RuntimeError(ALLOCATOR)),
        raised(RuntimeError("std::bad_alloc")),
    ):
        assert failure.out_of_memory
        assert not failure.out_of_gpu_memory
        assert not failure.lost_node
        assert not failure.may_be_one_run
    assert "Ray's memory monitor" in as_failure(MONITOR, None).last_line
    for failure in (
        raised(torch.OutOfMemoryError("GPU")),
        raised(RuntimeError("memory")),
        raised(ValueError("bad_alloc")),
    ):
        assert not failure.out_of_memory


def test_the_words_of_the_memory_monitor_are_those_of_this_ray() -> None:
    import ray

    raylet = Path(ray.__file__).parent / "core" / "src" / "ray" / "raylet" / "raylet"
    assert b"killed due to the node running low on memory" in raylet.read_bytes()


def test_a_worker_that_the_kernel_ended_for_memory_is_recognized(monkeypatch: pytest.MonkeyPatch) -> None:
    from sweep.execution.ray import ledger_callback

    kills = [0]
    monkeypatch.setattr(ledger_callback, "kernel_kills", lambda: kills[0])
    monkeypatch.setattr(ledger_callback, "failure_of", lambda trial: died(f"{WORKER_DIED}SYSTEM_ERROR Worker exit"))
    callback = ledger_callback.LedgerCallback(None, [])  # type: ignore[arg-type]
    assert not callback._failure(None).out_of_memory  # type: ignore[arg-type]
    kills[0] = 1
    assert callback._failure(None).out_of_memory  # type: ignore[arg-type]
    assert not callback._failure(None).out_of_memory  # type: ignore[arg-type]


def test_a_pack_without_memory_stays_whole_waits_and_has_fewer_beside_it(retries: Retries) -> None:
    full = Failure("", MemoryError())
    now, seconds = Round((PACK,), 1, 0.0), []
    for most in (4, 2, 1, *[1] * (MOST_WAITS - 3)):
        line = str(retries.decide(now, PACK, full, progressed=False, running=8))
        following = retries.next_round()
        assert following is not None
        assert (following.packs, following.most_at_a_time, following.last) == ((PACK,), most, False)
        assert f"--max-concurrent {most}" in line
        assert f"{following.wait_seconds:g} s" in line
        seconds.append(following.wait_seconds)
        now = following
    assert seconds == sorted(seconds)
    assert 0 < seconds[0] < seconds[-1] == MOST_WAIT_SECONDS
    assert retries.decide(now, PACK, full, progressed=True, running=1)  # an epoch was trained: it continues
    for _ in range(MOST_WAITS):
        retries.decide(now, PACK, full, progressed=False)
    while (following := retries.next_round()) is not None:
        assert following.packs == (PACK,) * len(following.packs)
    assert "one by one" not in str(retries.decide(now, PACK, full, progressed=False))


def test_packs_without_memory_share_one_round(retries: Retries) -> None:
    """The smallest limit holds for all of them."""
    full, now = Failure("", MemoryError()), Round((PACK,), 1, 0.0)
    for running in (8, 6, 2):
        retries.decide(now, PACK, full, progressed=False, running=running)
    together = retries.next_round()
    assert together is not None
    assert (len(together.packs), together.most_at_a_time) == (3, 1)
    assert retries.next_round() is None


def test_a_pack_that_loses_its_nodes_is_not_split_and_not_retried_for_ever(retries: Retries) -> None:
    now = Round((PACK,), 1, 0.25)
    for _ in range(MOST_LOST_NODES):
        assert retries.decide(now, PACK, LOST, progressed=False)
        assert retries.next_round() == now
    assert retries.decide(now, PACK, LOST, progressed=False)
    last = retries.next_round()
    assert last == Round((PACK,), 0, 0.25, last=True)
    assert retries.decide(last, PACK, LOST, progressed=False) is None


def test_a_run_that_is_trained_alone_is_retried_where_its_node_was_lost(retries: Retries) -> None:
    assert retries.decide(Round((PACK,), 1, 0.0), PACK, CRASHED, progressed=False)
    alone = retries.next_round()
    assert alone is not None
    assert [len(pack.runs) for pack in alone.packs] == [1, 1]
    assert alone.last
    retries.decide(alone, alone.packs[0], LOST, progressed=False)
    assert retries.next_round() == Round(alone.packs[:1], 1, 0.0, last=True)


def test_a_pack_without_memory_gets_twice_the_share_of_the_gpu(retries: Retries) -> None:
    full = Failure("", torch.OutOfMemoryError())
    assert "0.5" in str(retries.decide(Round((PACK,), 1, 0.25), PACK, full, progressed=False))
    assert retries.next_round() == Round((PACK,), 0, 0.5)


def test_a_pack_that_progressed_is_retried_as_it_is(retries: Retries) -> None:
    assert retries.decide(Round((PACK,), 1, 0.0), PACK, CRASHED, progressed=True)
    assert retries.next_round() == Round((PACK,), 1, 0.0)


def test_a_lack_of_gpu_memory_is_not_an_end_by_rays_memory_monitor() -> None:
    """Both are called OutOfMemoryError; only the first is answered by a larger share of the GPU."""
    text = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB."
    failure = as_failure(text, torch.OutOfMemoryError(text))
    assert failure.out_of_gpu_memory
    assert not failure.killed_for_memory
    assert not failure.out_of_memory
    assert not as_failure(text, None).killed_for_memory
