"""The trials of a local session train in the workers that import PyTorch in advance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.sweep.sweeps import PATIENCE_SECONDS, ROOT, SPEC

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PROGRAM = """
import json, os, psutil, sys, time
from pathlib import Path
from rich.console import Console
from results.ledger.ledger import Ledger
from sweep.config.toml import parse_spec
from sweep.driver.driver import drive
from sweep.execution.ray.session import ray_session

def workers():
    here = psutil.Process()
    return [one for one in here.children(recursive=True) if "ray::" in " ".join(one.cmdline())]

def has_torch(worker):
    return "libtorch_cpu" in Path(f"/proc/{worker.pid}/maps").read_text()

os.umask(0o027)
spec = parse_spec(sys.stdin.read(), name="tiny", where="-", overrides={"resources.pack": 1})
with ray_session("local", workers=2):
    while len(before := [one.pid for one in workers() if has_torch(one)]) < 2:
        time.sleep(0.1)
    lines = Path(f"/proc/{before[0]}/environ").read_text().split(chr(0))
    variables = dict(line.split("=", 1) for line in lines if line)
    time.sleep(5)  # longer than Ray lets a worker wait that is not needed
    drive(spec, Path("runs"), Console(quiet=True))
    with Ledger.open_read_only(Path("runs/tiny/ledger.sqlite")) as ledger:
        (found,) = ledger.read("SELECT DISTINCT pid FROM attempts")
    trained = [int(row[0]) for row in found.rows]
    modes = sorted({path.stat().st_mode & 0o777 for path in Path("runs/tiny").rglob("*.ckpt")})
print(json.dumps({
    "before": sorted(before), "trained": sorted(trained), "modes": modes, "variables": variables
}))
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=SPEC, cwd=tmp_path_factory.mktemp("session"),
        env=environment | {"PYTHONPATH": str(ROOT), "AWS_ACCESS_KEY_ID": "a key", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return answer


def test_the_trials_are_in_the_workers_that_have_imported_before(session: dict[str, Any]) -> None:
    assert len(session["before"]) == 2
    assert session["trained"]
    assert set(session["trained"]) <= set(session["before"])  # one may train all, before the other has its first trial


def test_a_trial_has_the_variables_that_tune_would_give_it(session: dict[str, Any]) -> None:
    asked = {"PL_DISABLE_FORK": "1", "RAY_CHDIR_TO_TRIAL_DIR": "0", "AWS_ACCESS_KEY_ID": "a key"}
    assert {key: session["variables"].get(key) for key in asked} == asked


def test_the_files_of_a_trial_have_the_modes_that_the_user_wants(session: dict[str, Any]) -> None:
    assert session["modes"] == [0o640]
