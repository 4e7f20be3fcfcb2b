"""The parts of the GPU benchmark that need no GPU: the message without a GPU, and the comparisons."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import NO_GPU, Bench, extrapolated, run_section, table
from benchmarks.gpu_convolutions import CANDIDATES, gradients, inputs, one_by_one
from benchmarks.gpu_exactness import divergence_is_contained, measure_steps, resume_is_exact, study_runs
from trainables.data.dataset import DataSet, load_data
from trainables.training.cuda_graphs import NoGraphs

ROOT = Path(__file__).parent.parent.parent
SOURCE = "synthetic:n_train=400,n_test=100,seed=0"
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load_data(SOURCE, val_fraction=0.5)


def test_without_a_gpu_it_reports_this_and_measures_nothing() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--data", SOURCE], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1] == NO_GPU


def test_the_study_is_24_configurations_under_each_seed(data: DataSet) -> None:
    runs = study_runs(SOURCE, data, 50, 5)
    assert len(runs) == 120
    assert [run.seed for run in runs] == sorted(list(range(5)) * 24)


def test_steps_and_resumes_are_compared_bit_by_bit(data: DataSet, tmp_path: Path) -> None:
    runs = study_runs(SOURCE, data, 3, 1)[:2]
    found = measure_steps(runs, data, CPU, NoGraphs(), rounds=1, steps=2)
    assert found["same_bits"]
    assert found["captured_ms"] > 0
    assert resume_is_exact(runs, data, CPU, tmp_path)


def test_different_weights_are_detected(data: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the two does its work twice while it warms up."""
    runs = study_runs(SOURCE, data, 3, 1)[:2]

    class Nudge(NoGraphs):
        def warm_up(self, work):  # type: ignore[no-untyped-def]
            work()
            work()

    assert not measure_steps(runs, data, CPU, Nudge(), rounds=1, steps=2)["same_bits"]


def test_the_part_is_extrapolated_by_run_epochs() -> None:
    """24 runs × 2 epochs in 96 s are 2 s each; the study has 24 × 5 × 50 of them."""
    assert extrapolated(96.0, 24 * 2, 24 * 5 * 50) == 12_000


def test_the_rows_that_were_measured_make_the_table(tmp_path: Path) -> None:
    """Also if the benchmark is interrupted: every row is in the file as soon as it is measured."""
    out = tmp_path / "rows.jsonl"
    bench = Bench(SOURCE, 2, 1, cpu=True)
    bench.exact = lambda: iter([("the same bits", "NO", "yes")])  # type: ignore[method-assign]
    run_section("exact", bench, out)
    assert table(out).splitlines()[-1] == "| exact | the same bits | NO | yes |"


@pytest.mark.parametrize(("section", "rows"), [pytest.param("choice", 2, marks=pytest.mark.slow), ("precision", 2)])
def test_a_section_runs_on_a_cpu_in_a_small_size(section: str, rows: int, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    run_section(section, Bench(SOURCE, 2, 1, cpu=True), out)
    lines = table(out).splitlines()[2:]
    assert len(lines) == rows
    assert " ms" in lines[0]
    if section == "precision":
        assert "error" in lines[0]
        assert "refused: protocol.precision: 'tf32', but cpu has no TF32" in lines[1]


def test_a_run_that_diverges_is_kept_from_the_others(data: DataSet) -> None:
    assert divergence_is_contained(study_runs(SOURCE, data, 3, 1)[:3], data, CPU)


@pytest.mark.parametrize("name", CANDIDATES)
def test_every_candidate_for_conv2_computes_the_same(name: str) -> None:
    """In float64: the output, and both gradients."""
    x, weight = inputs(3, 4, CPU, torch.float64)
    pairs = zip(gradients(CANDIDATES[name], x, weight), gradients(one_by_one, x, weight), strict=True)
    assert all(torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12) for ours, theirs in pairs)
