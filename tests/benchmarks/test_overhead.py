"""The short form of the overhead benchmark: it measures the given number of trials, and every column."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.overhead import COLUMNS

ROOT = Path(__file__).parent.parent.parent


def measured(*words: str) -> dict[str, list[dict[str, float]]]:
    command = [sys.executable, "-m", "benchmarks.overhead", "--json", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


@pytest.mark.slow
@pytest.mark.ray
def test_a_sweep_of_four_is_measured_beside_bare_tune() -> None:
    (row,) = measured("--runs", "4", "--checkpoints")["sweeps"]
    assert row["trials"] == 4
    assert set(COLUMNS) <= set(row)
    assert all(math.isfinite(value) for value in row.values())
    assert row["files"] > 3  # more than its three standard streams: the ledger and Ray's connections


@pytest.mark.slow
def test_a_larger_pack_has_the_larger_checkpoint() -> None:
    """LeNet-5's 69,656 numbers a run, three times over (weights and Adam's two moments), in four bytes each."""
    one, two = measured("--runs", "--checkpoints", "1", "2")["checkpoints"]
    for row, runs in ((one, 1), (two, 2)):
        assert row["MiB"] * 2**20 > runs * 3 * 4 * 69_656
        assert 0 < row["share_percent"] < 100
