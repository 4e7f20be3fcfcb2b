"""Step times of an earlier sweep in place of a probe: only under the same conditions, and never on a resume."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import sweep.driver.pack_size
import sweep.execution.probe_rounds
from results.ledger.ledger import Ledger
from search_spaces import Run
from sweep.config.spec import Spec
from sweep.driver.announcements import Left
from sweep.driver.pack_size import Packing, choose_packing
from sweep.driver.probe_history import earlier_times, probe_conditions
from sweep.execution.executor import StepsToTime
from sweep.execution.in_process import InProcessExecutor
from sweep.folder.paths import SweepFolder
from sweep.folder.provenance import write_provenance
from sweep.planning.plan import make_runs, resolve_configurations
from tests.sweep.sweeps import DATA, run, spec
from trainables.data.dataset import DataSet, load_data
from trainables.runtime.stop_signal import StopRequest

TEXT = f"""
data = "{DATA}"
epochs = 2
seeds = 1
[protocol]
batch_size = 64
[resources]
cpus_per_trial = 1
max_concurrent = 1
[[configurations]]
optimizer = {{name = "SGD", lr = [0.01, 0.02]}}
"""
CONDITIONS = {"machine": ["x86_64", "model", 2, 2], "versions": {"torch": "2.15"}, "trials": {"1": 2, "2": 1}}
SECONDS = [[1, 1, 0.01], [8, 1, 0.05], [1, 2, 0.008], [8, 2, 0.03]]


def steps(sizes: list[int], *threads: int) -> StepsToTime:
    return StepsToTime([], sizes, {count: float(count) for count in threads}, 9)


def record(runs_dir: Path, name: str, sessions: Any, *, written: int = 1_000_000) -> None:
    """Write the files of a sweep that the search reads; ``written`` is the time of the last change."""
    folder = SweepFolder(runs_dir, name)
    folder.create()
    folder.ledger.touch()
    folder.provenance.write_text(sessions if isinstance(sessions, str) else json.dumps(sessions))
    os.utime(folder.provenance, (written, written))


def packing(seconds: list[list[float]] = SECONDS, conditions: Mapping[str, Any] = CONDITIONS) -> dict[str, Any]:
    return {"packing": {"size": 8, "threads": 1, "step_seconds": seconds, "conditions": conditions}}


def found(runs_dir: Path, asked: StepsToTime, conditions: Mapping[str, Any] = CONDITIONS) -> tuple[str, float] | None:
    """The sweep whose times are used, and its time of a step of one run on one thread."""
    earlier = earlier_times(SweepFolder(runs_dir, "new"), asked, conditions)
    return (earlier.sweep, earlier.times.of(1, 1)) if earlier else None


def test_the_newest_sweep_with_the_same_conditions_is_used_and_not_the_sweep_that_asks(tmp_path: Path) -> None:
    other = {**CONDITIONS, "versions": {"torch": "2.16"}}
    record(tmp_path, "old", [packing([[1, 1, 0.5], [8, 1, 1.0]])], written=1_000)
    record(tmp_path, "middle", [packing([[1, 1, 0.25], [8, 1, 1.0]]), {"packing": {"size": 8}}, {}], written=2_000)
    record(tmp_path, "newer", [packing(conditions=other)], written=3_000)
    record(tmp_path, "new", [packing()], written=4_000)
    assert found(tmp_path, steps([1, 2, 4], 1)) == ("middle", 0.25)


@pytest.mark.parametrize(
    "different",
    [{"machine": ["x86_64", "model", 2, 1]}, {"versions": {"torch": "3"}}, {"trials": {"1": 1, "2": 1}}, {"more": 1}],
)
def test_other_conditions_are_not_the_same(tmp_path: Path, different: dict[str, Any]) -> None:
    record(tmp_path, "old", [packing()])
    assert found(tmp_path, steps([1, 8], 1)) is not None
    assert found(tmp_path, steps([1, 8], 1), {**CONDITIONS, **different}) is None


def test_the_times_cover_the_sizes_and_the_threads(tmp_path: Path) -> None:
    record(tmp_path, "old", [packing()])
    assert found(tmp_path, steps([1, 2, 3], 1, 2)) == ("old", 0.01)
    assert found(tmp_path, steps([1, 2, 3], 1), {**CONDITIONS, "trials": {"1": 2}}) == ("old", 0.01)
    assert found(tmp_path, steps([1, 16], 1)) is None
    assert found(tmp_path, steps([1, 8], 1, 4)) is None


@pytest.mark.parametrize(
    "sessions",
    [
        "", "[" * 9999, "3", '["x", 3, {"packing": 3}]', [packing([[1, 1, 0.0], [8, 1, 1.0]])],
        '[{"packing": {"step_seconds": [[1, 1, NaN], [8, 1, 1.0]], "conditions": {}}}]', [packing([[1]])],
        [{"packing": {"step_seconds": SECONDS, "conditions": 3}}], [packing(conditions={**CONDITIONS, "trials": 3})],
    ],
)  # fmt: skip
def test_a_damaged_record_is_skipped(tmp_path: Path, sessions: Any) -> None:
    record(tmp_path, "damaged", sessions, written=2_000_000)
    record(tmp_path, "old", [packing()])
    assert found(tmp_path, steps([1, 8], 1)) == ("old", 0.01)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    record(tmp_path, "old", [packing()])
    record(tmp_path / "elsewhere", "other", [packing()])
    link = SweepFolder(tmp_path, "old").provenance
    link.unlink()
    link.symlink_to(SweepFolder(tmp_path / "elsewhere", "other").provenance)
    assert found(tmp_path, steps([1, 8], 1)) is None


def planned(asked: Spec) -> tuple[DataSet, list[Run]]:
    data = load_data(DATA)
    return data, make_runs(asked, resolve_configurations(asked, 15), data.fingerprint)


def test_the_conditions_name_what_a_step_depends_on() -> None:
    data, runs = planned(spec(TEXT))
    conditions = probe_conditions(StepsToTime(runs, [1, 2], {1: 1.0}, most=2), {1: 8}, data)
    assert conditions["versions"]["torch"] == torch.__version__
    assert (conditions["images"], conditions["classes"]) == ([900, 32, 32, 3], 100)
    assert conditions["protocol"]["batch_size"] == 64
    assert conditions["optimizers"] == ["SGD"]
    assert conditions["trials"] == {"1": 2}  # no more than there are runs
    assert conditions["kernels"] == "torch"
    compiled = StepsToTime(runs, [1, 2], {1: 1.0}, most=2, kernels="compiled")
    assert probe_conditions(compiled, {1: 8}, data)["kernels"] == "compiled"
    _, adam = planned(spec(TEXT.replace('"SGD", lr', '"Adam", lr')))
    assert probe_conditions(StepsToTime(adam, [1], {1: 1.0}, most=3), {1: 8}, data)["optimizers"] == ["Adam"]


def choose(asked: Spec, runs_dir: Path) -> Packing:
    """Choose the packing of a new sweep in this process, and record it as the driver does."""
    data, runs = planned(asked)
    folder, executor = SweepFolder(runs_dir, asked.name), InProcessExecutor()
    folder.create()
    with Ledger.create_or_open(folder.ledger) as ledger, executor.open(asked, [], print, lambda: StopRequest.NONE):
        chosen, _ = choose_packing(asked, Left(runs, set(), set()), folder, ledger, data, executor)
        write_provenance(folder, data, {}, chosen.to_dict(), {})
        ledger.keep_packing("cpu", json.dumps(chosen.to_dict()))
        ledger.plan(runs, asked.epochs, data_name=data.name, synthetic=True)
    return chosen


def test_a_new_sweep_takes_the_times_of_an_earlier_one_a_forced_probe_and_a_resume_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep.execution.probe_rounds, "PROBE_SECONDS", 0.0)
    first = choose(spec(TEXT, "first", **{"resources.pack": "probe"}), tmp_path)
    assert sorted(first.times.seconds) == [(1, 1), (2, 1)]
    assert first.measured_by == ""
    choose(spec(TEXT.replace("[0.01, 0.02]", "0.01"), "grows"), tmp_path)
    monkeypatch.setattr(sweep.driver.pack_size, "PROBE_PAYS_FROM_SECONDS", 0.0)
    second = choose(spec(TEXT, "second"), tmp_path)
    assert second.times == first.times
    assert (second.measured_by, "step times of the sweep first" in second.origin) == ("first", True)
    assert (second.size, second.threads, second.largest_group) == (first.size, first.threads, 2)
    for asked in (spec(TEXT, "again", **{"resources.pack": "probe"}), spec(TEXT, "grows")):
        again = choose(asked, tmp_path)
        assert again.times.seconds
        assert again.times != first.times
        assert again.measured_by == ""


@pytest.mark.slow
def test_whole_sweeps_name_the_sweep_with_the_times_and_record_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(spec(TEXT, "first", **{"resources.pack": "probe"}), tmp_path)
    monkeypatch.setattr(sweep.driver.pack_size, "PROBE_PAYS_FROM_SECONDS", 0.0)
    outcome, said = run(spec(TEXT, "second"), tmp_path)
    assert outcome.all_done
    (line,) = [line for line in said.splitlines() if "at a time" in line]
    assert "step times of the sweep first" in line
    with Ledger.open_read_only(outcome.folder.ledger) as ledger:
        kept = json.loads(ledger.kept_packing("cpu") or "")
    assert kept["measured_by"] == "first"
    assert kept == json.loads(outcome.folder.provenance.read_text())[-1]["packing"]
    outcome, said = run(spec(TEXT, "second", seeds=2), tmp_path)
    assert "(as chosen before)" in said
