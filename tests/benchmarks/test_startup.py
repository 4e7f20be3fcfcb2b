"""The start-up benchmark: the ends of the stages, and its short form on a tiny sweep."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.startup import STAGES, ends_of_stages, kind, summary, table

ROOT = Path(__file__).parent.parent.parent
TINY = """
data = "synthetic:n_train=1000,n_test=100"
epochs = 1
seeds = 1
[[configurations]]
optimizer = [{name = "SGD", lr = 0.05}]
"""
LINES = [
    "sweep startup: starting Ray and its workers ...", "sweep startup: loading PyTorch ...",
    "reading the data synthetic ...", "sweep startup: 1 run, 1 epoch, data x", "connecting to Ray ...",
    "choosing the pack size and the threads ...", "1 pack of 1, one thread each, 1 at a time",
    "writing tables, figures and the report ...", "1 done of 1 run",
]  # fmt: skip


def test_a_stage_ends_with_the_line_of_the_next_one() -> None:
    ends = ends_of_stages([(float(number), line) for number, line in enumerate(LINES)])
    assert ends == {
        "command line": 0, "Ray": 1, "imports": 2, "data": 3, "opening": 5, "probe": 6, "training": 7, "results": 8,
    }  # fmt: skip
    without_ray = ends_of_stages([(float(number), line) for number, line in enumerate(LINES[1:])])
    assert without_ray["command line"] == without_ray["Ray"] == 0
    with pytest.raises(SystemExit):
        ends_of_stages([(0.0, LINES[0])])


def test_processes_are_counted_by_their_kind() -> None:
    assert kind(["ray::PackTrainable.train"]) == "PackTrainable"
    assert kind(["ray::IDLE"]) == "IDLE"
    assert kind(["python", "-u", "-m", "sweep", "run"]) == "command"
    assert kind(["/ray/core/src/ray/gcs/gcs_server", "--log_dir=/tmp/sweep-12345678/r"]) == "gcs_server"


def test_the_table_has_the_median_of_each_stage() -> None:
    repeats = [{what: dict.fromkeys(STAGES, value) for what in ("seconds", "cpu_seconds")} for value in (1, 9, 4)]
    lines = table({"Ray": repeats})
    assert len(lines) == 2 + len(STAGES)
    assert all(line.endswith("| 4.0 | 4.0 |") for line in lines[2:])


def test_the_summary_has_the_first_step_and_the_prompt() -> None:
    repeats = [{"seconds": dict.fromkeys(STAGES, value) | {"prompt": 2 * value}} for value in (5.0, 1.0, 3.0)]
    line = summary("Ray", repeats)
    assert "step after 3.0 s (1.0 to 5.0)" in line
    assert "prompt after 6.0 s (2.0 to 10.0)" in line


@pytest.mark.slow
def test_a_sweep_is_measured_to_its_prompt(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    command = [sys.executable, "-m", "benchmarks.startup", str(tmp_path / "tiny.toml"), "--repeats", "1", "--json"]
    ended = subprocess.run(
        [*command, "--ways", "in process"], cwd=ROOT, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (row,) = json.loads(ended.stdout)["in process"]
    for what in ("seconds", "cpu_seconds"):
        assert list(row[what]) == list(STAGES)
        assert list(row[what].values()) == sorted(row[what].values())
    assert row["cpu_seconds"]["prompt"] > 0
    assert set(row["processes"]) >= {"command"}
