"""A benchmark through Ray: all phases use one Ray, which ends with the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweep.sweeps import PATIENCE_SECONDS, ROOT

PROGRAM = """
import io, json, sys
from pathlib import Path
import ray
from rich.console import Console
from results.ledger.ledger import Ledger
from sweep.driver.benchmark import drive_benchmark
from tests.sweep.driver.test_benchmark import spec

starts, init = [], ray.init

def counted(*args, **options):
    starts.append(options)
    return init(*args, **options)

ray.init = counted
for _ in range(2):
    found = drive_benchmark(spec(**{"benchmark.budget": 1}), Path(sys.argv[1]), Console(file=io.StringIO()))
with Ledger.open_read_only(found.folder.ledger) as ledger:
    (phases,) = ledger.rows("SELECT count(DISTINCT phase) FROM phases", {})
print(json.dumps({"done": found.all_done, "phases": phases[0], "starts": len(starts), "open": ray.is_initialized()}))
"""


@pytest.mark.ray
@pytest.mark.slow
def test_ray_is_started_once_for_all_phases_and_not_for_a_finished_benchmark(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "runs")], cwd=tmp_path, capture_output=True, text=True,
        env=environment | {"PYTHONPATH": str(ROOT)}, timeout=PATIENCE_SECONDS, check=True,
    )  # fmt: skip
    assert json.loads(ended.stdout.splitlines()[-1]) == {"done": True, "phases": 3, "starts": 1, "open": False}
