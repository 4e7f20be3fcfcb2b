"""The cluster model's arithmetic, against cases computed by hand and limits that hold for all numbers."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cluster_constants import DriverCosts, Machine, fit_driver, measure_upload
from benchmarks.cluster_model import Slot, predict, saturating_nodes, simulate, tabulate
from benchmarks.fixed_trials import FixedSweep, Job, Took, apart

FREE = DriverCosts(trial=0, report=0, pending=0)
MACHINE = Machine(
    first_ready=1, each_ready=1, tail=0.5, transfer=3, worker_start=20, save=0.01, upload=0.02, checkpoint_mib=3.2,
    epoch=14.0, pack=4,
)  # fmt: skip
SECONDS = st.floats(0.001, 10)


def test_without_any_overhead_a_node_takes_epochs_times_seconds_over_slots() -> None:
    course = simulate([0.0] * 4, trials=40, epochs=50, epoch_seconds=2.0, costs=FREE)
    assert course.total == 40 * 50 * 2.0 / 4
    assert course.driver_busy == 0


def test_a_trial_more_than_slots_takes_a_wave_more() -> None:
    assert simulate([0.0] * 4, 4, 3, 1.0, FREE).total == 3
    assert simulate([0.0] * 4, 5, 3, 1.0, FREE).total == 6


def test_slots_beyond_the_trials_do_nothing() -> None:
    costs = DriverCosts(trial=0.5, report=0.25, pending=0.125)
    assert simulate([0.0] * 3, 3, 2, 1.0, costs) == simulate([0.0] * 30, 3, 2, 1.0, costs)


def test_two_trials_that_ask_at_once_wait_for_each_other() -> None:
    """Starts served 0–1 and 1–2, epochs end at 11 and 12, reports served 11–13 and 13–15."""
    course = simulate([0.0, 0.0], 2, 1, 10.0, DriverCosts(trial=1, report=2, pending=0))
    assert course.total == 15
    assert course.driver_busy == 6


def test_a_trial_alone_waits_for_its_answers_on_their_way() -> None:
    """Ready at 5; started at 6, begins at 6.5; reports served 16.5–18.5; on at 18.75; reports served 28.75–30.75."""
    costs = DriverCosts(trial=1, report=2, pending=0, report_latency=0.25, trial_latency=0.5)
    assert simulate([5.0], 1, 2, 10.0, costs).total == 30.75


def test_a_report_costs_more_the_more_trials_are_trained() -> None:
    costs = DriverCosts(trial=0, report=2, pending=0.5)
    assert costs.report_among(4) == 4
    assert simulate([0.0, 0.0], 2, 1, 10.0, costs).total == 10 + 2 * 3


def test_the_driver_saturates_where_its_work_fills_a_trials_own_time() -> None:
    """S = 1 + 10 × 0.1 = 2, Z = 10 × 10 = 100: 51 trials at a time, which is 13 nodes of 4."""
    assert saturating_nodes(Slot("CPU", 4, 1, 10.0), 10, DriverCosts(trial=1, report=0.1, pending=0)) == 13
    assert saturating_nodes(Slot("CPU", 1, 1, 10.0), 10, DriverCosts(trial=1, report=0.1, pending=0)) == 51


def test_a_driver_that_has_nothing_to_do_never_saturates() -> None:
    assert saturating_nodes(Slot("CPU", 4, 1, 10.0), 10, FREE) is None


def test_beyond_saturation_only_the_driver_counts() -> None:
    costs = DriverCosts(trial=1, report=0.1, pending=0)
    course = simulate([0.0] * 200, 2000, 10, 10.0, costs)
    assert course.driver_busy == pytest.approx(2000 * (1 + 10 * 0.1))
    assert course.total == pytest.approx(course.driver_busy, rel=0.06)  # it waits only at the first wave and the last


@given(
    slots=st.integers(1, 12), trials=st.integers(1, 40), epochs=st.integers(1, 6), epoch=SECONDS, trial=SECONDS,
    report=SECONDS,
)  # fmt: skip
def test_no_sweep_beats_its_slots_or_its_driver_and_none_waits_for_more_than_everything(
    slots: int, trials: int, epochs: int, epoch: float, trial: float, report: float
) -> None:
    course = simulate([0.0] * slots, trials, epochs, epoch, DriverCosts(trial, report, 0))
    served, waves = trial + epochs * report, math.ceil(trials / slots)
    assert course.driver_busy == pytest.approx(trials * served)
    assert course.total >= max(trials * served, waves * (served + epochs * epoch)) * (1 - 1e-9)
    assert course.total <= (trials * served + waves * epochs * epoch) * (1 + 1e-9)


def test_ten_thousand_runs_take_their_waves_the_start_and_the_end() -> None:
    """2,500 packs of four on 160 slots are 16 waves of 50 × 10 s; the data reach one node after another."""
    slot = Slot("CPU", 16, 4, 10.0)
    assert predict(slot, 1, FREE, MACHINE, transfer=3.0).total == 20 + 157 * 500 + 0.5
    assert predict(slot, 10, FREE, MACHINE, transfer=0.0).total == 20 + 16 * 500 + 0.5
    assert predict(slot, 200, FREE, MACHINE, transfer=3.0).total == 20 + 156 * 3 + 500 + 0.5  # 157 nodes are enough


def test_the_table_has_the_load_of_the_storage_and_the_saturation() -> None:
    """A report every 10 s from 160 slots, each with a checkpoint of 3.2 MiB, is 51.2 MiB a second at full load."""
    slot = Slot("CPU", 16, 4, 10.0)
    costs = DriverCosts(trial=1, report=0.1, pending=0)
    (few, many) = (row.values for row in tabulate([slot], costs, MACHINE, 0.0, nodes=(10, 100)).rows)
    assert saturating_nodes(slot, 50, costs) == 6
    assert few["saturates"] == many["saturates"] == "yes"
    (free,) = tabulate([slot], FREE, MACHINE, 0.0, nodes=(10,)).rows
    assert free.values["ideal"] == pytest.approx(16 * 500 / 3600)
    assert free.values["storage"] == pytest.approx(2500 * 50 / (20 + 8000 + 0.5) * 3.2)
    assert free.values["saturates"] == "no"


def test_an_upload_leaves_nothing_behind(tmp_path: Path) -> None:
    assert measure_upload(1000, (tmp_path / "storage").as_uri()) > 0
    assert list((tmp_path / "storage").iterdir()) == []


def test_the_fit_finds_the_costs_that_made_the_seconds() -> None:
    costs = DriverCosts(0.012, 0.0015, 2e-6, report_latency=0.003, trial_latency=0.02)
    sweeps = [FixedSweep(12, 2, 1, 0.1), FixedSweep(12, 2, 20, 0.05), FixedSweep(48, 12, 5, 0.2)]
    took = []
    for sweep in sweeps:
        report = costs.report_among(sweep.concurrent)
        cpu = 0.07 + sweep.trials * (costs.trial + sweep.epochs * report)
        change = costs.trial + report + costs.trial_latency
        took.append(Took(9.0, cpu, 3.0, 0.1, report + costs.report_latency, change, 0.3))
    found = fit_driver(took, sweeps, [2, 200, 1600], [5e-5 + costs.pending * n for n in (2, 200, 1600)])
    for name in ("trial", "report", "pending", "report_latency", "trial_latency"):
        assert getattr(found, name) == pytest.approx(getattr(costs, name)), name


@pytest.mark.slow
@pytest.mark.ray
def test_trials_of_fixed_duration_fill_two_loopback_nodes_and_leave_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real cluster and a real sweep; it takes at least the model's time for a driver without cost."""
    sweep = FixedSweep(trials=8, concurrent=4, epochs=2, seconds=0.5, pack=2)
    with tempfile.TemporaryDirectory(prefix="lb") as place:
        monkeypatch.setattr(tempfile, "tempdir", place)
        (took,), _, _ = apart(Job(cpus=[2, 2], sweeps=[sweep]))
        left = [process.pid for process in psutil.process_iter(["cmdline"]) if place in str(process.info["cmdline"])]
    assert sum(took.trials_by_node.values()) == sweep.trials
    assert len(took.trials_by_node) == 2
    assert took.wall > simulate([0.0] * 4, sweep.trials, sweep.epochs, sweep.seconds, FREE).total
    assert 0 < took.driver_cpu < took.wall
    assert left == []
