"""`auto`: chosen once by a probe, kept in the ledger, and used from then on; the probe in real Ray workers."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import sweep.driver.pack_size
import sweep.execution.in_process
from results.ledger.ledger import Ledger
from search_spaces.errors import LedgerError, SpecError
from sweep.config.spec import Resources
from sweep.driver.announcements import Left
from sweep.driver.pack_size import Packing, choose_packing, doubled, known_packing
from sweep.execution.cluster_slots import ClusterSlots
from sweep.execution.executor import StepsToTime
from sweep.execution.ray.executor import RayExecutor
from sweep.execution.ray.probes import probe
from sweep.folder.paths import SweepFolder
from sweep.planning.plan import make_runs, resolve_configurations
from sweep.planning.planner import StepTimes
from tests.sweep.sweeps import DATA, PATIENCE_SECONDS, begin, finish, run, spec
from trainables.data.dataset import load_data

TEXT = f"""
data = "{DATA}"
epochs = 2
seeds = 1
[protocol]
batch_size = 64
[resources]
max_concurrent = 2
[[configurations]]
optimizer = {{name = "SGD", lr = [0.01, 0.02, 0.03, 0.04, 0.05]}}
"""

PLACES = ClusterSlots({"a": {"CPU": 8.0, "GPU": 2.0}, "b": {"CPU": 3.0}})


@pytest.mark.parametrize(
    ("resources", "cpus", "slots"),
    [
        ({}, 1, 11), ({}, 2, 5), ({}, 8, 1), ({}, 0.5, 22), ({"max_concurrent": 3}, 1, 3),
        ({"gpus_per_trial": 0.25}, 1, 8), ({"gpus_per_trial": 0.3}, 1, 6), ({"gpus_per_trial": 0.25}, 4, 2),
        ({"gpus_per_trial": 2}, 1, 1), ({"gpus_per_trial": 1, "max_concurrent": 1}, 1, 1),
    ],
)  # fmt: skip
def test_as_many_trials_run_at_a_time_as_the_nodes_hold(resources: dict[str, Any], cpus: float, slots: int) -> None:
    assert PLACES.at_a_time(Resources(**resources), cpus) == slots
    assert PLACES.most_threads == 8


def test_the_probes_processes_are_spread_over_the_nodes_the_largest_first() -> None:
    """So that few of them run on the only node with CPUs for many threads."""
    assert PLACES.in_turn(2, 0) == ["a", "b", "a", "a", "a"]
    assert PLACES.in_turn(1, 0.5) == ["a"] * 4
    assert PLACES.in_turn(16, 0) == []


def test_a_number_of_threads_that_was_not_measured_is_not_known() -> None:
    times = StepTimes({(1, 2): 0.25, (8, 2): 1.5})
    assert times.knows(2)
    assert not times.knows(8)


def test_sizes_and_threads_are_doubled_up_to_the_most() -> None:
    assert [doubled(most) for most in (1, 2, 5, 8)] == [[1], [1, 2], [1, 2, 4, 5], [1, 2, 4, 8]]


def test_a_packing_is_read_back_from_the_ledger_unchanged(tmp_path: Path) -> None:
    kept = Packing(8, 2, 24, StepTimes({(1, 2): 0.25, (8, 2): 1.5}))
    again = Packing.from_json(json.dumps(kept.to_dict()), tmp_path)
    assert again == Packing(8, 2, 24, kept.times, origin="as chosen before")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"size": 0, "threads": 1, "largest_group": 0, "step_seconds": []}', "[" * 9999]
)
def test_an_unreadable_packing_is_one_line_and_ignored_if_the_spec_sets_everything(tmp_path: Path, text: str) -> None:
    with Ledger.create_or_open(tmp_path / "ledger.sqlite") as ledger:
        ledger.keep_packing("cpu", text)
        with pytest.raises(LedgerError, match=r"give --pack and --cpus-per-trial$"):
            known_packing(spec(TEXT), ledger)
        given = spec(TEXT, **{"resources.pack": 2, "resources.cpus_per_trial": 1})
        assert known_packing(given, ledger) == (2, 1, None)
        assert known_packing(spec(TEXT, **{"resources.gpus_per_trial": 0.5}), ledger) == (None, 1, None)


def test_the_spec_has_priority_over_the_ledger(tmp_path: Path) -> None:
    with Ledger.create_or_open(tmp_path / "ledger.sqlite") as ledger:
        ledger.keep_packing("cpu", '{"size": 8, "threads": 2, "largest_group": 9, "step_seconds": []}')
        for given, expected in (
            ({}, (8, 2)), ({"resources.pack": 3}, (3, 2)), ({"resources.cpus_per_trial": 1}, (8, 1)),
            ({"resources.cpus_per_trial": 0.5, "resources.pack": 3}, (3, 1)),
        ):  # fmt: skip
            assert known_packing(spec(TEXT, **given), ledger)[:2] == expected


# --- whole sweeps


def ledger_of(outcome: Any) -> tuple[dict[str, Any], list[tuple[int, ...]]]:
    """What the ledger keeps of the choice, and pack size and threads of every attempt."""
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        text = ledger.kept_packing("cpu")
        assert text is not None
        return json.loads(text), ledger.rows("SELECT pack_size, threads FROM attempts ORDER BY started", {})


@pytest.mark.slow
def test_a_sweep_is_packed_by_a_probe_and_from_then_on_by_its_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More seeds and more epochs use the chosen packing; packs of twice as many configurations were never timed."""
    monkeypatch.setattr(sweep.driver.pack_size, "PROBE_PAYS_FROM_SECONDS", 0.0)
    monkeypatch.setattr(sweep.execution.in_process, "available_cpus", lambda: 2)
    outcome, said = run(spec(TEXT, "probed"), tmp_path)
    assert outcome.all_done
    assert "(probe: a run's step takes " in said
    kept, attempts = ledger_of(outcome)
    assert {(size, threads) for size, threads, _ in kept["step_seconds"]} == {
        (size, threads) for size in (1, 2, 4, 5) for threads in (1, 2)
    }
    assert all(seconds > 0 for _, _, seconds in kept["step_seconds"])
    assert kept["largest_group"] == 5
    assert {threads for _, threads in attempts} == {kept["threads"]}
    assert max(size for size, _ in attempts) <= kept["size"]
    assert kept["step_seconds"] == _provenance(outcome)[-1]["packing"]["step_seconds"]

    outcome, said = run(spec(TEXT, "probed", seeds=2, epochs=3), tmp_path)
    assert outcome.all_done
    assert "at a time (as chosen before)" in said
    assert ledger_of(outcome)[0] == kept
    assert {threads for _, threads in ledger_of(outcome)[1]} == {kept["threads"]}

    given = {"resources.pack": 1, "resources.cpus_per_trial": 2}
    outcome, said = run(spec(TEXT, "probed", seeds=3, epochs=3, **given), tmp_path)
    assert "5 packs of 1, 2 threads each, 1 at a time\n" in said
    assert ledger_of(outcome)[0] == kept
    assert ledger_of(outcome)[1][-5:] == [(1, 2)] * 5


def _provenance(outcome: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(outcome.folder.provenance.read_text())
    return found


@pytest.mark.ray
def test_a_sweep_of_more_threads_than_any_node_has_is_refused_and_does_not_wait(ray: Any, tmp_path: Path) -> None:
    """It was started on a larger machine. Ray would wait for such a machine without a message."""
    folder, asked = SweepFolder(tmp_path, "smaller"), spec(TEXT, "smaller")
    folder.create()
    with Ledger.create_or_open(folder.ledger) as kept:
        kept.keep_packing("cpu", '{"size": 4, "threads": 64, "largest_group": 9, "step_seconds": []}')
    with pytest.raises(SpecError, match=r"on 64 threads, the largest node has 2 CPUs; --cpus-per-trial 2"):
        run(asked, tmp_path, ray=True)


@pytest.mark.slow
@pytest.mark.ray
def test_threads_that_no_process_of_the_probe_has_room_for_are_not_timed_and_not_chosen(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on nodes of unequal size, where the large one is busy: of one thread and of four, one is measured."""
    asked = spec(TEXT, "unequal")
    data = load_data(DATA)
    runs = make_runs(asked, resolve_configurations(asked, 15), data.fingerprint)
    times = probe(RayExecutor().slots(), asked.resources, data, StepsToTime(runs, [1, 2], {1: 1.0, 4: 4.0}, most=2))
    assert {threads for _, threads in times.seconds} == {1}
    monkeypatch.setattr(sweep.driver.pack_size, "PROBE_PAYS_FROM_SECONDS", 0.0)
    monkeypatch.setattr(RayExecutor, "probe", lambda *given: times)
    with Ledger.create_or_open(tmp_path / "ledger.sqlite") as ledger:
        left, folder = Left(runs, set(), set()), SweepFolder(tmp_path, "unequal")
        packing, _ = choose_packing(asked, left, folder, ledger, data, RayExecutor())
    assert packing.threads == 1
    assert packing.chosen


def test_larger_groups_than_those_of_the_probe_are_probed_with_the_same_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep.execution.in_process, "available_cpus", lambda: 2)
    one = TEXT.replace("[0.01, 0.02, 0.03, 0.04, 0.05]", "0.01")
    outcome, said = run(spec(one, "grows", **{"resources.cpus_per_trial": 1}), tmp_path)
    assert "1 pack of 1, one thread each, 1 at a time\n" in said
    monkeypatch.setattr(sweep.driver.pack_size, "PROBE_PAYS_FROM_SECONDS", 0.0)
    outcome, said = run(spec(TEXT, "grows"), tmp_path)
    assert "(probe: a run's step takes " in said
    kept, attempts = ledger_of(outcome)
    assert kept["largest_group"] == 4
    assert {(size, threads) for size, threads, _ in kept["step_seconds"]} == {(1, 1), (2, 1), (4, 1)}
    assert {threads for _, threads in attempts} == {1}


@pytest.mark.slow
@pytest.mark.ray
def test_on_gpus_only_the_size_is_chosen_and_a_short_sweep_is_not_probed_for(ray: Any, tmp_path: Path) -> None:
    outcome, said = run(spec(TEXT, "short", **{"resources.gpus_per_trial": 0.5}), tmp_path, ray=True)
    assert outcome.all_done
    assert "one thread each, 2 at a time (default: the sweep is too short for a probe)" in said
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        assert ledger.kept_packing("cpu") is None
        assert ledger.kept_packing("gpu") is not None
        assert {threads for (threads,) in ledger.rows("SELECT threads FROM attempts", {})} == {1}


@pytest.mark.slow
@pytest.mark.ray
def test_after_a_failed_probe_the_sweep_uses_default_ratios(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trainables.profiling.probe

    class Dies(trainables.profiling.probe.StepTimer):
        def seconds(self, size: int, threads: int) -> float:
            os.kill(os.getpid(), signal.SIGKILL)
            return 0.0

    monkeypatch.setattr(sweep.driver.pack_size, "PROBE_PAYS_FROM_SECONDS", 0.0)
    monkeypatch.setattr(trainables.profiling.probe, "StepTimer", Dies)
    outcome, said = run(spec(TEXT, "unprobed"), tmp_path, ray=True)
    assert outcome.all_done
    assert "(the probe failed: " in said
    assert ledger_of(outcome)[0]["step_seconds"] == []


PROBES_ALWAYS = "sweep.driver.pack_size.PROBE_PAYS_FROM_SECONDS = 0.0"


@pytest.mark.slow
def test_a_driver_killed_in_training_leaves_its_choice_to_the_next_one(tmp_path: Path) -> None:
    """SIGKILL: the same packs, on the same threads, without a second probe."""
    (tmp_path / "cut.toml").write_text(TEXT)
    driver = begin(tmp_path, "run", "cut.toml", "--epochs", "12", also=PROBES_ALWAYS)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not list(tmp_path.glob("cut/checkpoints/*/epoch*.ckpt")) and time.monotonic() < deadline:
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.1)
    finally:
        driver.kill()
    first, _ = driver.communicate(timeout=PATIENCE_SECONDS)
    assert "(probe: a run's step takes " in first
    with Ledger.open_read_only(tmp_path / "cut" / "ledger.sqlite") as ledger:
        kept, packs = ledger.kept_packing("cpu"), ledger.packs("")
    resumed = finish(tmp_path, "resume", "cut", also=PROBES_ALWAYS)
    assert resumed.returncode == 0, resumed.stderr
    assert "(as chosen before)" in resumed.stdout
    with Ledger.open_read_only(tmp_path / "cut" / "ledger.sqlite") as ledger:
        assert ledger.kept_packing("cpu") == kept
        assert packs.items() <= ledger.packs("").items()
        assert len(set(ledger.rows("SELECT threads FROM attempts", {}))) == 1
        assert set(ledger.statuses().values()) == {"done"}
